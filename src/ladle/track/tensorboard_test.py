"""Event files, read back frame by frame, and by TensorBoard itself."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ladle.track.fakes_test import code

pytest.importorskip("tensorboardX")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def events(folder: Path) -> Iterator[Any]:
    from tensorboardX.proto.event_pb2 import Event  # type: ignore[attr-defined]

    for path in sorted(folder.iterdir()):
        data, place = path.read_bytes(), 0
        while place < len(data):
            (length,) = struct.unpack_from("<Q", data, place)  # Length and its check, the event and its check.
            yield Event.FromString(data[place + 12 : place + 12 + length])
            place += length + 16


def written(folder: Path, fresh_python: Callable[..., str], onward: Any = None) -> Path:
    return Path(fresh_python(code(f"track.TensorBoard({str(folder)!r})", folder, onward)).strip())


def test_numbers_texts_and_pictures_are_in_the_file(tmp_path: Path, fresh_python: Callable[..., str]) -> None:
    found: dict[str, list[Any]] = {}
    for event in events(written(tmp_path, fresh_python)):
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value))
    assert [(step, value.simple_value) for step, value in found["valid_loss"]] == [(0, 2.0), (10, 1.0), (20, 0.5)]
    assert [(step, value.simple_value) for step, value in found["examples"]] == [(0, 0), (10, 80), (20, 240)]
    (step, decision), (_, message) = found["decision/text_summary"][0], found["message/text_summary"][0]
    assert (step, list(decision.tensor.string_val)) == (20, [b"batch size 8 -> 16"])
    assert list(message.tensor.string_val) == [b"a word before"]
    assert b"| optimizer.lr | 0.1 |" in found["run/text_summary"][0][1].tensor.string_val[0]
    assert found["answers"][0][1].image.encoded_image_string[:4] == b"\x89PNG"
    assert (found["curves"][0][1].image.width, found["best/valid_loss"][0][1].simple_value) == (1, 0.5)
    assert b"patience 1" in found["ended/text_summary"][0][1].tensor.string_val[0]
    hyper = found["_hparams_/session_start_info"][0][1].metadata.plugin_data.content
    assert b"optimizer.lr" in hyper and b"plan.rungs" in hyper


@pytest.mark.slow  # TensorBoard's own reader takes seconds to load
def test_tensorboard_reads_it_and_a_later_sitting_takes_the_place_of_what_it_does_again(
    tmp_path: Path, fresh_python: Callable[..., str]
) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = written(tmp_path, fresh_python)
    assert written(tmp_path, fresh_python, {"identity": str(folder), "updates": 10}) == folder
    read = accumulator.EventAccumulator(str(folder))
    read.Reload()
    assert read.Scalars("train_loss")[0].value == 1.5
    assert [one.value for one in read.Scalars("valid_loss") if one.step == 20] == [0.5], "once, not twice"
    assert read.Tags()["images"] == ["curves", "answers"]
    assert read.Images("answers")[0].encoded_image_string == (tmp_path / "answers.png").read_bytes()
