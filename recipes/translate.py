"""Short English sentences in French: an encoder and a decoder with attention, every word of a batch counted once.

    LADLE_DATA=FOLDER python recipes/translate.py [--until "5 epochs"] [--seed 0] [--size 128] [--out FOLDER] [--peer]
                                                  [--sizes] [--data FOLDER]

Tatoeba, sentences of at most six English words and their marks, parted by English sentence: 27,883 pairs to train on,
1,000 sentences to validate, 1,500 to test. The loss of a row is the mean over its words, its weight their number. BLEU
with every French sentence of a test sentence as reference, and the share that is one of them exactly, seeds 0, 1, 2:

    ladle                                BLEU 26.0, 27.3, 28.2    exactly 8.3, 8.9, 9.4 %
    the same net in a plain Optax loop   BLEU 27.2, 27.7, 27.7    exactly 8.1, 8.5, 8.5 %

45 s of CPU time. The batch (--sizes): planned 64, noise scale 547; one pass at 32, 128, 512, 2,048 ends at 2.66, 2.86,
3.25, 4.38 nats a word.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from batch_sizes import add_sizes, keep, side_by_side
from translate_pairs import BEGIN, END, UNKNOWN, WORDS, Pairs, read

import ladle

WIDTH, EMBED, RATE, SIZE, PASSES, SWEPT = 128, 64, 4e-3, 128, "5 epochs", "1 epochs"


def init(english: int, french: int, key: jax.Array) -> Any:
    shapes = {
        "english": (english, EMBED), "french": (french, EMBED), "ahead": (EMBED + WIDTH, 3 * WIDTH),
        "back": (EMBED + WIDTH, 3 * WIDTH), "write": (EMBED + WIDTH, 3 * WIDTH), "start": (2 * WIDTH, WIDTH),
        "ask": (WIDTH, 2 * WIDTH), "say": (3 * WIDTH, EMBED),
        "out": (EMBED, french),
    }  # fmt: skip
    keys = dict(zip(shapes, jax.random.split(key, len(shapes)), strict=True))
    params = {name: jax.random.normal(keys[name], shape) / shape[0] ** 0.5 for name, shape in shapes.items()}
    tables = {name: 0.5 * jax.random.normal(keys[name], shapes[name]) for name in ("english", "french")}
    return params | tables | {"bias": jnp.zeros(french)}


def gru(weights: jax.Array, state: jax.Array, into: jax.Array) -> jax.Array:
    """The next state; a row of `into` that is all zero is padding, and leaves the state as it is."""
    keep, look = jnp.split(jax.nn.sigmoid(jnp.concatenate([into, state], 1) @ weights[:, : 2 * WIDTH]), 2, axis=1)
    new = jnp.tanh(jnp.concatenate([into, look * state], 1) @ weights[:, 2 * WIDTH :])
    return jnp.where((into != 0).any(1, keepdims=True), keep * state + (1 - keep) * new, state)


def over(weights: jax.Array, state: jax.Array, into: jax.Array, reverse: bool = False) -> jax.Array:
    """`f32[rows, words, WIDTH]`: the state at each word."""

    def step(state: jax.Array, word: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = gru(weights, state, word)
        return state, state

    return jax.lax.scan(step, state, into.swapaxes(0, 1), reverse=reverse)[1].swapaxes(0, 1)


def encode(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What is known at each English word, read both ways, and the state that the decoder begins with."""
    there = (x > 0)[..., None]
    into, zero = jnp.where(there, params["english"][x], 0), jnp.zeros((len(x), WIDTH))
    read = jnp.concatenate([over(params["ahead"], zero, into), over(params["back"], zero, into, reverse=True)], axis=-1)
    start = jnp.tanh(jnp.concatenate([read[:, -1, :WIDTH], read[:, 0, WIDTH:]], axis=1) @ params["start"])
    return jnp.where(there, read, 0), start


def say(params: Any, states: jax.Array, read: jax.Array, x: jax.Array) -> jax.Array:
    """Scores of the next word after each state, which looks at the English words by how well they fit."""
    fit = jnp.einsum("btd,bsd->bts", states @ params["ask"], read) / WIDTH**0.5
    seen = jax.nn.softmax(jnp.where((x > 0)[:, None], fit, -1e9), axis=-1) @ read
    both = jnp.tanh(jnp.concatenate([states, seen], axis=-1) @ params["say"])
    return both @ params["out"] + params["bias"][None, None]


def word_losses(params: Any, batch: Any, key: jax.Array) -> jax.Array:
    """`f32[rows, words]`, zero for padding; the decoder is not told a tenth of the words before."""
    x, y = batch["x"], batch["y"]
    read, start = encode(params, x)
    before = jnp.concatenate([jnp.full_like(y[:, :1], BEGIN), y[:, :-1]], axis=1)
    told = params["french"][jnp.where(jax.random.bernoulli(key, 0.9, before.shape), before, UNKNOWN)]
    scores = say(params, over(params["write"], start, told), read, x)
    return optax.softmax_cross_entropy_with_integer_labels(scores, y) * (y > 0).astype(jnp.float32)


