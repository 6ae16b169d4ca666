"""Laws of federated training on 60 rows and a linear model: methods against plain NumPy, and what must not matter."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

import ladle
from ladle.api.assembly import assemble
from ladle.federated import Absence, FedAdam, FedAvg, FedProx, Privacy, Scaffold
from ladle.jax.clients import ORDER, client_key, order_of

ROWS, INPUTS, CLASSES, LR = 60, 5, 3, 0.1
RAGGED = [np.arange(0, 7), np.arange(7, 30), np.arange(30, 34), np.arange(34, 60)]


def data_of(seed: int = 0) -> ladle.data.dataset.Data:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS + 20, INPUTS)).astype(np.float32)
    y = (x @ rng.normal(size=(INPUTS, CLASSES))).argmax(1)
    return ladle.data.arrays(x[:ROWS], y[:ROWS], valid=(x[ROWS:], y[ROWS:]))


@pytest.fixture(scope="module")
def assembly():
    model = ladle.models.linear(INPUTS, CLASSES)
    return assemble(ladle.Task(model, ladle.losses.cross_entropy, data_of(), optimizer="sgd", lr=LR))


def leaves(tree) -> list[np.ndarray]:
    return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(tree)]


def same(one, other, **near) -> None:
    for a, b in zip(leaves(one), leaves(other), strict=True):
        np.testing.assert_allclose(a, b, **(near or {"rtol": 0, "atol": 0}))


NEAR = {"rtol": 2e-5, "atol": 2e-6}


def gradient(weights: list[np.ndarray], x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Of the mean cross entropy of softmax(x w + b), in the order of the leaves: bias, weight."""
    b, w = weights
    z = x @ w + b
    p = np.exp(z - z.max(1, keepdims=True))
    p = p / p.sum(1, keepdims=True) - np.eye(CLASSES)[y]
    return [p.mean(0), x.T @ p / len(x)]


@jax.jit
def drawn_order(key, words):
    key = jax.random.fold_in(client_key(key, words[0], words[1]), words[2])
    return order_of(jax.random.fold_in(key, ORDER), words[3], 32)


def federate(assembly, clients, **how):
    """Four places in a round and batches of four: one program for most of these tests."""
    return ladle.federate(assembly, clients, **{"size": 4, "width": 4, **how})


@pytest.fixture(scope="module")
def together(assembly):
    """Four updates of all rows, without clients."""
    return ladle.fit(assembly, size="full", until="4 epochs", restore="last").params


class Reference:
    """Rounds in plain NumPy, one client after the other, rows in the orders that the library draws."""

    def __init__(self, assembly, size: int, epochs: int, seed: int = 0) -> None:
        state = assembly.engine.step.init(seed, {"lr": LR})
        self.key, self.weights = state.key, leaves(state.params)
        assert [leaf.shape for leaf in self.weights] == [(CLASSES,), (INPUTS, CLASSES)]
        train = assembly.task.data.train
        self.x, self.y = np.asarray(train["x"], np.float64), np.asarray(train["y"])
        self.size, self.epochs = size, epochs

    def client(self, number: int, client: int, rows: np.ndarray, mu=0.0, extra=None, limit=10**9):
        """Weights after the client's round, updates done and rows trained on."""
        w, done, seen = [leaf.copy() for leaf in self.weights], 0, 0
        for epoch in range(self.epochs):
            words = np.array([number, client, epoch, len(rows)], np.uint32)
            order = rows[np.asarray(drawn_order(self.key, words))[: len(rows)]]
            for at in range(0, len(rows), self.size):
                if done >= limit:
                    continue
                part = order[at : at + self.size]
                g = gradient(w, self.x[part], self.y[part])
                g = [a + mu * (b - c) for a, b, c in zip(g, w, self.weights, strict=True)]
                g = g if extra is None else [a + b for a, b in zip(g, extra, strict=True)]
                w = [a - LR * b for a, b in zip(w, g, strict=True)]
                done, seen = done + 1, seen + len(part)
        return w, done, seen

    def mean_move(self, answers, shares):
        total = sum(shares)
        each = zip(answers, shares, strict=True)
        moves = [[share / total * (a - b) for a, b in zip(w, self.weights, strict=True)] for w, share in each]
        return [sum(parts) for parts in zip(*moves, strict=True)]


