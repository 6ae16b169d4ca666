"""Digits by a variational autoencoder: 20 numbers an image, and a bound on how likely unseen images are.

    LADLE_DATA=FOLDER python recipes/vae.py [--until "5 epochs"] [--size 128] [--seed 0] [--sizes] [--peer]

MNIST, a pixel above one half being ink: then the bound is one of a true likelihood. Noise comes from the key that `fit`
hands to a loss of plain functions.

-ELBO of the first 2,000 test images 96.55, 96.76, 96.68 nats (seeds 0, 1, 2), by 64 codes an image 91.46, 91.87,
91.41; the same net and start in a PyTorch loop 96.71, 96.88, 96.49. Squared error of a pixel, all 10,000: 0.022; of 20
principal components 0.038. 240,000 images in 19 to 22 s on two busy cores, the PyTorch loop in 83 to 111 s.

The batch (--sizes): planned 64, noise scale 208. After two passes the validation -ELBO is 97.1 with batches of 32, 99.3
with 128, 110.6 with 512, 157.7 with 2,048: beyond the noise scale, passes are wasted.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from batch_sizes import add_sizes, keep, side_by_side

import ladle
from ladle.models.layers import dense, dense_init, glorot, normals

PIXELS, HIDDEN, CODE, SIZE, RATE = 784, 400, 20, 128, 1e-3
SHAPES = {"into": (PIXELS, HIDDEN), "code": (HIDDEN, 2 * CODE), "back": (CODE, HIDDEN), "out": (HIDDEN, PIXELS)}
PASSES, SWEPT, DRAWS, JUDGED = "5 epochs", "2 epochs", 64, 2000
"""Codes that an image is judged by at the end, and how many of the test images are: the first."""


def init(key: jax.Array) -> Any:
    drawn = normals(key, list(SHAPES.values()))
    return {name: dense_init(glorot(shape) * w) for (name, shape), w in zip(SHAPES.items(), drawn, strict=True)}


def encode(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and log variance of each image's code."""
    h = jax.nn.relu(dense(params["into"], x.reshape(len(x), PIXELS)))
    return tuple(jnp.split(dense(params["code"], h), 2, axis=1))  # type: ignore[return-value]


def decode(params: Any, code: jax.Array) -> jax.Array:
    """Log odds of each pixel being ink."""
    return dense(params["out"], jax.nn.relu(dense(params["back"], code)))


