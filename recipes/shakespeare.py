"""Next characters of Shakespeare: windows of one long text (`ladle.feed.Tokens`), cut when they are asked for.

    LADLE_DATA=FOLDER python recipes/shakespeare.py [--until "1 epochs"] [--seed 0] [--out FOLDER] [--data FOLDER]

Tiny Shakespeare, 65 characters; the last tenth of the text validates. A recurrent layer of 192 units, one pass of
15,685 windows (1.0 million characters, each predicted once): 1.75 nats per character on what it has not seen (1.746,
1.759, 1.757 with seeds 0, 1, 2), where the same net in a plain PyTorch loop gives 1.760, 1.776 and 1.767
(`first_peers.py`) and pairs of characters alone 2.48. Every window starts without a memory of what was before it. 16 s
of training.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import ladle
from ladle.feed import HostFeed, Permuted, PrefetchedFeed, Tokens
from ladle.feed.source.tokens import text_tokens

LENGTH, SIZE = 64, 32
"""Characters in a window, each of them predicted; windows in a batch."""

UNITS, WIDTH = 192, 48


def init(characters: int, key: jax.Array) -> dict[str, jax.Array]:
    """A gated recurrent unit (Cho et al. 2014, arXiv:1406.1078) between two tables, with weights as PyTorch begins."""
    a, b, c, d = jax.random.split(key, 4)
    within = partial(jax.random.uniform, minval=-(UNITS**-0.5), maxval=UNITS**-0.5)
    return {
        "embed": jax.random.normal(a, (characters, WIDTH)),
        "into": within(b, (WIDTH, 3 * UNITS)),
        "again": within(c, (UNITS, 3 * UNITS)),
        "bias": jnp.zeros(3 * UNITS),
        "out": within(d, (UNITS, characters)),
        "common": jnp.zeros(characters),
    }


def loss(params: dict[str, jax.Array], batch: dict[str, jax.Array]) -> jax.Array:
    """`f32[examples]` nats per character, the mean over each window."""
    given = params["embed"][batch["x"]] @ params["into"] + params["bias"][None, None]

    def step(state, given):
        reset, update, new = jnp.split(given, 3, axis=-1)
        r, u, n = jnp.split(state @ params["again"], 3, axis=-1)
        keep = jax.nn.sigmoid(update + u)
        state = keep * state + (1 - keep) * jnp.tanh(new + jax.nn.sigmoid(reset + r) * n)
        return state, state

    _, states = jax.lax.scan(step, jnp.zeros((len(given), UNITS)), given.swapaxes(0, 1))
    logs = jax.nn.log_softmax(states @ params["out"] + params["common"][None, None])
    chosen = jnp.take_along_axis(logs, batch["y"].swapaxes(0, 1)[..., None], axis=-1)
    return -jnp.mean(chosen, axis=(0, 2))


def bigram(train: np.ndarray, valid: np.ndarray, characters: int) -> float:
    """Nats per character where only the character before is known: counts of pairs, one added to each."""
    counts = np.ones((characters, characters))
    np.add.at(counts, (train[:-1], train[1:]), 1)
    logs = np.log(counts / counts.sum(axis=1, keepdims=True))
    return float(-np.mean(logs[valid[:-1], valid[1:]]))


def main(args: Sequence[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--data", default=os.environ.get("LADLE_DATA", ""), help="folder with tiny_shakespeare/input.txt"
    )
    parser.add_argument("--until", default="1 epochs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="folder for the record of the run")
    given = parser.parse_args(args)
    path = Path(given.data, "tiny_shakespeare", "input.txt")
    if not given.data or not path.is_file():
        remedy = "try --data FOLDER, or LADLE_DATA=FOLDER"
        parser.exit(2, f"shakespeare.py: data must hold tiny_shakespeare/input.txt; got {given.data!r}; {remedy}\n")

    tokens, characters = text_tokens(path)
    early, late = np.split(tokens, [len(tokens) * 9 // 10])  # The end of the text is what it is judged on.
    train, valid = Tokens(early, LENGTH), Tokens(late, LENGTH)
    rows = valid.take(np.arange(len(valid)))
    data = ladle.data.streamed(train, valid=rows, classes=tuple(characters), name="tiny_shakespeare")
    task = ladle.Task.functions(
        lambda key: init(len(characters), key),
        loss,
        data,
        feed=lambda seed: PrefetchedFeed(HostFeed(train, Permuted(len(train), seed))),
        lr=4e-3,
    )
    try:
        run = ladle.fit(task, size=SIZE, until=given.until, seed=given.seed, out=given.out)
    except ladle.ArgumentError as error:
        parser.exit(2, f"shakespeare.py: {error}\n")
    figures = {"valid": run.final["valid_loss"], "bigram": bigram(early, late, len(characters))}
    print(f"{train.describe()}; {run.final['data_wait_fraction']:.1%} of the time waited for them")
    print(
        f"validation {figures['valid']:.3f} nats per character after {run.final['examples']:,} windows "
        f"in {run.final['seconds']:.0f} s; pairs of characters {figures['bigram']:.3f}"
    )
    return figures


if __name__ == "__main__":
    main()
