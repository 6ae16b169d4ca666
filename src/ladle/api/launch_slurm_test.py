"""A job of Slurm from the file to the run: daemons of one machine, begun and ended here, from Debian's packages."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.servers import free_port

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch")

CONFIG = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
"""


@pytest.fixture
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a cluster of one machine."""
    folder = tmp_path_factory.mktemp("slurm")
    folder.parent.chmod(0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key, config = folder / "key", folder / "slurm.conf"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    host, cores = socket.gethostname(), os.cpu_count()
    config.write_text(CONFIG.format(host=host, folder=folder, cores=cores, ports=(free_port(), free_port())))
    named = ("key", "socket", "pid", "log", "seed")
    words = [f"--{name}{'' if name == 'socket' else '-file'}={folder / name}" for name in named]
    environment = {**os.environ, "SLURM_CONF": str(config)}
    try:
        subprocess.run(["munged", "--force", *words], check=True)
        for daemon in ("slurmctld", "slurmd"):
            subprocess.run([daemon, "-f", str(config)], env=environment, check=True)
        yield environment
        asked: dict[str, Any] = {"env": environment, "capture_output": True}
        until = time.monotonic() + 60
        while subprocess.run(["squeue", "-h"], **asked).stdout and time.monotonic() < until:
            time.sleep(0.5)
    finally:
        for name in ("slurmd.pid", "slurmctld.pid", "pid"):
            place = folder / name
            if place.exists():
                os.kill(int(place.read_text()), signal.SIGTERM)


@pytest.mark.long
@pytest.mark.skipif(
    os.getuid() != 0 or any(shutil.which(name) is None for name in DAEMONS),
    reason="needs root, and: apt install slurmctld slurmd slurm-client munge",
)
def test_a_job_of_slurm_is_a_run_of_two_processes(slurm: dict[str, str], tmp_path: Path):
    environment = {**slurm, "PYTHONPATH": str(Path(__file__).parents[2]), "LADLE_CACHE": "off"}
    words = ["launch", "-n", "2", "--restarts", "1", "--slurm", "job", "train", "digits", "--until", "1 epochs"]
    how: dict = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    said = subprocess.run([sys.executable, "-m", "ladle.cli", *words, "--size", "64", "--out", "run"], **how)
    assert said.stdout == "submit it with: sbatch job\n", said.stderr
    until = time.monotonic() + 60
    while subprocess.run(["sbatch", "job"], **how).returncode and time.monotonic() < until:
        time.sleep(1)  # The daemons have only begun.
    facts, until = {"status": "none"}, time.monotonic() + 400
    while facts["status"] in ("none", "running") and time.monotonic() < until:
        time.sleep(1)
        if (tmp_path / "run" / "run.json").exists():
            facts = json.loads((tmp_path / "run" / "run.json").read_text())
    wrote = [path.read_text() for path in tmp_path.glob("slurm-*.out")]
    assert (facts["status"], facts.get("processes")) == ("finished", 2), wrote
