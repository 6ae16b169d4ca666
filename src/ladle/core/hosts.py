"""A plan in the words of other libraries: keywords of a Hugging Face or Lightning run, as plain dicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ladle.core.errors import ArgumentError, must
from ladle.core.spec import require_count

if TYPE_CHECKING:
    from ladle.core.plan import Plan

ARGUMENTS = {"b1": "adam_beta1", "b2": "adam_beta2", "eps": "adam_epsilon", "weight_decay": "weight_decay"}
"""Constants of an optimiser, and what `TrainingArguments` calls them."""


def cut_for(size: int, micro_size: int, devices: int) -> tuple[int, int]:
    """`(rows, steps)`: rows on a device at a time, and steps of accumulation, whose product with `devices` is `size`.

    As many rows as `micro_size` lets, which counts those on all devices. A host gives every step equal rows, so what
    does not divide takes more steps.

    >>> cut_for(512, 256, 2), cut_for(96, 64, 1), cut_for(64, 1024, 1)
    ((128, 2), (48, 2), (64, 1))

    Raises `ArgumentError` where `devices` do not divide the size, or are more than fit in a micro-batch.
    """
    require_count("devices", devices)
    if size % devices:
        why = f"every device of a host gets equal rows, and {size:,} have no {devices} equal parts"
        raise ArgumentError(must("devices", "divide the size of the plan", devices, why, "fewer, or another size"))
    each, most = size // devices, max(micro_size // devices, 1)
    steps = next(steps for steps in range(-(-each // most), each + 1) if each % steps == 0)
    return each // steps, steps


def training_arguments(plan: Plan, devices: int) -> dict[str, Any]:
    """See `Plan.as_training_arguments`."""
    rows, steps = cut_for(plan.size, plan.micro_size, devices)
    made: dict[str, Any] = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": steps}
    if plan.lr is not None:
        made["learning_rate"] = plan.lr
    for name, value in plan.hyper.items():
        if name not in ARGUMENTS:
            why = "TrainingArguments have no keyword for it"
            raise ArgumentError(must("plan", "move constants that a Trainer knows", name, why, "plan(rule='linear')"))
        made[ARGUMENTS[name]] = value
    return made


def lightning(plan: Plan, devices: int) -> dict[str, dict[str, Any]]:
    """See `Plan.as_lightning`."""
    rows, steps = cut_for(plan.size, plan.micro_size, devices)
    optimizer: dict[str, Any] = dict(plan.hyper) if plan.lr is None else {"lr": plan.lr, **plan.hyper}
    if len(betas := {"b1", "b2"} & set(optimizer)) == 1:
        why = "torch takes both betas together, and the plan does not know the other"
        remedy = f"betas=(0.9, plan.hyper['{betas.pop()}']) by hand"
        raise ArgumentError(must("plan", "move both betas or none", sorted(plan.hyper), why, remedy))
    if betas:
        optimizer["betas"] = (optimizer.pop("b1"), optimizer.pop("b2"))
    trainer = {"accumulate_grad_batches": steps, "devices": devices}
    return {"loader": {"batch_size": rows}, "trainer": trainer, "optimizer": optimizer}
