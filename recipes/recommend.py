"""Which film next? Two towers, trained against the other films of the batch: its size is the number of negatives.

LADLE_DATA=FOLDER python recipes/recommend.py [--until "8 epochs"] [--seed 0] [--size 512] [--out FOLDER] [--peer] [--sizes]
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ladle

WIDTH, PAST, TOP, HEAT = 48, 20, 20, 0.1
TRAINED, RECENT_DAYS = 0.85, 7


@dataclass(frozen=True, eq=False)
class Films:
    """Ratings in time order, cut once: what was rated before the cut trains, what is new after it is to be found.

    - `rated`: `i64[events, 2]`, user and film, before the cut. `traits`: `f32[films, kinds]`, genres and decade.
    - `recent`: `f32[films]`, ratings in the week before the cut. `held`: new films of each known user after it.
    """

    rated: np.ndarray
    traits: np.ndarray
    recent: np.ndarray
    held: dict[int, set[int]]

    def seen(self, user: np.ndarray, without: np.ndarray | None = None) -> np.ndarray:
        """`i32[n, PAST]`: one more than the numbers of each user's latest films, `without` one of them; 0 for none."""
        order = np.argsort(self.rated[:, 0], kind="stable")
        films, starts = (
            self.rated[order, 1],
            np.searchsorted(self.rated[order, 0], np.arange(self.rated[:, 0].max() + 2)),
        )
        rows = np.zeros((len(user), PAST), np.int32)
        for row, one in enumerate(user):
            own = films[starts[one] : starts[one + 1]]
            own = own[-PAST:] if without is None else own[own != without[row]][-PAST:]
            rows[row, : len(own)] = own + 1
        return rows

    def judged(self, part: int) -> tuple[np.ndarray, list[set[int]]]:
        """Users of every second number, to validate (0) or test (1) on, and their new films."""
        users = np.array([user for user in sorted(self.held) if user % 2 == part])
        return users, [self.held[user] for user in users.tolist()]


def read(folder: Path) -> Films:
    lines = (folder / "ratings.dat").read_text().split()
    table = np.array([line.split("::") for line in lines], np.int64)
    table = table[np.argsort(table[:, 3], kind="stable")]
    cut = int(TRAINED * len(table))
    before, after = table[:cut], table[cut:]
    users, films = (np.unique(before[:, column]) for column in (0, 1))
    rated = np.stack([np.searchsorted(users, before[:, 0]), np.searchsorted(films, before[:, 1])], axis=1)
    recent = before[:, 3] > before[-1, 3] - RECENT_DAYS * 86400
    held: dict[int, set[int]] = {}
    number = {user: at for at, user in enumerate(users.tolist())}
    place = {film: at for at, film in enumerate(films.tolist())}
    for user, film, *_ in after.tolist():
        if user in number:  # A film that nobody rated before is never found, and counts all the same.
            held.setdefault(number[user], set()).add(place.get(film, -film))
    counts = np.bincount(rated[recent, 1], minlength=len(films)).astype(np.float32)
    return Films(rated, traits(folder / "movies.dat", films), counts, held)


def traits(file: Path, films: np.ndarray) -> np.ndarray:
    """`f32[films, kinds]`: genres and the decade, of 0 and 1."""
    about = {}
    for number, title, genres in (line.split("::") for line in file.read_text("utf-8").splitlines()):
        about[int(number)] = [*filter(None, genres.split("|")), f"decade {title[-5:-2]}"]
    kinds = {kind: at for at, kind in enumerate(sorted({kind for of in about.values() for kind in of}))}
    rows = np.zeros((len(films), len(kinds)), np.float32)
    for row, film in enumerate(films.tolist()):
        rows[row, [kinds[kind] for kind in about.get(film, ())]] = 1
    return rows


