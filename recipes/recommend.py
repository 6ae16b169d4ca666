"""Which film next? Two towers, trained against the other films of the batch: its size is the number of negatives.

    LADLE_DATA=FOLDER python recipes/recommend.py [--until "1 epochs"] [--seed 0] [--size 512] [--out FOLDER]
                                                  [--peer] [--sizes] [--data FOLDER]

MovieTweetings: the first 85 % of 100,000 ratings train; of the users known by then, half choose how much taste counts,
and the new films of the other 1,755 are to be found among 9,696. What is trained tells how much likelier a film is for
a user than for anyone, since each row's negatives are the other films of its micro-batch; the ratings of the last week
tell how likely it is for anyone. Recall of 20, seeds 0, 1, 2 (standard error of a difference 0.004):

    two towers and the last week      0.221, 0.222, 0.213
    the last week alone               0.205
    factors and the last week         0.203    (rank and scale chosen as above; factors alone 0.144)
    kinds of films and the last week  0.239    (the cosine of genres and decades, nothing trained)
    all that was rated                0.155

The towers are ahead of what everyone watches and of factors, and behind a cosine of kinds: most films have been rated
a few times, and more than one pass learns them by heart. 5 s of CPU time.

Four passes at sizes of 32 to 2,048, whole or cut into micro-batches of 32: a cut batch has the negatives of its
micro-batch. The validation loss falls with their number (31: 7.250, 127: 7.246, 511: 7.224, 2,047: 7.199) and not with
the size (2,048 cut into 32s: 7.254); recall does not tell them apart (0.211 to 0.217).
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
from recommend_films import TOP, Films, read, recall

import ladle

WIDTH, HEAT, TASTE, RATE = 48, 0.1, 0.5, 2e-3
"""`TASTE`: its share in a score, chosen on the users of the validation part."""


@dataclass(frozen=True, eq=False)
class Towers:
    """A film is its own vector and its traits', a user what the films seen make together; both of length 1."""

    traits: np.ndarray
    recent: np.ndarray

    def init(self, key: jax.Array) -> Any:
        films, kinds = self.traits.shape
        shapes = {"film": (films, WIDTH), "trait": (kinds, WIDTH), "mix": (WIDTH, WIDTH)}
        keys = jax.random.split(key, len(shapes))
        return {
            name: 0.2 * jax.random.normal(k, shapes[name]) / WIDTH**0.5 for name, k in zip(shapes, keys, strict=True)
        }

    def user(self, params: Any, seen: jax.Array) -> jax.Array:
        there = (seen > 0).astype(jnp.float32)[..., None]
        films = self.film(params, jnp.maximum(seen - 1, 0)) * there
        mean = films.sum(1) / jnp.sqrt(jnp.maximum(there.sum(1), 1))
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
        """`f32[users, films]`, taste beside the log of the ratings of the last week; `-inf` where seen."""
        films = self.film(params, jnp.arange(len(self.traits)))
        taste = self.user(params, x) @ films.T / HEAT
        scores = TASTE * taste + jnp.log(jnp.asarray(self.recent) + 0.1)[None]
        return scores.at[jnp.arange(len(x))[:, None], jnp.where(x > 0, x - 1, len(self.traits))].set(
            -jnp.inf, mode="drop"
        )


def unit(x: jax.Array) -> jax.Array:
    return x / jnp.sqrt((x**2).sum(-1, keepdims=True) + 1e-6)


def task_of(films: Films) -> ladle.Task:
    towers = Towers(films.traits, films.recent)
    known = films.rated[np.bincount(films.rated[:, 0])[films.rated[:, 0]] > 1]  # Others leave nothing to tell them by.
    train = {"x": films.seen(known[:, 0], known[:, 1]), "y": known[:, 1].astype(np.int32)}
    users, held = films.judged(0)
    pairs = [(user, film) for user, new in zip(users, held, strict=True) for film in sorted(new) if film >= 0]
    valid = {"x": films.seen(np.array([user for user, _ in pairs])), "y": np.array([f for _, f in pairs], np.int32)}
    data = ladle.data.streamed(ladle.feed.Arrays(train), valid=valid, classes=len(films.traits), name="movietweetings")
    how: dict[str, Any] = {"predict": towers.scores, "additive": False, "optimizer": "adam", "lr": RATE}
    return ladle.Task.functions(towers.init, towers.loss, data, **how)


def found_by(run: ladle.Run, films: Films, part: int = 1) -> np.ndarray:
    """`f64[users]`, recall for each user of a part."""
    users, held = films.judged(part)
    return recall(run.outputs(films.seen(users)), held)


def sizes_of(films: Films, until: str) -> list[dict[str, Any]]:
    """Batches of several sizes, whole and cut: a cut one has as many negatives as its micro-batch has other films."""
    task, rows = task_of(films), []
    made = ladle.plan(task, until=until)
    print(f"plan: {made.size} ({made.bound}); noise scale {made.noise.verdict}: one row of a loss of pairs has none")
    for size, micro in ((32, 32), (128, 128), (512, 512), (2048, 2048), (512, 32), (2048, 32)):
        rate = RATE * (size / 512) ** 0.5
        run = ladle.fit(task, size=size, micro_size=micro, until=until, lr=rate)
        row = {"size": size, "negatives": micro - 1, "valid_loss": run.final["valid_loss"]}
        row |= {"recall": float(found_by(run, films, 0).mean()), "seconds": run.final["seconds"]}
        rows.append(row)
        print(
            f"size {size:>5}, {micro - 1:>5} negatives: validation {row['valid_loss']:.3f} nats, "
            f"recall {row['recall']:.3f}, {row['seconds']:.1f} s",
            flush=True,
        )
    return rows


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default=os.environ.get("LADLE_DATA", ""), help="folder with movietweetings_100k")
    parser.add_argument("--until", default="1 epochs")
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
    users, held = films.judged(1)
    each, usual = found_by(run, films), recall(films.unseen(films.recent, users), held)
    gain, error = (each - usual).mean(), (each - usual).std() / len(each) ** 0.5
    found = {"recall": float(each.mean()), "recent": float(usual.mean()), "seconds": run.final["seconds"]}
    print(f"recall of {TOP}: {each.mean():.3f} in {found['seconds']:.0f} s of training")
    print(f"rated most in the last week: {usual.mean():.3f}; {gain:.3f} less, with a standard error of {error:.3f}")
    if given.peer:
        from recommend_peers import peers

        found["peers"] = peers(films)
        print("\n".join(f"{name}: {share:.3f}" for name, share in found["peers"].items()))
    return found


if __name__ == "__main__":
    main()
