"""How well does a molecule dissolve in water? Graphs of 1 to 388 atoms, padded to a few shapes, one number each.

    LADLE_DATA=FOLDER python recipes/molecules.py [--until "16 epochs"] [--seed 0] [--size 64] [--out FOLDER]
                                                  [--peer] [--sizes] [--data FOLDER]

AqSolDB: 8,021 molecules to train on, 989 to validate, 970 to test. Atoms and bonds are padded to six rungs, in buckets
of like size: 36 % of the places are padding, molecules of several parts and of no bond at all among them. Those of
more than 64 atoms are left out of the validation part alone, which has one shape. The weights are the moving average.
Test RMSE, in powers of ten, seeds 0, 1, 2:

    graph net                       1.193, 1.198, 1.206
    boosted trees on counts         1.260
    ridge on counts                 1.793

25 s of CPU time. The batch (--sizes): planned 64 by speed alone, noise scale 23 (heavy tails); four passes at 8, 32,
128 and 512 end at a validation loss of 0.29, 0.37, 0.47, 0.64: the smallest is the best.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from batch_sizes import add_sizes, keep, side_by_side

import ladle
from ladle.feed import Bucketed, Graphs, HostFeed, PadGraphs, Permuted, PrefetchedFeed, Sequences

WIDTH, LAYERS, ELEMENTS, BONDS, LARGEST, SIZE, PASSES, SWEPT = 64, 3, 16, 4, 64, 64, "16 epochs", "4 epochs"
PAD = PadGraphs(nodes=(12, 18, 24, 36, LARGEST, 400), edges=(24, 38, 52, 80, 144, 840))


def read(folder: Path) -> tuple[dict[str, Graphs], tuple[float, float]]:
    """Graphs to train, validate and test on, and the mean and spread of what dissolves, by which `y` is scaled."""

    def column(name: str, **how: Any) -> np.ndarray:
        return np.loadtxt(folder / f"AqSolDB_{name}.txt.gz", delimiter=",", **how)

    graph, pairs = column("graph_indicator", dtype=int) - 1, column("A", dtype=int) - 1
    first = np.searchsorted(graph, np.arange(graph[-1] + 2))
    atoms = np.eye(ELEMENTS, dtype=np.float32)[np.minimum(column("node_labels", dtype=int), ELEMENTS - 1)]
    atoms = np.concatenate([atoms, column("node_attributes", dtype=np.float32)], axis=1)
    ends = np.searchsorted(graph[pairs[:, 0]], np.arange(graph[-1] + 2))
    bonds = {"tokens": pairs - first[graph[pairs[:, 0]]][:, None], "bond": column("edge_labels", dtype=np.int32)}
    logs = column("graph_attributes", dtype=np.float32)
    with gzip.open(folder / "molecules.csv.gz", "rt", encoding="utf-8") as file:
        split = np.array([row["split"] for row in csv.DictReader(file)])
    mean, spread = float(logs[split == "train"].mean()), float(logs[split == "train"].std())
    every = Graphs(Sequences(atoms, first, y=(logs - mean) / spread), Sequences(bonds, ends))
    return {name: chosen(every, split == name) for name in ("train", "val", "test")}, (mean, spread)


def chosen(graphs: Graphs, which: np.ndarray) -> Graphs:
    """The graphs where `which` is true."""
    own = np.flatnonzero(which)
    nodes, edges = ((of, np.cumsum([0, *of.lengths[own]]), of.take(own)) for of in (graphs.nodes, graphs.edges))
    values = {name: rows.values for name, rows in edges[2].items()}
    return Graphs(Sequences(nodes[2].pop("tokens").values, nodes[1], **nodes[2]), Sequences(values, edges[1]))


def init(key: jax.Array) -> Any:
    glorot, keys = jax.nn.initializers.glorot_uniform(), iter(jax.random.split(key, 4 + 3 * LAYERS))
    layers = [
        {"bond": 0.1 * jax.random.normal(next(keys), (BONDS, WIDTH)), "into": glorot(next(keys), (WIDTH, WIDTH)),
         "out": glorot(next(keys), (WIDTH, WIDTH)), "scale": jnp.ones(WIDTH), "bias": jnp.zeros(WIDTH)}
        for _ in range(LAYERS)
    ]  # fmt: skip
    read, last = glorot(next(keys), (2 * WIDTH, WIDTH)), glorot(next(keys), (WIDTH, 1))
    return {"atom": glorot(next(keys), (ELEMENTS + 4, WIDTH)), "layers": layers, "read": read, "last": last}


def predict(params: Any, x: Any) -> jax.Array:
    """`f32[graphs]`. Atoms hear from those they are bound to, three times; a molecule is their sum and mean."""
    there, bound = (x[name].astype(jnp.float32)[..., None] for name in ("node_mask", "edge_mask"))
    atoms = (x["nodes"] @ params["atom"]) * there
    rows = jnp.arange(len(atoms))[:, None]
    begin, end = x["edges"][..., 0], x["edges"][..., 1]
    for layer in params["layers"]:
        said = jax.nn.relu(atoms[rows, begin] + layer["bond"][x["bond"]]) * bound
        heard = atoms + jnp.zeros_like(atoms).at[rows, end].add(said)
        heard = jax.nn.standardize(heard, axis=-1) * layer["scale"][None, None] + layer["bias"][None, None]
        atoms = (atoms + jax.nn.relu(heard @ layer["into"]) @ layer["out"]) * there
    total = atoms.sum(1)
    both = jnp.concatenate([total / 10, total / jnp.maximum(there.sum(1), 1)], axis=-1)
    return (jax.nn.relu(both @ params["read"]) @ params["last"])[:, 0]


def loss(params: Any, batch: Any) -> jax.Array:
    return (predict(params, batch) - batch["y"]) ** 2


def batches(graphs: Graphs, size: int = 256) -> Any:
    """All of it in padded batches, small graphs first."""
    order = np.argsort(graphs.lengths, kind="stable")
    for at in range(0, len(order), size):
        ids = order[at : at + size]
        yield ids, PAD(graphs, ids, ids, PAD.extent(graphs, ids, ids), real=len(ids)).data


def outputs(run: ladle.Run, graphs: Graphs) -> np.ndarray:
    found = np.zeros(len(graphs), np.float32)
    for ids, rows in batches(graphs):
        found[ids] = run.outputs({name: leaf for name, leaf in rows.items() if name != "y"})
    return found


def task_of(parts: dict[str, Graphs], size: int, largest: int = 400) -> ladle.Task:
    train, valid = (chosen(parts[n], parts[n].lengths <= most) for n, most in (("train", largest), ("val", LARGEST)))
    ids = np.arange(len(valid))
    rows = PAD(valid, ids, ids, PAD.extent(valid, ids, ids), real=len(ids)).data

    def feed(seed: int) -> PrefetchedFeed:
        shuffled = Permuted(len(train), seed)
        order = Bucketed(shuffled, train.lengths, window=4096, bucket=size, seed=seed)
        return PrefetchedFeed(HostFeed(train, order, collate=PAD))

    data = ladle.data.streamed(train, valid=rows, name="aqsoldb")
    how: dict[str, Any] = {"predict": predict, "feed": feed, "optimizer": "adam", "ema": 0.998}
    return ladle.Task.functions(init, loss, data, lr=lambda seen: 2e-3 * jnp.exp2(-seen / (4 * len(train))), **how)


def rmse(found: np.ndarray, graphs: Graphs, spread: float) -> float:
    """In powers of ten of moles a litre, as `LogS` is."""
    return spread * float(np.sqrt(np.mean((found - targets(graphs)) ** 2)))


def targets(graphs: Graphs) -> np.ndarray:
    assert graphs.nodes.fields is not None
    return graphs.nodes.fields.tree["y"]


def sizes_of(parts: dict[str, Graphs], until: str) -> dict[str, Any]:
    """A plan for molecules of up to `LARGEST` atoms, which have one shape; then sizes of all of them, in buckets."""
    plan = ladle.plan(task_of(parts, SIZE, LARGEST), memory="2GB")  # Without a limit updates of 14 GB would be timed.
    return side_by_side(
        lambda size: task_of(parts, size), plan, sizes=[8, 32, 128, 512], until=until, reference=SIZE, most=3
    )


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default=os.environ.get("LADLE_DATA", ""), help="folder with aqsoldb_graphs")
    parser.add_argument("--until", help=f"{PASSES}; of a sweep {SWEPT}")
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="run folder to write")
    parser.add_argument("--peer", action="store_true", help="ridge and boosted trees on counts of atoms and bonds")
    add_sizes(parser)
    given = parser.parse_args(args)
    folder = Path(given.data, "aqsoldb_graphs")
    if not given.data or not (folder / "molecules.csv.gz").is_file():
        remedy = "try --data FOLDER, or LADLE_DATA=FOLDER"
        parser.exit(2, f"molecules.py: data must hold aqsoldb_graphs; got {given.data!r}; {remedy}\n")
    parts, (_, spread) = read(folder)
    try:
        if given.sizes is not None:
            swept = sizes_of(parts, given.until or SWEPT)
            keep(given.sizes, "molecules", "validation loss", swept)
            return swept
        task = task_of(parts, given.size)
        run = ladle.fit(task, size=given.size, until=given.until or PASSES, seed=given.seed, out=given.out)
    except ladle.ArgumentError as error:
        parser.exit(2, f"molecules.py: {error}\n")
    run = run.averaged()
    found = {"rmse": rmse(outputs(run, parts["test"]), parts["test"], spread), **run.final}
    print(
        f"test RMSE {found['rmse']:.3f}; padding {found['padding_fraction']:.0%}; {found['seconds']:.0f} s of training"
    )
    if given.peer:
        from molecules_peers import peers

        found["peers"] = peers(parts, spread)
        print(", ".join(f"{name} {value:.3f}" for name, value in found["peers"].items()))
    return found


if __name__ == "__main__":
    main()