@dataclass(frozen=True, eq=False)
class Towers:
    """A user is the mean of the films seen, a film its own vector and its traits'; both of length 1."""

    traits: np.ndarray
    recent: np.ndarray

    def init(self, key: jax.Array) -> Any:
        films, kinds = self.traits.shape
        shapes = {"seen": (films + 1, WIDTH), "film": (films, WIDTH), "trait": (kinds, WIDTH), "mix": (WIDTH, WIDTH)}
        keys = jax.random.split(key, len(shapes))
        return {name: jax.random.normal(k, shapes[name]) / WIDTH**0.5 for name, k in zip(shapes, keys, strict=True)}

    def user(self, params: Any, seen: jax.Array) -> jax.Array:
        there = (seen > 0).astype(jnp.float32)[..., None]
        mean = (params["seen"][seen] * there).sum(1) / jnp.sqrt(jnp.maximum(there.sum(1), 1))
        return unit(mean + jnp.tanh(mean) @ params["mix"])

    def film(self, params: Any, ids: jax.Array) -> jax.Array:
        return unit(params["film"][ids] + jnp.asarray(self.traits)[ids] @ params["trait"])

    def loss(self, params: Any, batch: Any, key: jax.Array, weight: jax.Array) -> jax.Array:
        """Minus the log of the share that a user gives the film among all films of the micro-batch, each once for each
        row that has it: so what is learnt is how much more likely a film is for this user than for anyone.
        """
        x = jnp.where(jax.random.bernoulli(key, 0.8, batch["x"].shape), batch["x"], 0)
        scores = self.user(params, x) @ self.film(params, batch["y"]).T / HEAT
        other = (batch["y"][:, None] != batch["y"][None]) & (weight[None] > 0)  # No padding, not the film itself.
        own = jnp.diagonal(scores)
        return jax.nn.logsumexp(jnp.where(other | jnp.eye(len(x), dtype=bool), scores, -jnp.inf), axis=1) - own

    def scores(self, params: Any, x: jax.Array) -> jax.Array:
        """`f32[users, films]`, the log of a film's chance by taste and by how much it was rated in the last week."""
        films = self.film(params, jnp.arange(len(self.traits)))
        scores = self.user(params, x) @ films.T / HEAT + jnp.log(jnp.asarray(self.recent) + 0.1)[None]
        return scores.at[jnp.arange(len(x))[:, None], jnp.where(x > 0, x - 1, len(self.traits))].set(
            -jnp.inf, mode="drop"
        )


def unit(x: jax.Array) -> jax.Array:
    return x / jnp.sqrt((x**2).sum(-1, keepdims=True) + 1e-6)


def recall(scores: np.ndarray, held: list[set[int]]) -> float:
    """Of the new films of a user, the share among the `TOP` that score highest; the mean over users."""
    top = np.argpartition(-scores, TOP, axis=1)[:, :TOP].tolist()
    return float(np.mean([len(new.intersection(named)) / len(new) for named, new in zip(top, held, strict=True)]))


def task_of(films: Films) -> ladle.Task:
    towers = Towers(films.traits, films.recent)
    known = films.rated[np.bincount(films.rated[:, 0])[films.rated[:, 0]] > 1]  # Others leave nothing to tell them by.
    train = {"x": films.seen(known[:, 0], known[:, 1]), "y": known[:, 1].astype(np.int32)}
    users, held = films.judged(0)
    pairs = [(user, film) for user, new in zip(users, held, strict=True) for film in sorted(new) if film >= 0]
    valid = {"x": films.seen(np.array([user for user, _ in pairs])), "y": np.array([f for _, f in pairs], np.int32)}
    data = ladle.data.streamed(ladle.feed.Arrays(train), valid=valid, classes=len(films.traits), name="movietweetings")
    how: dict[str, Any] = {"predict": towers.scores, "additive": False, "optimizer": "adam", "lr": 2e-3}
    return ladle.Task.functions(towers.init, towers.loss, data, **how)


def found_by(run: ladle.Run, films: Films, part: int = 1) -> float:
    users, held = films.judged(part)
    return recall(run.outputs(films.seen(users)), held)


