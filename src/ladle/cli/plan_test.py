from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ladle.api import plan as plan_file
from ladle.cli.main import run
from ladle.core.scaling.devices import Link
from ladle.planner.choose import choose
from ladle.planner.devices import MeasuredLink, forecast_devices, with_devices
from ladle.planner.fakes_test import FakeProbe


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--devices 1,3 --size 64 --link 1GB/s", "devices must divide the batch size 64; got 3; .*try --devices 1,2,4"),
        ("--devices 1,2", "link must be given; .*try --link 25GB/s,5us"),
        ("--devices 1,x", "devices must be whole numbers, joined by commas or spaces; got '1,x'"),
        ("--devices 1,0 --link 1GB/s", "devices must be at least 1; got 0"),
        ("--devices 1,9999 --link 1GB/s", "devices must be at most the 1,438 rows; got 9999"),
        ("--devices 1,2 --link slow", "link must be a bandwidth and a delay; got 'slow'; .*try --link 25GB/s,5us"),
        ("--link 1GB/s", "link must be left out without devices; .*try --devices 1,2,4,8"),
        ("--size 64", "size must be left out without devices"),
        (
            "--devices 2 --link 1GB/s --minimize energy",
            "devices must be left out with other goals than time; got 'energy'",
        ),
    ],
)
def test_a_question_about_devices_without_an_answer_is_one_line(
    options: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(["plan", "digits", "--model", "linear", "--out", str(tmp_path / "plan"), *options.split()]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and printed.out == "" and not (tmp_path / "plan").exists()
    assert re.search(said, printed.err)


def test_what_devices_bring_is_printed_drawn_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    made = choose(FakeProbe(), rows=2**20, pilot_seconds=1.0)
    link = MeasuredLink(Link(5e-6, 1 / 25e9), "given", "given")
    told = with_devices(made, forecast_devices(made, [1, 2, 4], link.link, 10**6, rows=2**20), link, 10**6)
    asked: dict[str, Any] = {}

    def fake(task: Any, **options: Any) -> Any:
        asked.update(options)
        return told

    monkeypatch.setattr(plan_file, "plan", fake)
    folder = tmp_path / "plan"
    command = [
        "plan",
        "digits",
        "--model",
        "linear",
        "--out",
        str(folder),
        "--devices",
        "1,2,4",
        "--link",
        "25GB/s,5us",
    ]
    assert run([*command, "--size", "64", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [entry["devices"] for entry in printed["devices"]] == [1, 2, 4]
    assert (asked["devices"], asked["link"], asked["size"]) == ([1, 2, 4], "25GB/s,5us", 64)
    assert (folder / "devices.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "plan.json").read_text())["curves"]["devices"] == printed["devices"]
