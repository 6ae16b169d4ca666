"""`sbatch_file`: a launch as a job of Slurm, to be submitted by `sbatch`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from ladle.api.launch import FINAL, RESTART, Launch, words_of
from ladle.core import record
from ladle.core.errors import ArgumentError, must

MINUTES = 2
"""Before its time is over the job is told, so that a checkpoint is written."""


def sbatch_file(asked: Launch, path: Path, *, nodes: int = 1, time: str | None = None, more: Sequence[str] = ()) -> str:
    """Write `path`, a job of `nodes` machines with `asked.processes` processes each; returns how it is submitted.

    - `time`: as Slurm has it, "2:00:00". `more`: further options of `sbatch`, such as "--partition=gpu".

    Raises `ArgumentError` where `path` exists, or its run has no folder that every machine can see.
    """
    if path.exists():
        raise ArgumentError(must("slurm", "be a new file", str(path), "it would be lost", "another name"))
    if asked.hosts:
        why, remedy = "Slurm chooses the machines", "nodes=2"
        raise ArgumentError(must("hosts", "be left out with slurm", ",".join(asked.hosts), why, remedy))
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
    run, again = _runs(asked.command)
    step = f"srun --kill-on-bad-exit=1 {shlex.join(words_of(run))}"
    quiet = "export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2}"
    lines = ["#!/bin/bash", *(f"#SBATCH {option}" for option in options), "", quiet]
    if not asked.restarts:
        return "\n".join([*lines, f"exec {step}", ""])
    onward = f"srun --kill-on-bad-exit=1 {shlex.join(words_of(again))}"
    begun = f"-f {shlex.quote(f'{_folder(run)}/{record.RUN_FILE}')}" if _folder(run) else "1 = 0"
    ended = "|".join(map(str, FINAL))
    return "\n".join(
        [
            *lines,
            f"for {RESTART} in $(seq 0 {asked.restarts}); do",
            f"  export {RESTART}",
            f"  if [ ${RESTART} -gt 0 ] && [ {begun} ]; then",
            f"    {onward}",
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


def _folder(command: Sequence[str]) -> str:
    return command[command.index("--out") + 1] if "--out" in command else ""


def _runs(command: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The command with its folder named, and the one that goes on with the run."""
    if command[0] != "train" or "--resume" in command:
        return command, command
    if "--out" not in command:
        data = next((word for word in command[1:] if not word.startswith("-")), "run")
        command = (*command, "--out", str(record.free_folder("train", data)))
    return command, ("train", "--resume", _folder(command))