METHODS = [
    FedAvg(),
    FedProx(mu=0.3),
    FedAdam(lr=0.05),
    pytest.param(FedAvg(lr=0.7, momentum=0.5), marks=(pytest.mark.slow, pytest.mark.long)),
]


@pytest.mark.parametrize("method", METHODS)
def test_rounds_are_those_of_plain_numpy(assembly, method):
    run = federate(assembly, RAGGED, rounds=3, epochs=2, method=method)
    slow = Reference(assembly, 4, 2)
    first = [np.zeros_like(w) for w in slow.weights]
    second = [np.full_like(w, getattr(method, "tau", 0.0) ** 2) for w in slow.weights]
    for number in range(3):
        answers = [slow.client(number, client, rows, method.mu) for client, rows in enumerate(RAGGED)]
        move = slow.mean_move([w for w, _, _ in answers], [len(rows) for rows in RAGGED])
        if isinstance(method, FedAdam):
            first = [method.b1 * m + (1 - method.b1) * d for m, d in zip(first, move, strict=True)]
            second = [method.b2 * v + (1 - method.b2) * d * d for v, d in zip(second, move, strict=True)]
            move = [m / (np.sqrt(v) + method.tau) for m, v in zip(first, second, strict=True)]
        elif isinstance(method, FedAvg):
            move = first = [method.momentum * m + d for m, d in zip(first, move, strict=True)]
        slow.weights = [w + method.lr * d for w, d in zip(slow.weights, move, strict=True)]
    same(run.params, slow.weights, **NEAR)
    assert [line["clients"] for line in run.metrics[1:]] == [4, 4, 4]
    assert run.final["examples"] == 3 * 2 * ROWS and run.final["round"] == 3


