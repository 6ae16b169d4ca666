"""Runs other libraries' tests of their loaders against `Loader`, and says what came of each suite.

    python benchmarks/peers/loader_suites.py FOLDER [suite ...] [--again PATTERN] [--seconds 120]

`FOLDER` holds checkouts named as in `SUITES` (nothing of them is kept here); Grain's tests come with its package. Each
suite runs in a process of its own, each test has its seconds, and what ran is kept in `FOLDER/loader_suites.jsonl`: a
run that was cut off goes on with the tests that are left. `--again PATTERN` runs those anew whose name it matches (all
of them: `.`). The table, and every test that did not pass with its reason, goes to
`benchmarks/results/loader_suites.json`.

Verdicts, for tests that make a loader: passed; refused, with a sentence of ladle's, or otherwise by design, where
`loader_judged.py` names the test and says why; artefact: of a test that looks into the library's own inside; failed: a
fault, a test that nobody has judged, or one that failed otherwise than it was judged.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from loader_judged import judgement

RESULT = Path(__file__).parents[1] / "results" / "loader_suites.json"
VERDICTS = ("passed", "refused", "by design", "artefact", "failed")
GRAIN = (
    "dataset.dataset",
    "dataset.elastic_iterator",
    "data_loader",
    "dataset.sources.parquet_dataset",
    *(
        f"dataset.transformations.{name}"
        for name in ("cache", "interleave", "limit", "map", "packing_concat_then_split", "rebatch", "repeat", "zip")
    ),
)
LIGHTNING = (
    "utilities/test_data",
    "utilities/test_combined_loader",
    "loops/test_fetchers",
    "loops/test_loops",
    "loops/test_evaluation_loop",
    "loops/test_prediction_loop",
    "trainer/flags/test_overfit_batches",
    "trainer/test_dataloaders",
    "trainer/connectors/test_data_connector",
    "tuner/test_scale_batch_size",
)
TORCHDATA = "data/test/stateful_dataloader"
SUITES = {  # name: folder to run in, what is run, further places of modules.
    "torchdata, state": (TORCHDATA, ["test_state_dict.py", "test_sampler.py", "test_hugging_face.py"], ["data"]),
    "torchdata, its DataLoader": (TORCHDATA, ["test_dataloader.py"], ["data"]),
    "Grain, checkpoints": (".", ["--pyargs", *(f"grain._src.python.{name}_test" for name in GRAIN)], []),
    "Accelerate": ("accelerate/tests", ["test_data_loader.py"], []),
    "Lightning": (
        "pytorch-lightning/tests",
        [f"tests_pytorch/{name}.py" for name in LIGHTNING],
        ["pytorch-lightning/tests"],
    ),
}
STARTING = 120
"""Seconds until a suite's first test."""
OPTIONS = ["-q", "-p", "loader_shim", "-p", "no:cacheprovider", "-W", "ignore", "-c", os.devnull, "--rootdir=."]


def run(name: str, folder: Path, log: Path, seconds: int) -> None:
    """Run the tests of a suite that have no line in `log` yet. One that neither ends nor fails is ended."""
    where, words, more = SUITES[name]
    places = [Path(__file__).parent, *(folder / one for one in ("parameterized", "expecttest", *more))]
    shim = {"LADLE_SHIM_LOG": str(log), "LADLE_SHIM_SUITE": name, "LADLE_SHIM_SECONDS": str(seconds)}
    path = os.pathsep.join([*map(str, places), os.environ.get("PYTHONPATH", "")])
    while True:
        with open(log.with_suffix(".out"), "a") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "pytest", *OPTIONS, *words],
                cwd=folder / where,
                env={**os.environ, "PYTHONPATH": path, **shim},
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
            try:
                _wait(process, log, 2 * seconds + STARTING)
            finally:
                _end(process)
        begun = unended(read(log), name)
        if begun is None and process.returncode in (0, 1, 5):  # All passed, some failed, none were left.
            return
        if begun is None:
            raise SystemExit(f"{name}: its tests could not be begun, see the end of {log.with_suffix('.out')}")
        line = {"suite": name, "test": begun, "kind": "failed", "said": "it did not end, or ended its process"}
        with open(log, "a") as file:
            file.write(json.dumps({**line, "loaders": 1}) + "\n")


