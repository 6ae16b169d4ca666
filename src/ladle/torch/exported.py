"""A model's outputs as a program of `torch.export`, for programs that have no ladle.

    program = torch.export.load("exported/program.pt2").module()
    outputs = program(x)

The weights are in it. It takes inputs in the types of the data and answers what `TorchEngine.predict` does.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import torch
from torch import nn

from ladle.core.backend import Program
from ladle.core.errors import ArgumentError, must
from ladle.core.npy import one_line
from ladle.torch.objective import GENERATORS, Objective
from ladle.torch.tree import mapped

FILE = "program.pt2"


class Outputs(nn.Module):
    """A module as it predicts: whole numbers are widened as `placed` does, outputs are `f32` at least."""

    def __init__(self, model: nn.Module) -> None:
        """`model`: in the mode in which it predicts."""
        super().__init__()
        self.model = model

    def forward(self, x: Any) -> torch.Tensor:
        outputs = self.model(mapped(_widened, x))
        return outputs.to(torch.promote_types(outputs.dtype, torch.float32))


def exported(objective: Objective, model: nn.Module, x: Any, device: torch.device) -> Program:
    """The program of any number of rows where `torch.export` can make one, else of as many as `x` has.

    Raises `ArgumentError` where the module cannot be exported.
    """
    training = model.training
    failure: Exception | None = None
    inputs = _as_they_are(x, device)
    with GENERATORS, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of the exporter's own parts; what it wrote is checked by running it.
        try:
            for any_rows in (True, False):
                try:
                    return Program(_written(Outputs(model.eval()), inputs, any_rows), any_rows, FILE, whole=True)
                except (
                    Exception
                ) as error:  # A user's module may fail in any way; with a fixed number it mostly does not.
                    failure = error
        finally:
            model.train(training)
    why = one_line(failure)
    remedy = "a forward without branches on the values of tensors"
    raise ArgumentError(must("model", "be one that torch can export", objective.name, why, remedy))


def run_exported(program: bytes, x: Any, device: torch.device) -> np.ndarray:
    """Outputs of a program that was written by `exported` and read again."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        made = torch.export.load(io.BytesIO(program)).module()
        return made(_as_they_are(x, device)).cpu().numpy()


def _written(module: nn.Module, x: Any, any_rows: bool) -> bytes:
    rows = torch.export.Dim("rows", min=1)
    dims = (mapped(lambda leaf: {0: rows}, x),) if any_rows else None
    made = torch.export.export(module, (x,), dynamic_shapes=dims)
    file = io.BytesIO()
    torch.export.save(made, file)
    return file.getvalue()


def _as_they_are(x: Any, device: torch.device) -> Any:
    """Arrays as tensors of their own types, which `placed` would widen."""
    return mapped(lambda leaf: torch.from_numpy(np.array(leaf)).to(device), x)


def _widened(leaf: torch.Tensor) -> torch.Tensor:
    whole = not leaf.is_floating_point() and not leaf.is_complex() and leaf.dtype is not torch.bool
    return leaf.long() if whole and leaf.element_size() > 1 else leaf
