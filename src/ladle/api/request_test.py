from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from ladle.api.options import TaskOptions
from ladle.api.request import REQUEST, Request
from ladle.core.errors import ArgumentError
from ladle.core.record import RUN_FILE, write_json

REQUESTED = Request(TaskOptions("digits", drop=("a",)), micro_size=16, schedule="0:8 2ep:24", until="3 epochs")


def test_a_request_comes_back_from_its_folder(tmp_path: Path) -> None:
    write_json(tmp_path / RUN_FILE, {REQUEST: asdict(REQUESTED)})
    assert Request.of_folder(tmp_path) == REQUESTED


def test_a_folder_without_a_request_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / RUN_FILE, {"status": "finished"})
    with pytest.raises(ArgumentError, match="resume must be the folder of a `ladle train` run"):
        Request.of_folder(tmp_path)


def test_words_left_out_stay_as_they_were() -> None:
    assert REQUESTED.changed(None, None, None, None) == REQUESTED
    assert REQUESTED.changed(None, None, None, "9 epochs").until == "9 epochs"
    assert REQUESTED.changed(None, 8, None, None).micro_size == 8


def test_a_new_size_ends_a_schedule_and_the_old_cut() -> None:
    new = REQUESTED.changed("32", None, None, None)
    assert (new.size, new.schedule, new.micro_size) == ("32", None, None)
    both = REQUESTED.changed("32", 4, "0:4", None)
    assert (both.size, both.schedule, both.micro_size) == ("32", "0:4", 4)
