"""Plans in the words of other libraries, given to these libraries."""

from __future__ import annotations

from typing import Any

import pytest

from ladle.core.errors import ArgumentError
from ladle.core.keywords import cut_for
from ladle.core.noise import NoiseScale
from ladle.core.plan import Plan


def planned(size: int = 256, micro_size: int = 64, **fields: Any) -> Plan:
    return Plan(size, micro_size, fields.pop("lr", 3e-3), "optimum", (128, 512), NoiseScale.unknown(), **fields)


@pytest.mark.parametrize("size", [1, 6, 64, 96, 97, 100, 1000])
@pytest.mark.parametrize("micro_size", [1, 7, 64, 2048])
@pytest.mark.parametrize("devices", [1, 2, 3])
def test_rows_and_steps_make_the_size_exactly(size: int, micro_size: int, devices: int):
    if size % devices:
        with pytest.raises(ArgumentError, match="devices must divide the size"):
            cut_for(size, micro_size, devices)
        return
    rows, steps = cut_for(size, micro_size, devices)
    assert rows * steps * devices == size and (rows * devices <= micro_size or rows == 1)
    fewer = [less for less in range(1, steps) if size % (less * devices) == 0]
    assert all(size // (less * devices) > max(micro_size // devices, 1) for less in fewer)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_training_arguments_take_them(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    plan = planned(hyper={"b2": 0.99})
    args = transformers.TrainingArguments(**plan.as_training_arguments(), output_dir=str(tmp_path), use_cpu=True)
    assert args.per_device_train_batch_size * args.gradient_accumulation_steps == plan.size
    assert (args.learning_rate, args.adam_beta2) == (3e-3, 0.99)
    two = plan.as_training_arguments(devices=2)
    assert (two["per_device_train_batch_size"], two["gradient_accumulation_steps"]) == (32, 4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_lightning_loader_trainer_and_optimiser_take_them():
    lightning, torch = pytest.importorskip("lightning"), pytest.importorskip("torch")
    made = planned(hyper={"b1": 0.8, "b2": 0.99}).as_lightning()
    loader = torch.utils.data.DataLoader(list(range(300)), **made["loader"])
    trainer = lightning.Trainer(accelerator="cpu", logger=False, **made["trainer"])
    adam = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], **made["optimizer"])
    assert loader.batch_size * trainer.accumulate_grad_batches * trainer.num_devices == 256
    assert adam.defaults["lr"] == 3e-3 and adam.defaults["betas"] == (0.8, 0.99)


def test_what_has_no_keyword_is_refused():
    with pytest.raises(ArgumentError, match="plan must move constants that a Trainer knows"):
        planned(hyper={"momentum": 0.9}).as_training_arguments()
    with pytest.raises(ArgumentError, match="plan must move both betas or none"):
        planned(hyper={"b2": 0.9}).as_lightning()
    with pytest.raises(ArgumentError, match="devices must be at least 1"):
        planned().as_lightning(devices=0)
    assert "learning_rate" not in planned(lr=None).as_training_arguments()
