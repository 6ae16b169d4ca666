"""Programs that train one model: MLP 784-256-10 with ReLU, Adam 1e-3, batches of 64, a new order each epoch.

Each is a function `epochs -> seconds of each epoch`, which starts afresh. All keep the mean training loss of every
epoch as a number. All train on the same 60,000 rows in float32 and none evaluates.
"""

from __future__ import annotations

import math
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

SIZE, INPUTS, HIDDEN, CLASSES, RATE = 64, 784, 256, 10, 1e-3


@cache
def rows() -> tuple[np.ndarray, np.ndarray]:
    """`f32[60000, 784]` pixels and `i32[60000]` classes."""
    data = fashion()
    return data.train["x"].reshape(-1, INPUTS), data.train["y"]


@cache
def fashion() -> Any:
    import ladle

    return ladle.data.load("fashion-mnist", valid=0)


def laps(epochs: int, epoch: Callable[[], float]) -> list[float]:
    """Seconds of each call of `epoch`, which returns its mean loss."""
    seconds = []
    for _ in range(epochs):
        started = time.perf_counter()
        loss = epoch()
        seconds.append(time.perf_counter() - started)
        assert math.isfinite(loss)
    return seconds


class Stopwatch:
    """A console that notes when each epoch's last record line was written."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def append(self, line: Any) -> None:
        if line["epoch"] == int(line["epoch"]):
            self.times.append(time.perf_counter())

    def message(self, text: str) -> None:
        raise RuntimeError(text)

    def close(self) -> None:
        pass


def ladle(epochs: int) -> list[float]:
    """The public API, with records and checkpoints in a run folder. An epoch lasts until its last line is written."""
    import ladle

    task = ladle.Task(ladle.models.mlp(INPUTS, HIDDEN, CLASSES), ladle.losses.cross_entropy, fashion(), "adam", RATE)
    stopwatch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        ladle.fit(task, size=SIZE, until=f"{epochs} epochs", out=Path(folder) / "run", show=stopwatch)
    return np.diff(stopwatch.times).tolist()


@cache
def _jax() -> tuple[Any, Any, Any, Any]:
    """Initial state, update by the rows `ids`, and the rows on the device: what both hand-written loops share."""
    import jax
    import jax.numpy as jnp
    import optax

    x, y = (jax.device_put(part) for part in rows())
    adam = optax.adam(RATE)

    def init(key: jax.Array):
        one, two = jax.random.split(key)
        params = {
            "w1": jax.random.normal(one, (INPUTS, HIDDEN)) * math.sqrt(2 / INPUTS),
            "b1": jnp.zeros(HIDDEN),
            "w2": jax.random.normal(two, (HIDDEN, CLASSES)) * math.sqrt(2 / HIDDEN),
            "b2": jnp.zeros(CLASSES),
        }
        return params, adam.init(params)

    def loss_of(params, x, y):
        outputs = jax.nn.relu(x @ params["w1"] + params["b1"]) @ params["w2"] + params["b2"]
        return optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean()

    def update(state, x, y, ids):
        params, moments = state
        loss, gradient = jax.value_and_grad(loss_of)(params, x[ids], y[ids])
        updates, moments = adam.update(gradient, moments, params)
        return (optax.apply_updates(params, updates), moments), loss

    return jax.jit(init), update, x, y


@cache
def _jax_epoch() -> Any:
    import jax

    _, update, _, _ = _jax()

    @partial(jax.jit, donate_argnums=0)
    def epoch(state, key, x, y):
        steps = len(x) // SIZE  # The ragged last batch is dropped, which spares it an update in 938.
        order = jax.random.permutation(key, len(x))[: steps * SIZE].reshape(steps, SIZE)
        state, losses = jax.lax.scan(lambda state, ids: update(state, x, y, ids), state, order)
        return state, losses.mean()

    return epoch


def jax_scan(epochs: int) -> list[float]:
    """By hand: one compiled `lax.scan` an epoch, permutation and gathers inside. The strongest simple program."""
    import jax

    init, _, x, y = _jax()
    state, key, one_epoch = init(jax.random.key(0)), jax.random.key(1), _jax_epoch()

    def epoch() -> float:
        nonlocal state, key
        key, now = jax.random.split(key)
        state, loss = one_epoch(state, now, x, y)
        return float(loss)

    return laps(epochs, epoch)


@cache
def _jax_step() -> Any:
    import jax

    _, update, _, _ = _jax()
    return jax.jit(update, donate_argnums=0)


def jax_loop(epochs: int) -> list[float]:
    """By hand: a Python loop over one compiled update that gathers on the device. The common program."""
    import jax

    init, _, x, y = _jax()
    state, rng, step = init(jax.random.key(0)), np.random.default_rng(1), _jax_step()

    def epoch() -> float:
        nonlocal state
        order, losses = rng.permutation(len(x)).astype(np.int32), []
        for first in range(0, len(x) - SIZE + 1, SIZE):
            state, loss = step(state, x, y, order[first : first + SIZE])
            losses.append(loss)
        return float(np.mean(jax.device_get(losses)))

    return laps(epochs, epoch)


def _torch() -> tuple[Any, Any, Any, Any, Any]:
    import torch
    from torch import nn

    x, y = rows()
    net = nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    return net, nn.CrossEntropyLoss(), optimizer, torch.from_numpy(x), torch.from_numpy(y).long()


def torch_loader(epochs: int) -> list[float]:
    """PyTorch as tutorials write it: DataLoader over a TensorDataset, the loss read at every update."""
    from torch.utils.data import DataLoader, TensorDataset

    net, loss_of, optimizer, x, y = _torch()
    loader = DataLoader(TensorDataset(x, y), batch_size=SIZE, shuffle=True)

    def epoch() -> float:
        total = 0.0
        for part, targets in loader:
            optimizer.zero_grad()
            loss = loss_of(net(part), targets)
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total / len(loader)

    return laps(epochs, epoch)


def torch_tight(epochs: int) -> list[float]:
    """PyTorch without its loader: a permutation, rows by index, the loss read once an epoch."""
    import torch

    net, loss_of, optimizer, x, y = _torch()

    def epoch() -> float:
        total, batches = torch.zeros(()), torch.randperm(len(x)).split(SIZE)
        for ids in batches:
            optimizer.zero_grad()
            loss = loss_of(net(x[ids]), y[ids])
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return float(total) / len(batches)

    return laps(epochs, epoch)


def keras(epochs: int) -> list[float]:
    """Keras 3 on the JAX backend: `compile` and `fit`, silent."""
    import keras

    x, y = rows()
    layers = [keras.Input((INPUTS,)), keras.layers.Dense(HIDDEN, activation="relu"), keras.layers.Dense(CLASSES)]
    model = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(RATE), loss=loss)
    times = [time.perf_counter()]
    lap = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: times.append(time.perf_counter()))
    model.fit(x, y, batch_size=SIZE, epochs=epochs, shuffle=True, verbose=0, callbacks=[lap])
    return np.diff(times).tolist()


def sklearn(epochs: int) -> list[float]:
    """scikit-learn's `MLPClassifier.fit`, without its penalty and early end. Nothing to compile: an equal part each."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    x, y = rows()
    model = MLPClassifier(
        (HIDDEN,), batch_size=SIZE, learning_rate_init=RATE, alpha=0.0, max_iter=epochs, tol=0.0, n_iter_no_change=10**6
    )
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, y)
    assert model.n_iter_ == epochs
    return [(time.perf_counter() - started) / epochs] * epochs


def accuracy(seed: int, epochs: int) -> float:
    """Accuracy of ladle's model on the 10,000 test images."""
    import ladle

    task = ladle.Task(ladle.models.mlp(INPUTS, HIDDEN, CLASSES), ladle.losses.cross_entropy, fashion(), "adam", RATE)
    run = ladle.fit(task, size=SIZE, until=f"{epochs} epochs", seed=seed)
    test = fashion().test
    return float((run.outputs(test["x"]).argmax(-1) == test["y"]).mean())


def one_thread(program: Callable[[int], list[float]], epochs: int) -> list[float]:
    """A PyTorch program without its thread pool, which waits for itself where other programs use the cores too."""
    import torch

    torch.set_num_threads(1)
    return program(epochs)


PROGRAMS: dict[str, Callable[[int], list[float]]] = {
    **{program.__name__: program for program in (ladle, jax_scan, jax_loop, keras, torch_tight, torch_loader, sklearn)},
    "torch_tight, 1 thread": partial(one_thread, torch_tight),
    "torch_loader, 1 thread": partial(one_thread, torch_loader),
}
