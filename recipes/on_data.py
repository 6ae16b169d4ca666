"""What the tests of the recipes share: which of them need the folder of data sets, and a recipe by its name."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

import pytest

on_data = pytest.mark.skipif(not os.environ.get("LADLE_DATA"), reason="LADLE_DATA names no folder of data sets")


def recipe(name: str) -> ModuleType:
    """Imported when it is asked for: some need libraries of their own."""
    return importlib.import_module(name)
