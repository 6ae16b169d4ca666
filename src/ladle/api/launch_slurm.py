"""`sbatch_file`: a launch as a job of Slurm, to be submitted by `sbatch`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from ladle.api.launch import FINAL, RESTART, Launch, onward, placed, words_of
from ladle.core import record
from ladle.core.errors import ArgumentError, must
from ladle.core.spec import require_count

MINUTES = 2
"""Before its time is over the job is told, so that a checkpoint is written."""


def sbatch_file(asked: Launch, path: Path, *, nodes: int = 1, time: str | None = None, more: Sequence[str] = ()) -> str:
    """Write `path`, a job of `nodes` machines with `asked.processes` processes each; returns how it is submitted.

    - `time`: as Slurm has it, "2:00:00". `more`: further options of `sbatch`, such as "--partition=gpu".

    Raises `ArgumentError` where `path` exists, and for `hosts` or a `port`, which Slurm chooses.
    """
    if path.exists():
        raise ArgumentError(must("slurm", "be a new file", str(path), "it would be lost", "another name"))
    require_count("nodes", nodes)
    if asked.hosts:
        why, remedy = "Slurm chooses the machines", "nodes=2"
        raise ArgumentError(must("hosts", "be left out with slurm", ",".join(asked.hosts), why, remedy))
    if asked.port:
        why, remedy = "jobs of one machine would meet at the same one", "LADLE_PORT=29400 where it has to be"
        raise ArgumentError(must("port", "be left out with slurm", asked.port, why, remedy))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_text(asked, nodes, time, more), encoding="utf-8")
    return f"sbatch {shlex.quote(str(path))}"


def _text(asked: Launch, nodes: int, time: str | None, more: Sequence[str]) -> str:
    options = [
        "--job-name=ladle",
        f"--nodes={nodes}",
        f"--ntasks-per-node={asked.processes}",
        f"--signal=TERM@{60 * MINUTES}",
        "--open-mode=append",
        *([f"--time={time}"] if time else []),
        *more,
    ]
    run = placed(asked.command)
    step = f"srun --kill-on-bad-exit=1 {shlex.join(words_of(run))}"
    quiet = "export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2}"
    lines = ["#!/bin/bash", *(f"#SBATCH {option}" for option in options), "", quiet]
    if not asked.restarts:
        return "\n".join([*lines, f"exec {step}", ""])
    folder, again = onward(run) or (None, run)
    begun = "1 = 0" if folder is None else f"-f {shlex.quote(f'{folder}/{record.RUN_FILE}')}"
    ended = "|".join(map(str, FINAL))
    return "\n".join(
        [
            *lines,
            f"for {RESTART} in $(seq 0 {asked.restarts}); do",
            f"  export {RESTART}",
            f"  if [ ${RESTART} -gt 0 ] && [ {begun} ]; then",
            f"    srun --kill-on-bad-exit=1 {shlex.join(words_of(again))}",
            "  else",
            f"    {step}",
            "  fi",
            "  code=$?",
            f"  case $code in {ended}) exit $code ;; esac",
            "done",
            "exit $code",
            "",
        ]
    )