def test_scaffold_is_that_of_plain_numpy(assembly):
    run = federate(assembly, RAGGED, rounds=3, asked=3, width=2, method=Scaffold(lr=0.9), seed=5)
    slow = Reference(assembly, 4, 1, seed=5)
    share = np.array([len(rows) for rows in RAGGED]) / ROWS
    server = [np.zeros_like(w) for w in slow.weights]
    own = [[np.zeros_like(w) for w in slow.weights] for _ in RAGGED]
    attendance = ladle.federated.Attendance(np.array([-(-len(rows) // 4) for rows in RAGGED]), 3, 5)
    for number in range(3):
        clients, answers, changed = attendance.at(number).clients.tolist(), [], []
        for client in clients:
            extra = [a - b for a, b in zip(server, own[client], strict=True)]
            w, done, _ = slow.client(number, client, RAGGED[client], extra=extra)
            new = [
                mine - c + (a - b) / (done * LR)
                for mine, c, a, b in zip(own[client], server, slow.weights, w, strict=True)
            ]
            changed.append([share[client] * (a - b) for a, b in zip(new, own[client], strict=True)])
            own[client] = new
            answers.append(w)
        move = slow.mean_move(answers, [len(RAGGED[client]) for client in clients])
        server = [c + sum(parts) for c, *parts in zip(server, *changed, strict=True)]
        slow.weights = [w + 0.9 * d for w, d in zip(slow.weights, move, strict=True)]
    same(run.params, slow.weights, **NEAR)


def test_one_client_with_all_rows_is_plain_sgd(assembly, together):
    same(ladle.federate(assembly, 1, rounds=4, size="full").params, together, **NEAR)


def test_one_whole_batch_each_is_one_whole_batch_together(assembly, together):
    """The mean by counts of gradients of parts is the gradient of the whole, however the rows were dealt."""
    same(ladle.federate(assembly, RAGGED, rounds=4, size="full").params, together, **NEAR)


def test_no_pull_is_fedavg(assembly):
    one, other = (federate(assembly, RAGGED, rounds=2, method=m) for m in (FedProx(mu=0.0), "fedavg"))
    same(one.params, other.params)
    assert [line["train_loss"] for line in one.metrics[1:]] == [line["train_loss"] for line in other.metrics[1:]]


@pytest.mark.slow
@pytest.mark.long
def test_clients_that_are_alike_answer_as_one(assembly):
    """The same rows and a whole batch each: any mean of the answers is each of them, and no noise is between them."""
    rows = np.arange(10)
    run, slow = ladle.federate(assembly, [rows] * 3, rounds=2, size="full"), Reference(assembly, 10, 1)
    for number in range(2):
        slow.weights, _, _ = slow.client(number, 0, rows)
    same(run.params, slow.weights, **NEAR)
    assert abs(run.metrics[-1]["noise/trace"]) < 1e-8 < run.metrics[-1]["noise/square"]


def test_neither_width_nor_filling_nor_company_changes_a_client(assembly):
    """A client with more rows beside it makes all tables longer; clients that never answer fill the round."""
    run = federate(assembly, RAGGED[:3], rounds=2, width=2)
    beside = federate(assembly, RAGGED, rounds=2, available=lambda round: [0, 1, 2])
    same(run.params, beside.params, **NEAR)


def test_the_order_in_which_clients_come_changes_nothing(assembly):
    backend, data = assembly.backend, assembly.placed[0]
    rounds = backend.rounds(
        assembly.objective, assembly.optimizer, size=4, width=2, server="average", controls=True, private=False
    )
    group = ladle.federated.members(RAGGED, ROWS)
    table = rounds.table(data, group.table(4), group.counts, group.share)
    state = assembly.engine.step.init(0, {"lr": LR})
    told = {"hyper": {"lr": LR}, "mu": 0.0, "epochs": 1}
    serving = dict.fromkeys(("lr", "b1", "b2", "tau", "clip", "noise", "expected"), 1.0)
    found = []
    for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
        there, limit = np.array([1, 1, 0, 1])[order], np.array([2, 3, 9, 9])[order]
        cohort = rounds.cohort(3, np.array(order), there, limit, known=4, steps=7)
        found.append(rounds(rounds.begin(state, 4), table, cohort, told, serving))
    same(found[0][0], found[1][0], **NEAR)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-4)
    assert not np.any(leaves(found[0][0].controls)[0][2])  # Whose answer never came.


def test_answers_weigh_by_the_rows_that_were_trained_on(assembly):
    absence = Absence(drop=0.3, early=0.6, least=0.2)
    run = federate(assembly, RAGGED, rounds=6, epochs=2, absence=absence, seed=3)
    slow = Reference(assembly, 4, 2, seed=3)
    updates = np.array([2 * -(-len(rows) // 4) for rows in RAGGED])
    attendance = ladle.federated.Attendance(updates, 4, 3, absence=absence)
    drawn, early = 0, 0
    for number, line in enumerate(run.metrics[1:]):
        here = attendance.at(number)
        came = zip(here.clients[here.there].tolist(), here.limit[here.there].tolist(), strict=True)
        answers = [slow.client(number, client, RAGGED[client], limit=limit) for client, limit in came]
        drawn += sum(seen for _, _, seen in answers)
        early += sum(here.limit < updates[here.clients])
        assert (line["asked"], line["clients"], line["examples"]) == (4, len(answers), drawn)
        if answers:
            move = slow.mean_move([w for w, _, _ in answers], [seen for _, _, seen in answers])
            slow.weights = [w + d for w, d in zip(slow.weights, move, strict=True)]
    same(run.params, slow.weights, **NEAR)
    assert early > 3 and any(line["clients"] < 4 for line in run.metrics[1:])


def test_a_round_without_an_answer_changes_nothing(assembly):
    run = federate(assembly, RAGGED, rounds=3, asked=1, absence=Absence(drop=0.9), seed=1)
    quiet = [line for line in run.metrics[1:] if line["clients"] == 0]
    assert quiet and all(line["update_norm"] == 0 and line["noise/count"] == 0 for line in quiet)
    if len(quiet) == 3:
        same(run.params, assembly.engine.step.init(1, {"lr": LR}).params)


def test_noise_between_clients_is_that_of_their_updates(assembly):
    """Clients of equal weight: the exact estimates from the matrix of their updates."""
    parts = [np.arange(at, at + 26) for at in (0, 10, 20, 34)]
    run = federate(assembly, parts, rounds=1)
    slow = Reference(assembly, 4, 1)
    answers = [slow.client(0, client, rows)[0] for client, rows in enumerate(parts)]
    moves = [np.concatenate([(a - b).ravel() for a, b in zip(w, slow.weights, strict=True)]) for w in answers]
    expected = ladle.Moments.from_gradients(np.array(moves))
    assert run.metrics[-1]["noise/trace"] == pytest.approx(expected.trace, rel=1e-3)
    assert run.metrics[-1]["noise/square"] == pytest.approx(expected.square, rel=1e-3)
    assert run.metrics[-1]["noise/examples"] == 4
    many = federate(assembly, parts, rounds=12)
    assert many.worth(4) == 1.0 > many.worth(2) > many.worth(1) > 0
    assert many.noise().updates == 12 and many.noise(since=7).updates == 6


def test_any_number_of_clients_runs_one_program(assembly, compilations):
    for asked in (1, 2, 3, 0.5):
        ladle.federate(assembly, RAGGED, rounds=2, asked=asked, size=4, width=1, epochs=1 + (asked == 2))
    assert compilations["_round"] == 1


@pytest.mark.parametrize("method", ["fedadam", "scaffold"])
def test_a_stopped_run_goes_on_as_if_it_had_not(assembly, tmp_path, method):
    how = {"asked": 2, "method": method, "absence": Absence(drop=0.4), "evaluate_every": 3}
    whole = federate(assembly, RAGGED, rounds=7, out=tmp_path / "whole", **how)
    federate(assembly, RAGGED, rounds=4, out=tmp_path / "parts", **how)
    file = tmp_path / "parts/metrics.jsonl"
    file.write_text(file.read_text() + '{"examples":99999,"round":5}\n')  # A round that no checkpoint knows of.
    resumed = federate(assembly, RAGGED, rounds=7, out=tmp_path / "parts", resume=True, **how)
    same(whole.params, resumed.params)
    assert resumed.checkpoint.name == f"{7:012d}"

    def told(lines):
        untimed = ({k: v for k, v in line.items() if k != "seconds"} for line in lines)
        return [line for line in untimed if line["round"] != 4]  # Evaluated where one run ended.

    read = [json.loads(line) for line in file.read_text().splitlines()]
    assert told(read) == told(resumed.metrics) == told(whole.metrics)
    facts = json.loads((tmp_path / "parts/run.json").read_text())
    assert facts["status"] == "finished" and facts["federation"]["clients"] == 4
    again = ladle.load(tmp_path / "parts")
    np.testing.assert_array_equal(again.outputs(data_of().valid["x"]), whole.outputs(data_of().valid["x"]))


def test_a_run_goes_on_only_as_it_began(assembly, tmp_path):
    federate(assembly, RAGGED, rounds=1, out=tmp_path / "run")
    for changed in ({"size": 5}, {"method": "fedprox"}, {"seed": 1}):
        with pytest.raises(ladle.ArgumentError, match=f"{next(iter(changed))} must (stay as it was|be what the run)"):
            federate(assembly, RAGGED, rounds=2, out=tmp_path / "run", resume=True, **changed)
    for data, optimizer, word in ((data_of(1), "sgd", "data"), (data_of(), "momentum", "optimizer")):
        model = ladle.models.linear(INPUTS, CLASSES)
        other = ladle.Task(model, ladle.losses.cross_entropy, data, optimizer=optimizer, lr=LR)
        with pytest.raises(ladle.ArgumentError, match=f"{word} must be what the run began with"):
            federate(other, RAGGED, rounds=2, out=tmp_path / "run", resume=True)


def test_clipping_bounds_what_a_client_moves(assembly):
    """Without noise, all clients asked: the sum of clipped updates over their number, all of one weight."""
    privacy = Privacy(clip=0.05, noise=0.0)
    run = federate(assembly, RAGGED, rounds=1, privacy=privacy)
    slow = Reference(assembly, 4, 1)
    answers = [slow.client(0, client, rows)[0] for client, rows in enumerate(RAGGED)]
    moves = [[a - b for a, b in zip(w, slow.weights, strict=True)] for w in answers]
    norms = [np.sqrt(sum((d * d).sum() for d in move)) for move in moves]
    assert max(norms) > 0.05
    factors = [min(1, 0.05 / norm) / 4 for norm in norms]
    mean = [sum(f * d for f, d in zip(factors, parts, strict=True)) for parts in zip(*moves, strict=True)]
    same(run.params, [w + d for w, d in zip(slow.weights, mean, strict=True)], **NEAR)


def test_noise_is_as_large_as_it_is_said_to_be(assembly):
    """Updates far below the noise: what is left is normal with sd `noise clip / expected`."""
    privacy = Privacy(clip=1e-3, noise=50.0)
    moves = []
    for seed in range(12):
        run = federate(assembly, RAGGED, rounds=1, asked=1, privacy=privacy, seed=seed)
        begun = assembly.engine.step.init(seed, {"lr": LR}).params
        moves += [((a - b) / (50.0 * 1e-3)).ravel() for a, b in zip(leaves(run.params), leaves(begun), strict=True)]
    drawn = np.concatenate(moves)
    assert len(drawn) == 216 and abs(drawn.mean()) < 0.25 and 0.85 < drawn.std() < 1.15
    assert len(np.unique(drawn)) == 216
    assert not {"train_loss", "clients", "asked", "noise/trace"} & set(run.metrics[-1])
    with pytest.raises(ladle.ArgumentError, match="privacy must be left out"):
        run.noise()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"clients": []}, "clients must be a number, a name for each row, or rows of each; got []"),
        ({"clients": [[0, 1], []]}, "clients[1] must have a row; got 'none'; because a client without data"),
        ({"clients": 61}, "clients must be at most the 60 rows; got 61; because client 60 would be without data"),
        ({"clients": [[0, 60]]}, "clients[0] must be rows that are there; got 60"),
        ({"clients": ["a", "b"]}, "clients must name a client for each of the 60 training rows; got '2 names'"),
        ({"asked": 0}, "asked must be a number from 1 to 4"),
        ({"asked": 5}, "asked must be a number from 1 to 4"),
        ({"asked": 1.5}, "asked must be a number from 1 to 4"),
        ({"rounds": 0}, "rounds must be at least 1"),
        ({"method": "fedsgd"}, "method must be a known name; got 'fedsgd'"),
        ({"method": "scaffold", "privacy": Privacy(1.0, 1.0)}, "method must be another with privacy"),
        ({"absence": 0.1}, "absence must be of the kind Absence; got 0.1"),
        ({"privacy": 0.1}, "privacy must be of the kind Privacy; got 0.1"),
        ({"available": 3}, "available must be a function of the round; got 3"),
    ],
)
def test_what_cannot_be_is_one_sentence_before_any_work(assembly, changed, sentence):
    how = {"clients": RAGGED, "rounds": 1, **changed}
    with pytest.raises(ladle.ArgumentError) as refused:
        ladle.federate(assembly, how.pop("clients"), **how)
    assert str(refused.value).startswith(sentence)


def test_all_clients_away_is_one_sentence(assembly, tmp_path):
    with pytest.raises(ladle.ArgumentError, match="drop must be below 1; got 1.0; because all clients would be away"):
        Absence(drop=1.0)
    sentence = "available must name a client in round 1; got 'none'; because all clients are away"
    with pytest.raises(ladle.RunError, match=sentence):
        federate(assembly, RAGGED, rounds=3, available=lambda round: [] if round else [0, 1], out=tmp_path / "run")
    ended = json.loads((tmp_path / "run" / "run.json").read_text())
    assert ended["status"] == "failed" and ended["why"].startswith(sentence)


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        ({"clip": 1.0}, "clip must be left out of a federation"),
        ({"order": "sequential"}, "order must be left out of a federation"),
        ({"precision": "fp16"}, "precision must be 'f32' or 'bf16' in a federation"),
        ({"lane": "host"}, "task must have its rows on the device"),
        ({"model": ladle.models.mlp(INPUTS, 8, CLASSES, norm="batch")}, "model must have a loss of single examples"),
    ],
)
def test_tasks_that_clients_cannot_train_are_refused(task, sentence):
    model = task.pop("model", None) or ladle.models.linear(INPUTS, CLASSES)
    with pytest.raises(ladle.ArgumentError, match=sentence):
        ladle.federate(ladle.Task(model, ladle.losses.cross_entropy, data_of(), **task), RAGGED, rounds=1)


