"""Digits drawn by a generator against a discriminator: two players in one task, one update for both.

    LADLE_DATA=FOLDER python recipes/gan.py [--until "8 epochs"] [--size 64] [--seed 0] [--sizes] [--peer]

Judged by the Frechet distance of 10,000 drawn digits from the test part, in 64 features of a convnet that learns the
classes first (98.1 % right): 1.257, 0.971, 1.271 (seeds 0, 1, 2), and the rarest digit has 8.0, 8.0, 7.2 % of them. The
same players in a PyTorch loop, at once as here 1.224, 1.051, 1.240, in turns 1.061, 0.985, 1.070; a mixture of 40
normal distributions of 64 principal components 10.52, 10.42, 10.44; images that the features learnt from 0.043.
384,000 images in 49 to 61 s on two busy cores, a PyTorch loop in 56.

The batch (--sizes --until "1 epochs", seed 0, the better of two rates): planned 16, noise scale 15. Distance after
48,000 images 1.9 with batches of 16, 9.1 with 64, 117 with 256; after all 8 passes, at the same rate, 2.3 with 16 and
1.26 with 64.
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
from batch_sizes import add_sizes, keep, side_by_side

import ladle
from ladle.models.layers import dense, dense_init, he, normals

PIXELS, NOISE, SIZE, RATE, B1, EMA, STEEP = 784, 64, 64, 2e-3, 0.5, 0.998, 5.0
DRAWN = 10_000
"""Images that are drawn to be judged: as many as the test part has."""

SHAPES = {
    "generator": ((NOISE, 256), (256, 512), (512, PIXELS)),
    "discriminator": ((PIXELS, 512), (512, 256), (256, 1)),
}


def init(key: jax.Array) -> Any:
    shapes = [shape for player in SHAPES.values() for shape in player]
    drawn = iter(normals(key, shapes))
    return {name: [dense_init(he(shape) * next(drawn)) for shape in of] for name, of in SHAPES.items()}


def played(layers: Sequence[Any], x: jax.Array) -> jax.Array:
    for layer in layers[:-1]:
        x = jax.nn.leaky_relu(dense(layer, x), 0.2)
    return dense(layers[-1], x)


def drawn(params: Any, noise: jax.Array) -> jax.Array:
    """Images from -1 to 1, a row of pixels each."""
    return jnp.tanh(played(params["generator"], noise))


def loss(params: Any, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array:
    """What the discriminator D pays plus what the generator G pays, for a real image x and a drawn one.

        softplus(-D(x)) + softplus(D(stop(G(z)))) + STEEP / 2 |grad_x D(x)|^2      moves D alone
        softplus(-stop(D)(G(z)))                                                   moves G alone

    One gradient holds both: what is stopped passes none on. The sum itself falls for neither. The slope that D has at
    real images is paid for (Mescheder et al. 2018, R1), or the two go around each other.
    """
    x = batch["x"].reshape(-1, PIXELS) * 2 - 1
    made = drawn(params, jax.random.normal(key, (len(x), NOISE)))
    judge = params["discriminator"]
    real, back = jax.vjp(lambda x: played(judge, x), x)
    (slope,) = back(jnp.ones_like(real))
    false, fooled = played(judge, jax.lax.stop_gradient(made)), played(jax.lax.stop_gradient(judge), made)
    paid = jax.nn.softplus(-real) + jax.nn.softplus(false) + jax.nn.softplus(-fooled)
    return paid[:, 0] + STEEP / 2 * (slope**2).sum(1)


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
    """A convnet that learns the classes of real images: drawn ones are judged by its 64 last features, and classes."""

    def __init__(self, data: ladle.data.Data) -> None:
        self.net = ladle.models.convnet((28, 28), 10)
        self.run = ladle.fit(ladle.Task(self.net, "cross_entropy", data, lr=1e-3), size=64, until="50000 examples")
        assert data.test is not None
        self.accuracy = self.run.final["test_accuracy"]
        self.real, self.valid = self.features(data.test["x"]), self.features(data.valid["x"])

    def features(self, x: np.ndarray) -> np.ndarray:
        """`f32[n, 64]`: what reaches the head of the net, the mean over places."""
        count = self.net.features
        params = {**self.run.params, "head": {"weight": jnp.eye(count), "bias": jnp.zeros(count)}}
        _, state = self.net.init(jax.random.key(0))

        @jax.jit
        def seen(x: jax.Array) -> jax.Array:
            h, _ = self.net.apply(params, state, x, keys=None, weight=jnp.ones(len(x)), train=False)
            return h.reshape(len(x), -1, 64).mean(1)

        return np.concatenate([seen(part) for part in np.split(x.reshape(-1, 28, 28), len(x) // 1000)])

    def judge(self, images: np.ndarray) -> dict[str, float]:
        """Of images from 0 to 1: distance to the test part, and the share of the class that is drawn least."""
        images = images.reshape(-1, 28, 28)
        counts = np.bincount(self.run.outputs(images).argmax(1), minlength=10)
        return {"distance": distance(self.features(images), self.real), "least": float(counts.min() / len(images))}


def save_picture(file: str, *blocks: np.ndarray) -> None:
    """8 x 8 images of each block, side by side."""
    from PIL import Image

    def block(images: np.ndarray) -> np.ndarray:
        rows = images[:64].reshape(8, 8, 28, 28).transpose(0, 2, 1, 3).reshape(224, 224)
        return np.pad(1 - rows, ((0, 0), (0, 12)), constant_values=1)

    grey = np.concatenate([block(images) for images in blocks], 1)[:, :-12]
    Image.fromarray((grey * 15 + 0.5).astype(np.uint8) * 17).save(file, optimize=True)


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default=os.environ.get("LADLE_DATA", ""), help="folder with mnist/")
    parser.add_argument("--until", default="8 epochs")
    parser.add_argument("--size", default="64", help="images in a batch, or 'auto' for a plan's")
    parser.add_argument("--seed", type=int, default=0)
    add_sizes(parser)
    parser.add_argument("--peer", action="store_true", help="the players in a PyTorch loop, and a mixture of normals")
    parser.add_argument("--picture", help="file for real images, drawn ones and, with --peer, a mixture's")
    parser.add_argument("--out", help="folder for the run's record")
    given = parser.parse_args(args)
    if not given.data or not Path(given.data, "mnist").is_dir():
        remedy = "try --data FOLDER, or LADLE_DATA=FOLDER"
        parser.exit(2, f"gan.py: data must hold mnist/; got {given.data!r}; {remedy}\n")

    os.environ["LADLE_DATA"] = given.data
    data = ladle.data.load("mnist")
    task, critic, train = task_of(data), Critic(data), data.train["x"]
    noise = np.asarray(jax.random.normal(jax.random.key(given.seed), (DRAWN, NOISE)))
    figures: dict[str, Any] = {"floor": distance(critic.features(train[:DRAWN]), critic.real)}
    print(f"the critic is right for {critic.accuracy:.1%}; real images that it learnt from: {figures['floor']:.4f}")

    def images_of(run: ladle.Run) -> np.ndarray:
        return np.asarray(jax.jit(drawn)(run.averaged().params, noise)) / 2 + 0.5

    try:
        if given.sizes is not None:
            judge = lambda run: distance(critic.features(images_of(run)), critic.valid)  # noqa: E731 - one line
            how = {"sizes": [16, 64, 256], "until": given.until, "reference": SIZE, "judge": judge, "most": 2}
            swept = side_by_side(task, ladle.plan(task), **how)
            keep(given.sizes, "gan", "distance to the validation part", swept)
            return swept
        how = {"evaluate_every": 100 * data.rows, "seed": given.seed, "out": given.out}
        run = ladle.fit(task, size=given.size, until=given.until, **how)
    except ladle.ArgumentError as error:
        parser.exit(2, f"gan.py: {error}\n")
    blocks = [data.test["x"], images_of(run)]
    figures |= critic.judge(blocks[1])
    print(f"drawn: distance {figures['distance']:.3f}, the rarest class {figures['least']:.1%}")
    print(f"{run.final['examples']:,} images in {run.final['seconds']:.0f} s")
    if given.peer:
        from gan_peers import in_turns, mixture

        how = {"updates": run.final["updates"], "size": run.final["size"], "seed": given.seed}
        images, seconds = in_turns(train, noise, **how)
        at_once, _ = in_turns(train, noise, **how, at_once=True)
        blocks.append(mixture(train, DRAWN, given.seed))
        found = {"peer": images, "peer_at_once": at_once, "mixture": blocks[-1]}
        for name, judged in ((name, critic.judge(of)) for name, of in found.items()):
            figures |= {f"{name}_{what}": value for what, value in judged.items()}
            print(f"{name}: {judged['distance']:.3f}, {judged['least']:.1%}")
        print(f"the players in a PyTorch loop took {seconds:.0f} s")
    if given.picture:
        save_picture(given.picture, *blocks)
    return figures


if __name__ == "__main__":
    main()
