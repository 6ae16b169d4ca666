from __future__ import annotations

import resource
from types import SimpleNamespace

import pytest
import torch

from ladle.torch.limit import limit_bytes
from ladle.torch.place import device_of, free_bytes


def test_the_limit_is_a_share_of_what_is_free_or_of_the_address_space_that_is_left(monkeypatch: pytest.MonkeyPatch):
    free, how = limit_bytes(torch.device("cpu"))
    assert free > 1 << 20 and how == "90% of the host memory available to this process"
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1 << 50, 1 << 50))
    assert limit_bytes(torch.device("cpu"))[1] == how, "a limit far away limits nothing"
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1, 1))
    assert limit_bytes(torch.device("cpu")) == (1, "90% of the address space left to this process")


def test_an_accelerator_has_what_is_free_and_what_torch_keeps_without_using_it(monkeypatch: pytest.MonkeyPatch):
    module = SimpleNamespace(
        memory_reserved=lambda device: 300, memory_allocated=lambda device: 100, mem_get_info=lambda device: (800, 2000)
    )
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    assert limit_bytes(torch.device("cuda", 0)) == (900, "90% of the device's free memory")


def test_a_build_for_cuda_without_a_gpu_computes_on_the_processor(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert device_of() == torch.device("cpu") and free_bytes() > 0