def test_scaffold_wants_plain_steps():
    task = ladle.Task(ladle.models.linear(INPUTS, CLASSES), ladle.losses.cross_entropy, data_of())
    with pytest.raises(ladle.ArgumentError, match="optimizer must be 'sgd' with scaffold; got 'adam'"):
        ladle.federate(task, RAGGED, rounds=1, method="scaffold")


@pytest.mark.parametrize("privacy", [None, Privacy(clip=1.0, noise=0.0)])
def test_a_run_that_diverges_says_so(privacy):
    model = ladle.models.linear(INPUTS, CLASSES)
    task = ladle.Task(model, ladle.losses.cross_entropy, data_of(), optimizer="sgd", lr=1e38)
    with pytest.warns(ladle.DivergedWarning, match="in round"):
        run = federate(task, RAGGED, rounds=9, epochs=3, privacy=privacy)
    assert run.status == "diverged" and len(run.metrics) < 10


def test_an_answer_that_never_comes_adds_nothing_be_it_a_number_or_not():
    data = data_of()
    data.train["x"][RAGGED[0]] = np.nan
    task = ladle.Task(ladle.models.linear(INPUTS, CLASSES), ladle.losses.cross_entropy, data, optimizer="sgd", lr=LR)
    with pytest.warns(ladle.DivergedWarning, match="in round 1"):
        federate(task, RAGGED, rounds=1)
    run = federate(task, RAGGED, rounds=1, absence=Absence(drop=0.5), seed=4)  # Of the first client it never comes.
    assert run.status == "finished" and run.final["clients"] == 3 and run.final["examples"] == ROWS - 7


