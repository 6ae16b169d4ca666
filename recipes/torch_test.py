"""The recipes in PyTorch, cut short."""

from __future__ import annotations

import math

import pytest
import seed_torch
import torch_two_processes


@pytest.mark.slow
@pytest.mark.long
def test_two_processes_have_the_losses_of_one(tmp_path, capsys):
    found = torch_two_processes.main(["--until", "1 epochs", "--out", str(tmp_path)])
    assert found["apart"] < 1e-5 and found["valid"] < 2.3
    assert (tmp_path / "many" / "run.json").is_file()
    assert "2 processes and 1 differ" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.long
def test_the_seeds_script_reaches_its_loss_at_the_planned_size():
    found = seed_torch.main(["--seeds", "1"])
    assert math.isfinite(found["seconds"]) and found["size"] >= 1
