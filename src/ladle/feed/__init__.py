"""Data in, batches out: orders of examples, and feeds that draw from them. A position is the whole state."""

from ladle.feed.arrays import Arrays
from ladle.feed.host import HostFeed
from ladle.feed.order import Permuted, Sequential, Stratified, Weighted
from ladle.feed.resident import ResidentFeed

__all__ = ["Arrays", "HostFeed", "Permuted", "ResidentFeed", "Sequential", "Stratified", "Weighted"]
