"""Runs other libraries' tests of their loaders against `Loader`, and prints a table of what came of each suite.

    python benchmarks/peers/loader_suites.py FOLDER [suite ...]

`FOLDER` holds checkouts named as in `SUITES` (nothing of them is kept here), at the releases that are installed; the
tests want the packages `parameterized` and `expecttest`. Verdicts: passed; refused (with a sentence of ladle's); by
design (why: `JUDGED`; what a user may miss is told in `docs/loader.md`); artefact (of a test that looks into the
library's own inside); failed: a fault. Tests that make no loader are left out.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

SUITES = {  # name: folder to run in, files, further places of modules.
    "torchdata, state": ("data/test/stateful_dataloader", ["test_state_dict.py", "test_sampler.py"], ["data"]),
    "torchdata, its DataLoader": ("data/test/stateful_dataloader", ["test_dataloader.py"], ["data"]),
    "Grain, checkpoints": ("grain_tests", ["."], []),
    "Accelerate": ("accelerate/tests", ["test_data_loader.py"], []),
    "Lightning": (
        "pytorch-lightning/tests",
        [
            f"tests_pytorch/{name}.py"
            for name in (
                "utilities/test_data",
                "loops/test_fetchers",
                "trainer/test_dataloaders",
                "trainer/connectors/test_data_connector",
                "tuner/test_scale_batch_size",
            )
        ],
        ["pytorch-lightning/tests"],
    ),
}
JUDGED = [  # verdict, what its test or message matches, why.
    ("by design", r"_snapshot|dataset_state|_iterator_finished", "a state has a form of its own"),
    ("by design", r"num_workers_mismatch", "a state resumes with another number of workers"),
    ("by design", r"combined_loader", "a Loader has a state, which Lightning keeps"),
    ("by design", r"test_init_error", "a pass begins, and its workers with it, when its first batch is asked for"),
    ("by design", r"test_seed_replicability|test_reproducibility|different seed", "the order is drawn from `seed`"),
    ("by design", r"ind_worker_queue|test_in_order_", "which worker reads a batch is not fixed, only their order"),
    ("by design", r"test_growing_dataset", "an order is over as many examples as there were"),
    ("by design", r"test_invalid_assign_after_init", "the batch size may change between two batches"),
    ("by design", r"thread_creation_warning|few_workers", "nothing is said about how many processors there are"),
    ("by design", r"subclass `torch.utils.data.DataLoader`|_dataloader_shuffled", "a library makes no second loader"),
    ("artefact", r"RecursionError", "a mock as a dataset"),
    ("by design", r"no_drop_last", "Lightning puts in no sampler of its own"),
    (
        "artefact",
        r"_auto_collation|'_workers'|get_worker_info|not subscriptable|_index_sampler|_get_shared_seed",
        "inside",
    ),
]


def judged(line: dict[str, str]) -> tuple[str, str]:
    """What a test came to, and why."""
    if line["kind"] != "failed":
        return line["kind"], line["said"]
    for verdict, pattern, why in JUDGED:
        if re.search(pattern, line["test"] + " " + line["said"]):
            return verdict, why
    return "failed", line["said"]


def run(name: str, folder: Path) -> dict[str, dict[str, str]]:
    """The worst of what each test of a suite wrote."""
    where, files, more = SUITES[name]
    own = Path(__file__).parent
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "log"
        paths = [str(own), *(str(folder / one) for one in more), os.environ.get("PYTHONPATH", "")]
        words = ["-q", "-p", "loader_shim", "-p", "no:cacheprovider", "-W", "ignore", "-c", "/dev/null", "--rootdir=."]
        subprocess.run(
            [sys.executable, "-m", "pytest", *words, *files],
            cwd=folder / where,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "LADLE_SHIM_LOG": str(log)},
            stdout=subprocess.DEVNULL,
            check=False,
        )
        return worst(log.read_text().splitlines() if log.exists() else [])


def worst(lines: list[str]) -> dict[str, dict[str, str]]:
    """By test: that of its subtests which went worst, if any of them made a loader."""
    rank = ["skipped", "passed", "refused", "failed"]
    found: dict[str, dict[str, str]] = {}
    made: Counter[str] = Counter()
    for text in lines:
        line = json.loads(text)
        made[line["test"]] += line["loaders"]
        before = found.get(line["test"])
        if before is None or rank.index(line["kind"]) > rank.index(before["kind"]):
            found[line["test"]] = line
    return {test: line for test, line in found.items() if made[test] and line["kind"] != "skipped"}


def main(arguments: list[str]) -> None:
    folder, reasons = Path(arguments[0]).resolve(), Counter[tuple[str, str]]()
    print("| tests of | run | passed | refused | by design | artefact | failed |\n|---|---|---|---|---|---|---|")
    for name in arguments[1:] or SUITES:
        verdicts = {test: judged(line) for test, line in run(name, folder).items()}
        count = Counter(verdict for verdict, _ in verdicts.values())
        cells = [count[verdict] for verdict in ("passed", "refused", "by design", "artefact", "failed")]
        print(f"| {name} | {' | '.join(map(str, [len(verdicts), *cells]))} |", flush=True)
        for test, (verdict, why) in verdicts.items():
            if verdict != "passed":
                reasons[verdict, re.split("; got|\n", why)[0]] += 1
            if verdict == "failed":
                print(f"    {test}: {why[:200]}", file=sys.stderr)
    for (verdict, why), count in reasons.most_common():
        print(f"{count:4} {verdict}: {why}")


if __name__ == "__main__":
    main(sys.argv[1:])