def loss(params: Any, batch: Any, key: jax.Array) -> jax.Array:
    """The mean over a sentence's words. With their number as its weight a batch's mean is one over all its words."""
    return word_losses(params, batch, key).sum(1) / (batch["y"] > 0).sum(1).astype(jnp.float32)


def translate(params: Any, x: jax.Array) -> jax.Array:
    """`i32[rows, WORDS + 3]`: the likeliest word, one after the other."""
    read, start = encode(params, x)

    def step(carry: tuple[jax.Array, jax.Array], _: None) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        state = gru(params["write"], carry[0], params["french"][carry[1]])
        word = jnp.argmax(say(params, state[:, None], read, x)[:, 0], axis=1).astype(jnp.int32)
        return (state, word), word

    return jax.lax.scan(step, (start, jnp.full(len(x), BEGIN)), None, WORDS + 3)[1].T


def rate(rows: int, seen: Any) -> Any:
    """Halved every one and a half passes."""
    return RATE * jnp.exp2(-seen / (1.5 * rows))


def task_of(pairs: Pairs) -> ladle.Task:
    x, y = pairs.rows(pairs.train)
    valid = pairs.rows((english, french[0]) for english, french in pairs.valid)
    data = ladle.data.arrays(x, y, weight=(y > 0).sum(1), valid=valid, tokens=True, name="tatoeba_en_fr")
    begin = partial(init, len(pairs.english) + UNKNOWN + 1, len(pairs.french) + UNKNOWN + 1)
    how: dict[str, Any] = {"predict": translate, "optimizer": "adam", "clip": 1.0}
    return ladle.Task.functions(begin, loss, data, lr=partial(rate, len(x)), **how)


def figures(found: np.ndarray, pairs: Pairs) -> dict[str, float]:
    """BLEU with all French sentences of a test sentence as references, and the share that is one of them exactly."""
    from torchmetrics.functional.text import bleu_score  # pyright: ignore[reportMissingImports]

    word = {at: word for word, at in pairs.french.items()} | {UNKNOWN: "?"}
    said = [tuple(word[at] for at in row[: [*row, END].index(END)] if at in word) for row in found.tolist()]
    every = [french for _, french in pairs.test]
    exact = np.mean([one in known for one, known in zip(said, every, strict=True)])
    bleu = bleu_score([" ".join(one) for one in said], [[" ".join(one) for one in known] for known in every])
    return {"bleu": 100 * float(bleu), "exact": float(exact)}


def sizes_of(task: ladle.Task, until: str) -> dict[str, Any]:
    return side_by_side(task, ladle.plan(task), sizes=[32, 128, 512, 2048], until=until, reference=SIZE, most=3)


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default=os.environ.get("LADLE_DATA", ""), help="folder with tatoeba_en_fr")
    parser.add_argument("--until", help=f"{PASSES}; of a sweep {SWEPT}")
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="run folder to write")
    parser.add_argument("--peer", action="store_true", help="the same net in a plain loop with Optax")
    add_sizes(parser)
    given = parser.parse_args(args)
    file = Path(given.data, "tatoeba_en_fr/fra-eng.zip")
    if not given.data or not file.is_file():
        remedy = "try --data FOLDER, or LADLE_DATA=FOLDER"
        parser.exit(2, f"translate.py: data must hold tatoeba_en_fr; got {given.data!r}; {remedy}\n")
    if find_spec("torchmetrics") is None:
        parser.exit(
            2, "translate.py: torchmetrics must be installed, which counts BLEU; try pip install torchmetrics\n"
        )
    pairs = read(file)
    task, x = task_of(pairs), pairs.rows((english, french[0]) for english, french in pairs.test)[0]
    try:
        if given.sizes is not None:
            swept = sizes_of(task, given.until or SWEPT)
            keep(given.sizes, "translate", "validation loss, nats a word", swept)
            return swept
        run = ladle.fit(task, size=given.size, until=given.until or PASSES, seed=given.seed, out=given.out)
    except ladle.ArgumentError as error:
        parser.exit(2, f"translate.py: {error}\n")
    found: dict[str, Any] = {**figures(run.outputs(x), pairs), "seconds": run.final["seconds"]}
    print(shown("ladle", found), flush=True)
    if given.peer:
        from translate_plain import plain

        params, seconds = plain(task, given.size, int(run.final["epoch"]), given.seed)
        found["peer"] = {**figures(np.asarray(jax.jit(translate)(params, x)), pairs), "seconds": seconds}
        print(shown("plain loop", found["peer"]))
    return found


def shown(name: str, of: dict[str, Any]) -> str:
    return f"{name}: BLEU {of['bleu']:.1f}, exactly a known translation {of['exact']:.1%}; {of['seconds']:.0f} s"


if __name__ == "__main__":
    main()