def _wait(process: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
    """Until the process ends, or writes nothing for so many seconds: then it is ended, with its children."""
    begin = time.time()
    while process.poll() is None:
        time.sleep(1)
        last = max(begin, log.stat().st_mtime if log.exists() else 0.0)
        if time.time() - last > seconds:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def read(log: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in log.read_text().splitlines()] if log.exists() else []


def unended(lines: list[dict[str, Any]], name: str) -> str | None:
    """The test of a suite that began last, if nothing was heard of it after."""
    last = [line for line in lines if line["suite"] == name][-1:]
    return last[0]["test"] if last and last[0]["kind"] in ("begun", "made") else None


def worst(lines: list[dict[str, Any]], name: str) -> dict[str, dict[str, Any]]:
    """By test of a suite: that of its subtests which went worst, if any of them made a loader."""
    rank = ["begun", "made", "skipped", "passed", "refused", "failed"]
    found: dict[str, dict[str, Any]] = {}
    made: Counter[str] = Counter()
    for line in lines:
        if line["suite"] == name:
            made[line["test"]] += line["loaders"]
            before = found.get(line["test"])
            if before is None or rank.index(line["kind"]) > rank.index(before["kind"]):
                found[line["test"]] = line
    return {test: line for test, line in found.items() if made[test] and rank.index(line["kind"]) > 2}


def verdicts(lines: list[dict[str, Any]], name: str) -> dict[str, tuple[str, str]]:
    """What each test of a suite came to, and why."""
    found = {}
    for test, line in worst(lines, name).items():
        judged, refused = judgement(test), line["kind"] == "refused"
        if line["kind"] == "passed":
            found[test] = "passed", ""
        elif judged is None or {"refused": True, "by design": False}.get(judged[0], refused) is not refused:
            found[test] = "failed", f"not judged so: {line['said']}"
        else:
            found[test] = judged
    return found


def told(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The table, and what did not pass, by suite and reason."""
    table, rest = {}, {}
    for name in SUITES:
        came = verdicts(lines, name)
        count = Counter(verdict for verdict, _ in came.values())
        table[name] = {"run": len(came), **{verdict: count[verdict] for verdict in VERDICTS}}
        reasons: dict[str, list[str]] = {}
        for test, (verdict, why) in came.items():
            if verdict != "passed":
                reasons.setdefault(f"{verdict}: {why}", []).append(re.sub(r"^.*?::", "", test))
        rest[name] = {why: sorted(tests) for why, tests in sorted(reasons.items())}
    table["together"] = {word: sum(row[word] for row in table.values()) for word in ("run", *VERDICTS)}
    names = ("torch", "grain", "accelerate", "lightning", "numpy")
    where = {"python": platform.python_version(), **{name: version(name) for name in names}}
    return {"environment": where, "table": table, "not passed": rest}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("suites", nargs="*", metavar="suite")
    parser.add_argument("--again", metavar="PATTERN")
    parser.add_argument("--seconds", type=int, default=120)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # What was begun ends with this program.
    for name in asked.suites:
        if name not in SUITES:
            parser.error(f"there is no suite {name!r}; suites: {'; '.join(SUITES)}")
    folder = asked.folder.resolve()
    log = folder / "loader_suites.jsonl"
    if asked.again and log.exists():
        kept = [
            line
            for line in read(log)
            if not (re.search(asked.again, line["test"]) and line["suite"] in (asked.suites or SUITES))
        ]
        log.write_text("".join(json.dumps(line) + "\n" for line in kept))
    print(f"| tests of | run | {' | '.join(VERDICTS)} |\n|---|{'---|' * 6}")
    for name in asked.suites or SUITES:
        run(name, folder, log, asked.seconds)
        found = told(read(log))
        print(f"| {name} | {' | '.join(map(str, found['table'][name].values()))} |", flush=True)
        for test, (verdict, why) in verdicts(read(log), name).items():
            if verdict == "failed":
                print(f"    {test}: {why[:300]}", file=sys.stderr)
        RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print(f"| together | {' | '.join(map(str, told(read(log))['table']['together'].values()))} |")


if __name__ == "__main__":
    main()
