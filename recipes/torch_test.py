"""The recipes in PyTorch, cut short."""

from __future__ import annotations

import math

import pytest
import seed_torch
import torch_fashion
import torch_shakespeare
import torch_two_processes
from on_data import on_data


@pytest.mark.slow
@pytest.mark.long
def test_two_processes_have_the_losses_of_one(tmp_path, capsys):
    found = torch_two_processes.main(["--until", "1 epochs", "--out", str(tmp_path)])
    assert found["apart"] < 1e-5 and found["valid"] < 2.3
    assert (tmp_path / "many" / "run.json").is_file()
    assert "2 processes and 1 differ" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("more", [[], ["--race"]], ids=["its rate", "raced"])
def test_the_seeds_script_reaches_its_loss_at_the_planned_size(more):
    found = seed_torch.main(["--seeds", "1", *more])
    assert math.isfinite(found["seconds"]) and found["size"] >= 1


@on_data
@pytest.mark.slow
def test_a_convnet_learns_clothes_in_twenty_batches():
    found = torch_fashion.main(["--quick"])
    assert found["test"] > 0.4 and found["valid"] > 0.4


@on_data
@pytest.mark.slow
def test_a_transformer_learns_characters_while_its_batch_grows(capsys):
    found = torch_shakespeare.main(["--quick"])
    assert found["valid"] < 3.7 and found["sizes"] == 3 and found["examples"] == 768
    assert "size  128" in capsys.readouterr().out
