"""Where examples come from: one file for each kind of storage. Every source answers `take(ids)` in batches."""
