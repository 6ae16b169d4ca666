"""An MLflow store in a SQLite file, read back by MLflow's client."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ladle.track.fakes_test import code
from ladle.track.mlflow import _key

pytest.importorskip("mlflow")

READ = """
import json
from mlflow import MlflowClient
client = MlflowClient(tracking_uri={uri!r})
run = client.get_run({run!r})
history = {{}}
for name in run.data.metrics:
    history[name] = [(one.step, one.value, one.timestamp) for one in client.get_metric_history({run!r}, name)]
files = sorted(one.path for one in client.list_artifacts({run!r}))
words = open(client.download_artifacts({run!r}, "decisions.md")).read()
print(json.dumps([run.info.run_name, run.info.status, run.data.params, run.data.tags, history, files, words]))
"""


@pytest.mark.slow  # a new store takes MLflow six seconds
def test_a_run_is_in_the_store_and_a_later_sitting_goes_on_with_it(
    tmp_path: Path, fresh_python: Callable[..., str]
) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracker = f"track.MLflow({uri!r})"
    identity = fresh_python(code(tracker, tmp_path)).strip().splitlines()[-1]
    again = fresh_python(code(tracker, tmp_path, {"identity": identity, "updates": 20})).strip().splitlines()[-1]
    assert again == identity
    read = fresh_python(READ.format(uri=uri, run=identity)).strip().splitlines()[-1]
    name, status, params, tags, history, files, words = json.loads(read)
    assert (name, status, tags["ladle.status"], tags["ladle.why"]) == ("run-1", "FINISHED", "stopped", "patience 1")
    assert params == {
        "size": "8",
        "optimizer.name": "sgd",
        "optimizer.lr": "0.1",
        "plan.size": "8",
        "plan.rungs": "[8, 16]",
    }
    assert sorted(set(map(tuple, history["valid_loss"]))) == [
        (0, 2.0, 10**12),
        (10, 1.0, 10**12 + 1000),
        (20, 0.5, 10**12 + 2000),
    ]
    assert history["best/valid_loss"][0][:2] == [20, 0.5]
    assert {"answers.png", "curves.png", "decisions.md", "messages.md", "run.json"} <= set(files)
    assert words == "- update 20: batch size 8 -> 16\n"
    assert (tmp_path / "mlflow-artifacts").is_dir()


def test_names_are_in_the_signs_that_mlflow_takes() -> None:
    assert _key("noise/count loss[a,b]") == "noise/count loss_a_b_" and len(_key("x" * 300)) == 250
