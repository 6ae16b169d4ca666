"""`ladle launch`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ladle.cli.arguments import Processes, Unsaid
from ladle.core.errors import ArgumentError, must


@dataclass(frozen=True)
class LaunchVerb:
    """Several processes that share one run: `ladle launch -n 4 train digits`, or `ladle launch -n 4 script.py`."""

    processes: Processes = 2
    """Processes on this machine, or on each."""
    hosts: str | None = None
    """Addresses of all machines, by commas; said alike on each of them. The first is where the processes meet."""
    host: int | None = None
    """Which of the hosts this machine is, from 0; found by its address where left out."""
    port: int = 0
    """Port where they meet: a free one of loopback, or 29400 with --hosts."""
    restarts: int = 0
    """How often all are begun again after one failed, from the newest good checkpoint."""
    slurm: Path | None = None
    """Write a job for Slurm to this file instead, and say how it is submitted."""
    nodes: int = 1
    """Machines of that job."""
    time: str | None = None
    """Its time limit, such as 2:00:00."""
    sbatch: str | None = None
    """Further options of sbatch, such as "--partition=gpu --gpus-per-task=1"."""
    command: Unsaid = ()

    def run(self) -> int:
        from ladle.api.launch import Launch, launch

        hosts = tuple(one.strip() for one in self.hosts.split(",")) if self.hosts else ()
        asked = Launch(self.command, self.processes, hosts, self.host, self.port, self.restarts)
        if self.slurm is None:
            for name, given in (("nodes", self.nodes != 1), ("time", self.time), ("sbatch", self.sbatch)):
                if given:
                    why, remedy = "it is said to Slurm", "--slurm job.sbatch"
                    raise ArgumentError(must(f"--{name}", "come with --slurm", getattr(self, name), why, remedy))
            return launch(asked)
        from ladle.api.launch_slurm import sbatch_file

        more = (self.sbatch or "").split()
        print(f"submit it with: {sbatch_file(asked, self.slurm, nodes=self.nodes, time=self.time, more=more)}")
        return 0

    def begun_with(self, name: str) -> bool:
        return False


def parted(args: Sequence[str], verbs: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """The options of `ladle launch` itself, and what it is to launch: from the first verb or script on.

    >>> parted(["launch", "-n", "4", "train", "digits", "--size", "64"], ["train"])
    (['launch', '-n', '4'], ('train', 'digits', '--size', '64'))
    """
    for place, word in enumerate(args[1:], start=1):
        if word in verbs or word.endswith(".py"):
            return list(args[:place]), tuple(args[place:])
    return list(args), ()
