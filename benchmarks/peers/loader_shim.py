"""Other libraries' tests of their loaders, run with `Loader` in place of `StatefulDataLoader`.

    git clone https://github.com/pytorch/data          # torchdata; its tests want the package `parameterized`
    PYTHONPATH=data python benchmarks/peers/loader_shim.py data/test/stateful_dataloader/test_state_dict.py [-k ...]

The shim has a `DataLoader`'s defaults: in order, batches of one, its own collate function. What a `Loader` refuses by
design or has otherwise stands in `docs/loader.md`: states have a form of their own (`_snapshot`), streams that do not
share themselves among workers, `in_order=False`, a shuffle drawn from torch's global seed.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from typing import Any

SHIMMED = ("torchdata.stateful_dataloader",)


def data_loader(dataset: Any, batch_size: int | None = 1, shuffle: Any = None, **names: Any) -> Any:
    """A `Loader` for the arguments of a `DataLoader`."""
    import torch

    from ladle.feed import Loader

    collate = torch.utils.data.default_collate if batch_size else torch.utils.data.default_convert
    names = {name: value for name, value in names.items() if name not in ("snapshot_every_n_steps", "pin_memory")}
    names["collate_fn"] = names.get("collate_fn") or collate
    stream = isinstance(dataset, torch.utils.data.IterableDataset)
    if not stream and names.get("sampler") is None and names.get("batch_sampler") is None:
        names["shuffle"] = bool(shuffle)
    if not names.get("num_workers"):
        names.pop("prefetch_factor", None)
    return Loader(dataset, batch_size, **names)


def main(arguments: list[str]) -> int:
    import pytest

    warnings.simplefilter("ignore")
    for name in SHIMMED:
        importlib.import_module(name).StatefulDataLoader = data_loader  # type: ignore[attr-defined]
    return int(pytest.main(["-q", "-p", "no:cacheprovider", "-W", "ignore", "-c", "/dev/null", *arguments]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