def parts(params: Any, x: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Of each image: -log p(x | code), log q(code | x) and log p(code) of one drawn code."""
    mean, log_variance = encode(params, x)
    code = mean + jnp.exp(log_variance / 2) * noise
    odds, ink = decode(params, code), x.reshape(len(x), PIXELS)
    missed = (jnp.logaddexp(0.0, odds) - ink * odds).sum(1)
    q = -0.5 * (noise**2 + log_variance + jnp.log(2 * jnp.pi)).sum(1)
    return missed, q, -0.5 * (code**2 + jnp.log(2 * jnp.pi)).sum(1)


def loss(params: Any, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array:
    """Minus the evidence lower bound in nats, one code drawn: -log p(x | code) + KL(q(code | x) || p(code))."""
    x = batch["x"]
    missed, _, _ = parts(params, x, jax.random.normal(key, (len(x), CODE)))
    mean, log_variance = encode(params, x)
    return missed + 0.5 * (jnp.exp(log_variance) + mean**2 - 1 - log_variance).sum(1)


def rebuilt(params: Any, x: jax.Array) -> jax.Array:
    """Chances of ink from the mean code."""
    return jax.nn.sigmoid(decode(params, encode(params, x)[0]))


@jax.jit
def bounds(params: Any, x: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Means over `x` of the bound by one code and by `DRAWS` of them (Burda et al. 2016), in nats."""

    def one(key: jax.Array) -> jax.Array:
        missed, q, p = parts(params, x, jax.random.normal(key, (len(x), CODE)))
        return p - missed - q

    weights = jax.lax.map(one, jax.random.split(key, DRAWS))
    return -weights.mean(), -(jax.nn.logsumexp(weights, axis=0) - jnp.log(float(DRAWS))).mean()


def error(answers: np.ndarray, x: np.ndarray) -> float:
    return float(((answers.reshape(len(x), -1) - x.reshape(len(x), -1)) ** 2).mean())


def by_components(train: np.ndarray, test: np.ndarray) -> float:
    """Squared error of a pixel from as many principal components as the code has numbers."""
    from sklearn.decomposition import PCA

    pca = PCA(CODE, svd_solver="randomized", random_state=0).fit(train.reshape(len(train), PIXELS))
    return error(pca.inverse_transform(pca.transform(test.reshape(len(test), PIXELS))), test)


def task_of(data: ladle.data.Data) -> ladle.Task:
    return ladle.Task.functions(init, loss, data, predict=rebuilt, optimizer="adam", lr=RATE)


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default=os.environ.get("LADLE_DATA", ""), help="folder with mnist/")
    parser.add_argument("--until", help=f"{PASSES}; of a sweep {SWEPT}")
    parser.add_argument("--size", default="128", help="images in a batch, or 'auto' for a plan's")
    parser.add_argument("--seed", type=int, default=0)
    add_sizes(parser)
    parser.add_argument("--peer", action="store_true", help="the same net in a PyTorch loop, and principal components")
    parser.add_argument("--out", help="folder for the run's record")
    given = parser.parse_args(args)
    if not given.data or not Path(given.data, "mnist").is_dir():
        remedy = "try --data FOLDER, or LADLE_DATA=FOLDER"
        parser.exit(2, f"vae.py: data must hold mnist/; got {given.data!r}; {remedy}\n")

    os.environ["LADLE_DATA"] = given.data
    data = ladle.data.load("mnist")
    ink = [
        {"x": (part["x"] > 0.5).astype(np.float32), "y": part["y"]}
        for part in (data.train, data.valid, data.test or {})
    ]
    data = replace(data, train=ink[0], valid=ink[1], test=ink[2])
    task = task_of(data)
    try:
        if given.sizes is not None:
            sizes, until = [32, 128, 512, 2048], given.until or SWEPT
            swept = side_by_side(task, ladle.plan(task), sizes=sizes, until=until, reference=SIZE)
            keep(given.sizes, "vae", "-ELBO, validation, nats", swept)
            return swept
        how = {"evaluate_every": 10 * data.rows, "seed": given.seed, "out": given.out}
        run = ladle.fit(task, size=given.size, until=given.until or PASSES, **how)
    except ladle.ArgumentError as error_:
        parser.exit(2, f"vae.py: {error_}\n")
    test = ink[2]["x"]
    elbo, tight = (float(bound) for bound in bounds(run.params, test[:JUDGED], jax.random.key(1)))
    figures = {"elbo": elbo, "bound": tight, "error": error(run.outputs(test), test)}
    print(f"-ELBO of {JUDGED:,} test images {elbo:.2f} nats, by {DRAWS} codes {tight:.2f}")
    print(f"squared error of a pixel {figures['error']:.4f}")
    print(f"{run.final['examples']:,} images in {run.final['seconds']:.0f} s")
    if given.peer:
        from vision_peers import vae

        how = {"updates": run.final["updates"], "size": run.final["size"], "seed": given.seed}
        weights, seconds = vae(ink[0]["x"], **how)
        figures |= {"peer_elbo": float(bounds(weights, test[:JUDGED], jax.random.key(1))[0]), "peer_seconds": seconds}
        figures["pca_error"] = by_components(ink[0]["x"], test)
        print(f"the same in a PyTorch loop {figures['peer_elbo']:.2f} in {seconds:.0f} s")
        print(f"squared error of {CODE} principal components {figures['pca_error']:.4f}")
    return figures


if __name__ == "__main__":
    main()