@pytest.mark.slow
@pytest.mark.long
def test_dropout_and_adam_train_clients_too():
    model = ladle.models.mlp(INPUTS, 8, CLASSES, dropout=0.2)
    task = ladle.Task(model, ladle.losses.cross_entropy, data_of(), lr=0.01)
    run = ladle.federate(task, RAGGED, rounds=3, size=8)
    assert run.final["train_loss"] < run.metrics[1]["train_loss"]
    assert run.predict(data_of().valid["x"]).shape == (20,)


def test_a_client_by_itself_does_what_it_does_in_the_simulation(assembly):
    """Each with a task of its own rows alone, as processes of their own have; the server a mean in NumPy."""
    data, clients = data_of(), []
    for number in (0, 2):
        rows = RAGGED[number]
        own = ladle.data.arrays(data.train["x"][rows], data.train["y"][rows], valid=(data.valid["x"], data.valid["y"]))
        task = ladle.Task(ladle.models.linear(INPUTS, CLASSES), ladle.losses.cross_entropy, own, optimizer="sgd", lr=LR)
        clients.append(ladle.FederatedClient(task, number=number, size=4, epochs=2, method="fedprox", seed=7))
    weights = clients[0].weights()
    for number in range(3):
        answers = [client.train(weights, number) for client in clients]
        assert [examples for _, examples in answers] == [2 * len(RAGGED[number]) for number in (0, 2)]
        total = sum(examples for _, examples in answers)
        weights = [sum(w[leaf] * (n / total) for w, n in answers) for leaf in range(len(weights))]
    how = {"epochs": 2, "method": "fedprox", "seed": 7, "available": lambda round: [0, 2]}
    run = federate(assembly, RAGGED, rounds=3, **how)
    same(run.params, weights, **NEAR)
    judged = clients[0].evaluate(weights, dict(data.valid))
    assert judged["accuracy"] == run.final["valid_accuracy"]
    with pytest.raises(ladle.ArgumentError, match="weights must have the shapes"):
        clients[0].train(weights[:1], 0)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"method": "scaffold"}, "method must be another for clients of their own"),
        ({"number": -1}, "number must be a whole number from 0"),
        ({"lr": lambda examples: LR}, "lr must be a number for clients of their own; got 'a schedule'"),
        ({"lr": "auto", "size": "full"}, "lr must be a number where size='full' takes all of a client's 60 rows"),
        ({"lr": "auto", "size": 61}, "lr must be a number where size=61 takes all of a client's 60 rows; got 'auto'"),
    ],
)
def test_clients_that_cannot_be_are_refused(how, sentence):
    model, how = ladle.models.linear(INPUTS, CLASSES), {"number": 0, **how}
    task = ladle.Task(model, ladle.losses.cross_entropy, data_of(), optimizer="sgd", lr=how.pop("lr", LR))
    with pytest.raises(ladle.ArgumentError, match=sentence):
        ladle.FederatedClient(task, **how)
