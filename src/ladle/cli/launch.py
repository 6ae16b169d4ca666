"""`ladle launch`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ladle.cli.arguments import Processes, Unsaid
from ladle.core.errors import ArgumentError, must

if TYPE_CHECKING:
    from ladle.api.launch import Launch


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
    ray: bool = False
    """Begin the processes on a Ray cluster: the one that RAY_ADDRESS names or this machine has, else one of this
    machine alone."""
    cpus: float = 1.0
    """Processors that Ray keeps for each of them."""
    gpus: float = 0.0
    """Accelerators that Ray keeps for each of them."""
    command: Unsaid = ()

    def run(self) -> int:
        from ladle.api.launch import Launch, launch

        self._require_ray()
        hosts = tuple(one.strip() for one in self.hosts.split(",")) if self.hosts else ()
        asked = Launch(self.command, self.processes, hosts, self.host, self.port, self.restarts)
        if self.slurm is None:
            for name, given in (("nodes", self.nodes != 1), ("time", self.time), ("sbatch", self.sbatch)):
                if given:
                    why, remedy = "it is said to Slurm", "--slurm job.sbatch"
                    raise ArgumentError(must(f"--{name}", "come with --slurm", getattr(self, name), why, remedy))
            return self._on_ray(asked) if self.ray else launch(asked)
        from ladle.api.launch_slurm import sbatch_file

        more = (self.sbatch or "").split()
        print(f"submit it with: {sbatch_file(asked, self.slurm, nodes=self.nodes, time=self.time, more=more)}")
        return 0

    def _require_ray(self) -> None:
        if self.ray and self.slurm is not None:
            why, remedy = "either of them begins the processes", "one of the two"
            raise ArgumentError(must("--ray", "be given without --slurm", "both", why, remedy))
        for name, given in (("cpus", self.cpus != 1), ("gpus", self.gpus != 0)):
            if given and not self.ray:
                raise ArgumentError(
                    must(f"--{name}", "come with --ray", getattr(self, name), "it is said to Ray", "--ray")
                )
            if getattr(self, name) < 0:
                why, remedy = "so much is kept for each process", f"--{name} 1"
                raise ArgumentError(must(f"--{name}", "be 0 or more", getattr(self, name), why, remedy))

    def _on_ray(self, asked: Launch) -> int:
        from ladle.api.launch_ray import launch_on_ray

        each = {"num_cpus": self.cpus, "num_gpus": self.gpus}
        return launch_on_ray(asked, {name: value for name, value in each.items() if value})

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
