"""A loader in the loops of other libraries, where these are installed."""

from __future__ import annotations

import collections
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ladle.feed.loader import Loader

pytestmark = pytest.mark.slow  # They take seconds to import.
ROWS = np.random.default_rng(0).random((24, 4), np.float32)


def imported(*names: str) -> Any:
    """The first of these libraries that is installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names[:-1]:
            try:
                return __import__(name, fromlist=["_"])
            except ImportError:
                continue
        return pytest.importorskip(names[-1])


def loader(**how: Any) -> Loader:
    return Loader({"x": ROWS, "y": np.arange(24)}, 5, to="torch", **how)


@pytest.mark.filterwarnings("ignore")
def test_accelerate_hands_a_loader_back_and_skips_in_it():
    accelerate = imported("accelerate")
    prepared = accelerate.Accelerator(cpu=True).prepare(own := loader())
    assert prepared is own
    rest = [batch["y"].tolist() for batch in accelerate.skip_first_batches(own, 2)]
    assert rest == [batch["y"].tolist() for batch in own][2:]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", [{}, {"limit_val_batches": 3, "num_sanity_val_steps": 0}], ids=["sanity", "limit"])
def test_lightning_validates_on_all_that_it_asks_for(how: dict[str, Any], tmp_path: Path):
    lightning = imported("lightning.pytorch", "pytorch_lightning")

    class Model(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.seen = torch.nn.Linear(4, 1), collections.Counter()

        def training_step(self, batch: Any, number: int) -> Any:
            self.seen["train"] += len(batch["x"])
            return self.layer(batch["x"]).pow(2).mean()

        def validation_step(self, batch: Any, number: int) -> None:
            if not self.trainer.sanity_checking:
                self.seen[f"pass {self.trainer.current_epoch}"] += len(batch["x"])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.01)

    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = lightning.Trainer(max_epochs=2, enable_checkpointing=False, default_root_dir=tmp_path, **quiet, **how)
    trainer.fit(model := Model(), loader(), loader(order="sequential"))
    each = 15 if how else 24
    assert model.seen == {"train": 48, "pass 0": each, "pass 1": each}


@pytest.mark.filterwarnings("ignore")
def test_hugging_faces_trainer_takes_a_loader(tmp_path: Path):
    transformers = imported("transformers")
    pytest.importorskip("accelerate")
    seen: list[int] = []

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def forward(self, x: Any, y: Any) -> Any:
            seen.extend(y.tolist())
            return {"loss": self.layer(x).pow(2).mean()}

    class Trainer(transformers.Trainer):
        def get_train_dataloader(self) -> Any:
            return loader()

    how = {"num_train_epochs": 2, "report_to": [], "save_strategy": "no", "use_cpu": True, "disable_tqdm": True}
    arguments = transformers.TrainingArguments(output_dir=str(tmp_path), remove_unused_columns=False, **how)
    Trainer(model=Model(), args=arguments, train_dataset=ROWS).train()
    assert sorted(seen) == sorted([*range(24)] * 2)
