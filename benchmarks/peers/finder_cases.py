"""What Lightning's tests of its batch size finder ask, asked of `ladle.torch.plan`: a check, or why there is none."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ladle
import ladle.torch
from ladle.core.errors import ArgumentError

ROWS = TensorDataset(torch.randn(640, 32, generator=torch.Generator().manual_seed(0)))


def loss(model: nn.Module, batch: Any) -> torch.Tensor:
    return model(batch[0]).square().mean(1)


def planned(batch: int = 16, loss: Any = loss, model: nn.Module | None = None, **how: Any) -> ladle.Plan:
    """A plan for their model: one layer, 32 numbers to 2."""
    model = nn.Linear(32, 2) if model is None else model
    loader = DataLoader(ROWS, batch_size=batch)
    return ladle.torch.plan(model, loss, loader, torch.optim.SGD(model.parameters(), lr=0.1), budget=0.5, **how)


@functools.cache
def usual() -> ladle.Plan:
    return planned()


def bytes_of(made: ladle.Plan) -> float:
    found = made.number("memory_predicted_bytes")
    assert found is not None, "memory was not predicted"
    return found.value


def as_settings() -> None:
    """The size comes as the loader's and the trainer's settings, wherever these are kept."""
    made = usual().as_lightning()
    held = made["loader"]["batch_size"] * made["trainer"].get("accumulate_grad_batches", 1)
    assert held == usual().size, made


def leaves_all() -> None:
    """Parameters, gradients, hooks, mode and random numbers are afterwards what they were."""
    model = nn.Linear(32, 2)
    before, drawn = {name: leaf.clone() for name, leaf in model.state_dict().items()}, torch.get_rng_state()
    planned(model=model)
    assert torch.equal(drawn, torch.get_rng_state()), "random numbers were drawn"
    assert all(torch.equal(before[name], leaf) for name, leaf in model.state_dict().items()), "parameters moved"
    assert model.weight.grad is None and not model._backward_hooks and model.training, "something was left behind"


def with_autocast() -> None:
    """A loss under autocast is planned for."""

    def half(model: nn.Module, batch: Any) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return loss(model, batch).float()

    assert planned(loss=half).size >= 1


def no_time() -> None:
    """With next to no time for the noise there is an answer, and its interval says how sure it is."""
    assert usual().size >= 1 and usual().noise.verdict in ("resolved", "lower bound only", "unresolved")


def unknown_aim() -> None:
    """An aim that is not known is refused in one line."""
    refused(lambda: planned(minimize="binary"), "minimize must be")


def any_size_before() -> None:
    """Whatever size the loader has, it keeps it, and stands at its beginning."""
    for batch in (8, 17, 64):
        loader = DataLoader(ROWS, batch_size=batch)
        model = nn.Linear(32, 2)
        ladle.torch.plan(model, loss, loader, torch.optim.SGD(model.parameters(), lr=0.1), budget=0.2)
        assert loader.batch_size == batch and len(list(loader)) == -(-640 // batch)


def within_memory() -> None:
    """What is chosen fits: predicted memory is within the limit that was given."""
    full = bytes_of(usual())
    for share in (1.0, 0.9, 0.8):
        made = planned(memory=round(full * share / 0.9))  # A tenth of a limit is kept for the allocator.
        assert bytes_of(made) <= full * share / 0.9


def within_rows() -> None:
    """No size is larger than the rows that there are."""
    assert usual().size <= 640 and usual().micro_size <= 640


def passes_on() -> None:
    """What the user's loss raises comes through, and nothing is left behind."""

    def failing(model: nn.Module, batch: Any) -> torch.Tensor:
        raise RuntimeError("meant")

    model, drawn = nn.Linear(32, 2), torch.get_rng_state()
    try:
        planned(loss=failing, model=model)
    except RuntimeError as error:
        assert "meant" in str(error), error
    else:
        raise AssertionError("it was swallowed")
    assert torch.equal(drawn, torch.get_rng_state()) and model.weight.grad is None


def refused(act: Callable[[], Any], why: str) -> None:
    try:
        act()
    except ArgumentError as error:
        assert why in str(error) and "\n" not in str(error), error
    else:
        raise AssertionError("it was not refused")


EVALUATION = "a plan is for training"
TRIALS = "nothing is tried until it fails, so there are no trials to count"
PLACES = "a plan is a value, and writes to no attribute and no trainer"
CASES: dict[str, Callable[[], None] | str] = {
    "test_scale_batch_size_method_with_model_or_datamodule": as_settings,
    "test_trainer_reset_correctly": leaves_all,
    "test_auto_scale_batch_size_trainer_arg": TRIALS,
    "test_auto_scale_batch_size_set_model_attribute": as_settings,
    "test_auto_scale_batch_size_set_datamodule_attribute": as_settings,
    "test_auto_scale_batch_size_duplicate_attribute_warning": PLACES,
    "test_call_to_trainer_method": as_settings,
    "test_error_on_dataloader_passed_to_fit": PLACES,
    "test_auto_scale_batch_size_with_amp": with_autocast,
    "test_scale_batch_size_no_trials": no_time,
    "test_scale_batch_size_fails_with_unavailable_mode": unknown_aim,
    "test_dataloader_reset_with_scale_batch_size": any_size_before,
    "test_tuner_with_evaluation_methods": EVALUATION,
    "test_batch_size_finder_callback": EVALUATION,
    "test_invalid_method_in_tuner": EVALUATION,
    "test_error_if_train_or_val_dataloaders_passed_with_eval_method": EVALUATION,
    "test_error_if_dataloaders_passed_with_fit_method": PLACES,
    "test_batch_size_finder_with_distributed_strategies": "`ladle.torch.plan` is for one process; `fit` plans for all",
    "test_batch_size_finder_with_multiple_eval_dataloaders": EVALUATION,
    "test_dataloader_batch_size_updated_on_failure": within_memory,
    "test_batch_size_finder_callback_val_batches": EVALUATION,
    "test_scale_batch_size_margin_and_max_val": within_memory,
    "test_scale_batch_size_max_val_limit": within_rows,
    "test_scale_batch_size_checkpoint_cleanup_on_error": passes_on,
    "test_scale_batch_size_max_trials_modes": TRIALS,
}
"""By the names of their test functions."""