def peers(films: Films) -> dict[str, float]:
    """What needs no training run: how much a film is rated, and a factorisation of who rated what; with both."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.linalg import svds

    table = csr_matrix((np.ones(len(films.rated)), films.rated.T), (films.rated[:, 0].max() + 1, len(films.traits)))
    parts = {part: (*films.judged(part), films.seen(films.judged(part)[0])) for part in (0, 1)}
    recent, every = np.log(films.recent + 0.1), np.asarray(table.sum(0)).ravel()

    def judged(scores: Any, part: int) -> float:
        users, held, seen = parts[part]
        rows = np.broadcast_to(scores(users), (len(users), len(films.traits))).astype(np.float32)
        rows[np.nonzero(seen)[0], seen[seen > 0] - 1] = -np.inf
        return recall(rows, held)

    found = {"rated most": judged(lambda _: every, 1), "rated most in the last week": judged(lambda _: recent, 1)}
    for name, base, scales in (("factors", 0.0, (1.0,)), ("factors and the last week", recent, (3.0, 10.0, 30.0))):
        tried = []
        for rank in (4, 8, 16, 32, 64):
            left, size, right = svds(table, rank, random_state=0)
            for scale in scales:
                scores = lambda users, a=left * size * scale, b=right, base=base: a[users] @ b + base  # noqa: E731
                tried.append((judged(scores, 0), judged(scores, 1)))
        found[name] = max(tried)[1]  # The rank and the scale that are best for the users of the other half.
    return found


def sizes_of(films: Films, until: str) -> list[dict[str, Any]]:
    """Batches of several sizes, whole and cut, each at the best rate of a short race: a cut one has few negatives."""
    task, rows = task_of(films), []
    made = ladle.plan(task, until=until)
    print(f"plan: {made.size} ({made.bound}), {' '.join(made.notes)}")
    for size, micro in ((32, 32), (128, 128), (512, 512), (2048, 2048), (512, 32), (2048, 32)):
        run = ladle.fit(task, size=size, micro_size=micro, until=until, lr="sweep")
        row = {"size": size, "negatives": micro - 1, "recall": found_by(run, films, 0), "seconds": run.final["seconds"]}
        rows.append(row)
        print(f"size {size:>5}, {micro - 1:>5} negatives: recall {row['recall']:.3f}, {row['seconds']:.1f} s")
    return rows


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default=os.environ.get("LADLE_DATA", ""), help="folder with movietweetings_100k")
    parser.add_argument("--until", default="8 epochs")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="run folder to write")
    parser.add_argument("--peer", action="store_true", help="what popularity and a factorisation find of the same")
    parser.add_argument("--sizes", action="store_true", help="a plan, and a sweep of sizes and numbers of negatives")
    given = parser.parse_args(args)
    folder = Path(given.data, "movietweetings_100k")
    if not given.data or not (folder / "ratings.dat").is_file():
        remedy = "try --data FOLDER, or LADLE_DATA=FOLDER"
        parser.exit(2, f"recommend.py: data must hold movietweetings_100k; got {given.data!r}; {remedy}\n")
    films = read(folder)
    try:
        if given.sizes:
            return {"sizes": sizes_of(films, given.until)}
        run = ladle.fit(task_of(films), size=given.size, until=given.until, seed=given.seed, out=given.out)
    except ladle.ArgumentError as error:
        parser.exit(2, f"recommend.py: {error}\n")
    found = {"recall": found_by(run, films), "valid_recall": found_by(run, films, 0), **run.final}
    print(
        f"recall of {TOP}: test {found['recall']:.3f}, validation {found['valid_recall']:.3f}; {found['seconds']:.0f} s"
    )
    if given.peer:
        found["peers"] = peers(films)
        print("\n".join(f"{name}: {share:.3f}" for name, share in found["peers"].items()))
    return found


if __name__ == "__main__":
    main()
