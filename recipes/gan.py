"""Clothes drawn by a generator against a discriminator: two players in one task, one update for both.

    LADLE_DATA=FOLDER python recipes/gan.py [--until "3 epochs"] [--size 64] [--seed 0] [--sizes] [--peer]

Fashion-MNIST. The task has one loss: both players' in sum, each stopped where it must not move the other, so one
gradient and one Adam serve both at once. Drawn images are judged by the distance of 64 features, of a small
classifier, from those of the test part.

@FIG@

@SIZES@
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from vision_sizes import side_by_side

import ladle
from ladle.models.layers import dense, dense_init, normals

PIXELS, NOISE, SIZE, RATE, B1, EMA = 784, 64, 64, 2e-4, 0.5, 0.998
SHAPES = {
    "generator": ((NOISE, 128), (128, 256), (256, PIXELS)),
    "discriminator": ((PIXELS, 256), (256, 128), (128, 1)),
}


def init(key: jax.Array) -> Any:
    shapes = [shape for player in SHAPES.values() for shape in player]
    drawn = iter(normals(key, shapes))
    return {name: [dense_init(next(drawn) / shape[0] ** 0.5) for shape in of] for name, of in SHAPES.items()}


def played(layers: Sequence[Any], x: jax.Array) -> jax.Array:
    for layer in layers[:-1]:
        x = jax.nn.leaky_relu(dense(layer, x), 0.2)
    return dense(layers[-1], x)


def drawn(params: Any, noise: jax.Array) -> jax.Array:
    """Images in -1 ... 1, a row of pixels each."""
    return jnp.tanh(played(params["generator"], noise))


def loss(params: Any, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array:
    """What the discriminator pays plus what the generator pays, of a real image and a drawn one.

        softplus(-D(x)) + softplus(D(stopped G(z)))          moves D alone
        softplus(-(stopped D)(G(z)))                         moves G alone

    One gradient holds both: what is stopped passes none on. The sum itself falls for neither.
    """
    x = batch["x"].reshape(-1, PIXELS) * 2 - 1
    made = drawn(params, jax.random.normal(key, (len(x), NOISE)))
    judge = params["discriminator"]
    real, false = played(judge, x), played(judge, jax.lax.stop_gradient(made))
    fooled = played(jax.lax.stop_gradient(judge), made)
    return (jax.nn.softplus(-real) + jax.nn.softplus(false) + jax.nn.softplus(-fooled))[:, 0]


def task_of(data: ladle.data.Data) -> ladle.Task:
    return ladle.Task.functions(init, loss, data, optimizer="adam", lr=RATE, hyper={"b1": B1}, ema=EMA)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Frechet's, of two normal distributions with the means and covariances of features `f32[n, k]`.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))          Heusel et al. 2017, equation 6
    """
    (m1, s1), (m2, s2) = ((of.mean(0), np.cov(of.T)) for of in (one.astype(np.float64), other.astype(np.float64)))
    roots = np.sqrt(np.maximum(np.linalg.eigvals(s1 @ s2).real, 0))
    return float(((m1 - m2) ** 2).sum() + np.trace(s1) + np.trace(s2) - 2 * roots.sum())


class Critic:
    """A classifier of the real images, by whose 64 hidden values drawn ones are judged, and by its classes."""

    def __init__(self, data: ladle.data.Data) -> None:
        model = ladle.models.mlp(PIXELS, 256, 64, 10)
        self.run = ladle.fit(ladle.Task(model, "cross_entropy", data, lr=1e-3), size=128, until="2 epochs")
        assert data.test is not None
        self.accuracy = self.run.final["test_accuracy"]
        self.real = self.features(data.test["x"])

    def features(self, x: np.ndarray) -> np.ndarray:
        """`f32[n, 64]`: what reaches the last layer."""
        h = x.reshape(len(x), PIXELS)
        for layer in self.run.params[:-1]:
            h = np.maximum(h @ np.asarray(layer["weight"]) + np.asarray(layer["bias"]), 0)
        return h

    def judge(self, images: np.ndarray) -> dict[str, float]:
        """Distance to the test part, and the share of the class that is drawn least (0.1 where all are alike)."""
        images = images / 2 + 0.5
        classes = np.bincount(self.run.outputs(images.reshape(-1, 28, 28)).argmax(1), minlength=10)
        return {"distance": distance(self.features(images), self.real), "least": float(classes.min() / len(images))}


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default=os.environ.get("LADLE_DATA", ""), help="folder with fashion_mnist/")
    parser.add_argument("--until", default="3 epochs")
    parser.add_argument("--size", default="64", help="images in a batch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sizes", action="store_true", help="a plan, and sizes side by side")
    parser.add_argument("--peer", action="store_true", help="the same players, taking turns in a PyTorch loop")
    parser.add_argument("--out", help="folder for the run's record")
    given = parser.parse_args(args)
    if not given.data or not Path(given.data, "fashion_mnist").is_dir():
        remedy = "try --data FOLDER, or LADLE_DATA=FOLDER"
        parser.exit(2, f"gan.py: data must hold fashion_mnist/; got {given.data!r}; {remedy}\n")

    os.environ["LADLE_DATA"] = given.data
    data = ladle.data.load("fashion-mnist")
    task, critic = task_of(data), Critic(data)
    noise = np.asarray(jax.random.normal(jax.random.key(2), (10_000, NOISE)))
    floor = distance(critic.features(data.train["x"][:10_000]), critic.real)
    untrained = critic.judge(np.asarray(drawn(init(jax.random.key(0)), jnp.asarray(noise))))["distance"]
    print(
        f"the critic is right for {critic.accuracy:.1%}; distance of real images {floor:.2f}, untrained {untrained:.0f}"
    )

    def judged(run: ladle.Run) -> dict[str, float]:
        return critic.judge(np.asarray(jax.jit(drawn)(run.averaged().params, noise)))

    try:
        if given.sizes:
            how = {"higher": False, "reference": SIZE, "until": given.until}
            side_by_side(task, lambda run: judged(run)["distance"], sizes=[16, 64, 256], **how)
        how = {"evaluate_every": 10 * data.rows, "seed": given.seed, "out": given.out}
        run = ladle.fit(task, size=given.size, until=given.until, **how)
    except ladle.ArgumentError as error:
        parser.exit(2, f"gan.py: {error}\n")
    found = judged(run)
    figures: dict[str, Any] = {**found, "floor": floor, "untrained": untrained}
    print(f"drawn images: distance {found['distance']:.2f}, the rarest class {found['least']:.1%}")
    print(f"{run.final['examples']:,} images in {run.final['seconds']:.0f} s")
    if given.peer:
        from vision_peers import gan

        how = {"updates": run.final["updates"], "size": run.final["size"], "seed": given.seed}
        images, seconds = gan(data.train["x"], noise, **how)
        judged = critic.judge(images)
        figures |= {"peer_distance": judged["distance"], "peer_seconds": seconds}
        print(f"in turns, in a PyTorch loop: {judged['distance']:.2f}, {judged['least']:.1%} in {seconds:.0f} s")
    return figures


if __name__ == "__main__":
    main()
