"""`per_row`: the weighted mean of what it answers is the loss itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from ladle.core.errors import ArgumentError
from ladle.torch.row_losses import per_row

torch.manual_seed(0)
LOGITS, TARGETS = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 3, 1, -100, 2, 1])
TOKENS = torch.randn(3, 4, 5, dtype=torch.float64), torch.randint(0, 4, (3, 5))
NUMBERS = torch.rand(6, 4, dtype=torch.float64), torch.rand(6, 4, dtype=torch.float64)
WEIGHT = torch.tensor([0.5, 2.0, 1.0, 0.0], dtype=torch.float64)


def left_out(targets: torch.Tensor, index: int = -100) -> torch.Tensor:
    return torch.where(torch.rand(targets.shape, generator=torch.Generator().manual_seed(1)) < 0.4, index, targets)


@pytest.mark.parametrize(
    ("loss", "outputs", "targets"),
    [
        (nn.CrossEntropyLoss(), LOGITS, TARGETS),
        (nn.CrossEntropyLoss(weight=WEIGHT), LOGITS, TARGETS),
        (nn.CrossEntropyLoss(label_smoothing=0.1, weight=WEIGHT + 1), LOGITS, TARGETS),
        (nn.CrossEntropyLoss(ignore_index=1), LOGITS, TARGETS.clamp(0)),
        (nn.CrossEntropyLoss(), TOKENS[0], left_out(TOKENS[1])),
        (nn.CrossEntropyLoss(), LOGITS, NUMBERS[0]),
        (nn.functional.cross_entropy, LOGITS, TARGETS),
        (nn.NLLLoss(), LOGITS.log_softmax(1), TARGETS),
        (nn.MSELoss(), *NUMBERS),
        (nn.functional.smooth_l1_loss, *NUMBERS),
        (nn.BCELoss(), NUMBERS[0][:, 0], NUMBERS[1][:, 0]),
        (nn.BCEWithLogitsLoss(), *NUMBERS),
        (nn.KLDivLoss(reduction="batchmean"), *NUMBERS),
        (nn.MultiMarginLoss(), LOGITS, TARGETS.clamp(0)),
    ],
)
def test_the_mean_is_that_of_the_loss(loss: Any, outputs: torch.Tensor, targets: torch.Tensor):
    found = per_row(loss)(outputs, targets)
    losses, weights = found if isinstance(found, tuple) else (found, torch.ones(len(found), dtype=found.dtype))
    assert losses.shape[0] == len(outputs)
    torch.testing.assert_close((losses * weights).sum() / weights.sum(), loss(outputs, targets))
    assert getattr(loss, "reduction", "mean") != "none"  # It is a copy that was changed.


@pytest.mark.parametrize(
    ("loss", "why"),
    [
        (nn.MSELoss(reduction="sum"), "grows with the batch"),
        (nn.CTCLoss(), "lengths of targets"),
        (lambda outputs, targets: 0.0, "no reduction that could be left out"),
    ],
)
def test_what_cannot_be_put_right_is_refused(loss: Any, why: str):
    with pytest.raises(ArgumentError, match=why):
        per_row(loss)
