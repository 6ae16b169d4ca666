"""Paths of a tree's arrays in words, `layers.0.weight`: what patterns, files and errors call them."""

from __future__ import annotations

from typing import Any

import jax


def path_text(path: Any) -> str:
    """One path, as `jax.tree_util` walks a tree, with dots between its keys.

    >>> [path_text(path) for path, _ in jax.tree.leaves_with_path({"layers": [{"weight": 1.0}]})]
    ['layers.0.weight']
    """
    return jax.tree_util.keystr(path, simple=True, separator=".")


def paths_of(tree: Any) -> list[str]:
    """Paths of all arrays of `tree`, in the order of its leaves."""
    return [path_text(path) for path, _ in jax.tree.leaves_with_path(tree)]
