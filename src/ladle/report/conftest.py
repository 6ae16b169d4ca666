from __future__ import annotations

from pathlib import Path

import pytest

from ladle.report.fakes_test import write_compare


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compare folder: 3 sizes x 3 seeds. Read only."""
    return write_compare(tmp_path_factory.mktemp("runs") / "digits-1")
