"""Data in, batches out. A position is the whole state of a feed; everything else is a function of it.

    Source -> Order -> HostFeed (rows travel) or ResidentFeed (rows live on the device) -> batches
    Loader: the same for any other training loop

Read `host.py` first (how a batch is cut), then `order.py` (which example stands where). Nothing is imported before it
is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ladle.feed import quality
    from ladle.feed.arrays import Arrays
    from ladle.feed.augment import Augment, below, draws, generator
    from ladle.feed.augment_images import RandomImages
    from ladle.feed.balanced import Balanced
    from ladle.feed.blocks import Blocks
    from ladle.feed.bucket import Bucketed
    from ladle.feed.budget import ByTokens
    from ladle.feed.curriculum import Curriculum, Stage, pacing
    from ladle.feed.graph import Graph
    from ladle.feed.host import ByCount, HostFeed, Stack
    from ladle.feed.loader import Loader
    from ladle.feed.mixture import Mixture
    from ladle.feed.neighbours import Neighbours
    from ladle.feed.nest import Graphs, Nested, PadGraphs, PadNested
    from ladle.feed.order import Permuted, Sequential
    from ladle.feed.pack import Packed, Weighed, next_tokens
    from ladle.feed.packing import pack
    from ladle.feed.pad import Pad
    from ladle.feed.prefetch import PrefetchedFeed
    from ladle.feed.resident import ResidentFeed
    from ladle.feed.source.anything import as_source
    from ladle.feed.source.blob import Blob, open_blob
    from ladle.feed.source.convert import converted
    from ladle.feed.source.huggingface import HuggingFace
    from ladle.feed.source.images import ImageFolder
    from ladle.feed.source.items import Items
    from ladle.feed.source.join import Joined
    from ladle.feed.source.memmap import Mapped
    from ladle.feed.source.nonfinite import find_nonfinite
    from ladle.feed.source.open import open_source
    from ladle.feed.source.parquet import Parquet
    from ladle.feed.source.replay import Replay
    from ladle.feed.source.sequences import Sequences
    from ladle.feed.source.shards import TarShards
    from ladle.feed.source.subset import Chosen
    from ladle.feed.source.tokens import Tokens, text_tokens
    from ladle.feed.stratified import Stratified
    from ladle.feed.stream.decode import Numbers
    from ladle.feed.stream.directory import DirectoryStream
    from ladle.feed.stream.feed import StreamFeed
    from ladle.feed.stream.iterator import IteratorStream
    from ladle.feed.stream.kafka_log import KafkaTopic
    from ladle.feed.stream.pipe import PipeStream
    from ladle.feed.stream.postgres_log import PostgresTable
    from ladle.feed.stream.redis_log import RedisStream
    from ladle.feed.weighted import Weighted

__all__ = [
    "Arrays", "Augment", "Balanced", "Blob", "Blocks", "Bucketed", "ByCount", "ByTokens", "Chosen", "Curriculum",
    "DirectoryStream", "Graph", "Graphs", "HostFeed", "HuggingFace", "ImageFolder", "Items", "IteratorStream",
    "Joined", "KafkaTopic", "Loader", "Mapped", "Mixture", "Neighbours", "Nested", "Numbers", "Packed", "Pad",
    "PadGraphs", "PadNested", "Parquet", "Permuted", "PipeStream", "PostgresTable", "PrefetchedFeed", "RandomImages",
    "RedisStream", "Replay", "ResidentFeed", "Sequences", "Sequential", "Stack", "Stage", "Stratified", "StreamFeed",
    "TarShards", "Tokens", "Weighed", "Weighted", "as_source", "below", "converted", "draws", "find_nonfinite",
    "generator", "next_tokens", "open_blob", "open_source", "pacing", "pack", "quality", "text_tokens",
]  # fmt: skip

_HOMES = {
    "arrays": "Arrays",
    "augment": "Augment below draws generator",
    "augment_images": "RandomImages",
    "balanced": "Balanced",
    "blocks": "Blocks",
    "bucket": "Bucketed",
    "budget": "ByTokens",
    "curriculum": "Curriculum Stage pacing",
    "graph": "Graph",
    "host": "ByCount HostFeed Stack",
    "loader": "Loader",
    "mixture": "Mixture",
    "neighbours": "Neighbours",
    "nest": "Graphs Nested PadGraphs PadNested",
    "order": "Permuted Sequential",
    "stratified": "Stratified",
    "weighted": "Weighted",
    "pack": "Packed Weighed next_tokens",
    "packing": "pack",
    "pad": "Pad",
    "prefetch": "PrefetchedFeed",
    "resident": "ResidentFeed",
    "source.anything": "as_source",
    "source.blob": "Blob open_blob",
    "source.subset": "Chosen",
    "source.convert": "converted",
    "source.nonfinite": "find_nonfinite",
    "source.huggingface": "HuggingFace",
    "source.images": "ImageFolder",
    "source.items": "Items",
    "source.join": "Joined",
    "source.memmap": "Mapped",
    "source.open": "open_source",
    "source.parquet": "Parquet",
    "source.replay": "Replay",
    "source.sequences": "Sequences",
    "source.shards": "TarShards",
    "source.tokens": "Tokens text_tokens",
    "stream.decode": "Numbers",
    "stream.directory": "DirectoryStream",
    "stream.feed": "StreamFeed",
    "stream.iterator": "IteratorStream",
    "stream.kafka_log": "KafkaTopic",
    "stream.pipe": "PipeStream",
    "stream.postgres_log": "PostgresTable",
    "stream.redis_log": "RedisStream",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name == "quality":
        return import_module(f"{__name__}.quality")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
