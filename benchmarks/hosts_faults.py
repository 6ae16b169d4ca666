"""Two processes of one run, and one fault: how long until all have ended, and whether the run goes on as it was.

    python benchmarks/hosts_faults.py [--quick] [--only raise SIGKILL ...]    all but the network's where none is named;
                                                                              `disk` mounts a small one: needs root
    python benchmarks/hosts_faults.py --only delay cut                        in two network namespaces: needs root

Each trial is `ladle launch -n 2 --restarts 1 script.py`. In the first attempt one process does what the fault says, and
it is asserted that it did. Counted are trials in which all had ended within `BOUND` seconds of it, and in which the run
went on from a checkpoint to the very weights of a run that nothing befell.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from timing import arguments, headline, save, table

BOUND = 30.0
TRIALS = 5
FAULTS = ("raise", "SIGKILL", "SIGSTOP", "python", "data", "coordinator", "disk")
NETWORK = ("delay", "cut")

SCRIPT = """
import hashlib, json, os, signal, sys, time
from pathlib import Path
import numpy as np
import ladle
from ladle.feed import HostFeed, Permuted

place, how = Path(sys.argv[1]), sys.argv[2]
RANK, FIRST = int(os.environ.get("RANK", "0")), os.environ.get("LADLE_RESTART", "0") == "0"
BAD = 0 if how in ("coordinator", "disk") else 1
drawn = np.random.default_rng(0)
x = drawn.normal(size=(500, 6)).astype("float32")
y = (x @ drawn.normal(size=(6, 3))).argmax(1)
EPOCHS = 6
taken, windows = [0], [0]

def armed():
    return FIRST and RANK == BAD and how != "none" and how not in ("delay", "cut")

def strike():
    (place / "struck").write_text(str(time.time()))
    if how == "raise":
        raise ValueError("a row too many")
    if how in ("python", "data"):
        time.sleep(1000)
    if how == "disk":
        with open(place / "filler", "wb") as filler:
            try:
                while True:
                    filler.write(b"0" * 4096)
                    filler.flush()
            except OSError:
                return
    os.kill(os.getpid(), signal.SIGSTOP if how == "SIGSTOP" else signal.SIGKILL)

class Rows:
    def __len__(self):
        return 400
    def take(self, ids):
        taken[0] += len(ids)
        if armed() and how != "python" and taken[0] > 400 and not (place / "struck").exists():
            strike()
        if how == "cut":
            time.sleep(0.02)
            if RANK == 1 and FIRST and taken[0] > 400:
                (place / "ready").touch()
        return {"x": x[ids], "y": y[ids]}

if how == "python":
    from ladle.jax.host import HostUpdates
    called = HostUpdates.__call__
    def stuck(*given):
        windows[0] += 1
        if armed() and windows[0] > 12:
            strike()
        return called(*given)
    HostUpdates.__call__ = stuck
source = Rows()
data = ladle.data.streamed(source, valid={"x": x[400:], "y": y[400:]}, name="rows")
feed = lambda seed: HostFeed(source, Permuted(400, seed=seed))
task = ladle.Task(ladle.models.mlp(6, 16, 3), "cross_entropy", data, optimizer="adam", lr=1e-2, feed=feed)
out = place / "run"
begun = (out / "run.json").exists()
if not FIRST:
    (place / "filler").unlink(missing_ok=True)
run = ladle.fit(task, size=48, micro_size=12, until=f"{EPOCHS if how != 'cut' else 60} epochs", window=96, out=out,
                resume=begun, checkpoint_every_seconds=0)
if RANK == 0:
    import jax
    digest = hashlib.sha256(b"".join(np.asarray(one).tobytes() for one in jax.tree.leaves(run.params))).hexdigest()
    (place / "end.json").write_text(json.dumps({"digest": digest, "begun": begun, "loss": run.final["train_loss"],
                                                "lines": [one["examples"] for one in run.metrics]}))
"""


def launched(place: Path, how: str, *options: str) -> tuple[int, float, str]:
    """Exit code of a launch; when its first attempt had ended; what was said."""
    (place / "script.py").write_text(SCRIPT)
    words = [sys.executable, "-m", "ladle.cli", "launch", *options, str(place / "script.py"), str(place), how]
    variables = {**os.environ, "LADLE_STUCK_SECONDS": "20"}
    over, said = 0.0, []
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=variables) as child:
        assert child.stdout is not None
        for line in child.stdout:
            said.append(line)
            if "are begun again" in line:
                over = time.time()
    return child.returncode, over, "".join(said)


def trial(how: str, wanted: str) -> tuple[float, bool]:
    """Seconds from the fault to the end of all processes, and whether the run went on to the same weights."""
    place = Path(tempfile.mkdtemp(prefix="ladle-fault-"))
    if how == "disk":
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(place)], check=True)
    try:
        code, over, said = launched(place, how, "-n", "2", "--restarts", "1")
        struck = place / "struck"
        assert struck.exists(), f"the fault was not met\n{said}"
        if code != 0 or not over:
            print(said[-2000:], file=sys.stderr)
            return float("inf"), False
        end = json.loads((place / "end.json").read_text())
        return over - float(struck.read_text()), end["begun"] and end["digest"] == wanted
    finally:
        if how == "disk":
            subprocess.run(["umount", str(place)], check=True)
        shutil.rmtree(place, ignore_errors=True)


def unbroken() -> str:
    place = Path(tempfile.mkdtemp(prefix="ladle-fault-"))
    code, _, said = launched(place, "none", "-n", "2")
    assert code == 0, said
    digest = json.loads((place / "end.json").read_text())["digest"]
    shutil.rmtree(place)
    return digest


class Namespaces:
    """Two hosts: network namespaces joined by a pair of interfaces."""

    hosts = "10.77.0.1,10.77.0.2"

    def __enter__(self) -> Namespaces:
        self._run("ip netns add ladle0", "ip netns add ladle1")
        self._run("ip link add ladle0 netns ladle0 type veth peer name ladle1 netns ladle1")
        for at in range(2):
            inside = f"ip -n ladle{at}"
            self._run(f"{inside} addr add 10.77.0.{at + 1}/24 dev ladle{at}", f"{inside} link set ladle{at} up")
            self._run(f"{inside} link set lo up")
        return self

    def __exit__(self, *_: object) -> None:
        self._run("ip netns del ladle0", "ip netns del ladle1")

    def slow(self) -> None:
        """Delay and lose packets; by a narrow bucket that spills where the kernel has no netem."""
        for at in range(2):
            add = f"ip netns exec ladle{at} tc qdisc add dev ladle{at} root"
            if subprocess.run(f"{add} netem delay 5ms 1ms loss 0.5%".split(), stderr=subprocess.DEVNULL).returncode:
                self._run(f"{add} tbf rate 1mbit burst 16kbit limit 2500")

    def lost(self) -> int:
        """Packets that the network has dropped so far."""
        words = "ip netns exec ladle0 tc -s -j qdisc show dev ladle0".split()
        return sum(one.get("drops", 0) for one in json.loads(subprocess.run(words, capture_output=True).stdout))

    def cut(self) -> None:
        self._run("ip -n ladle1 link set ladle1 down")

    def begun(self, place: Path, how: str) -> list[subprocess.Popen[str]]:
        (place / "script.py").write_text(SCRIPT)
        launch = [sys.executable, "-m", "ladle.cli", "launch", "-n", "1", "--hosts", self.hosts]
        return [
            subprocess.Popen(
                ["ip", "netns", "exec", f"ladle{at}", *launch, str(place / "script.py"), str(place), how],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for at in range(2)
        ]

    @staticmethod
    def _run(*commands: str) -> None:
        for command in commands:
            subprocess.run(command.split(), check=True)


def network(how: str, wanted: str) -> tuple[float, bool]:
    """As `trial`, between two hosts: a slow network that loses packets changes nothing, one that is cut ends both."""
    place = Path(tempfile.mkdtemp(prefix="ladle-fault-"))
    with Namespaces() as hosts:
        if how == "delay":
            hosts.slow()
        children, began, struck = hosts.begun(place, how), time.time(), 0.0
        while how == "cut" and not (place / "ready").exists() and time.time() - began < 400:
            time.sleep(0.1)
        if how == "cut":
            struck = time.time()
            hosts.cut()
        found = [(child.communicate()[0], child.returncode) for child in children]
        over = time.time()
        lost = hosts.lost()
    if how == "cut":
        held = (place / "run" / "checkpoints").is_dir() and any(
            (place / "run" / "checkpoints").glob("0*/manifest.json")
        )
        shutil.rmtree(place)
        return over - struck, all(code for _, code in found) and held
    assert all(code == 0 for _, code in found), found
    end = json.loads((place / "end.json").read_text())
    shutil.rmtree(place)
    print(f"packets lost: {lost}", flush=True)
    return over - began, end["digest"] == wanted


def main() -> None:
    given = arguments(__doc__)
    wanted, samples = unbroken(), []
    for how in given.only or FAULTS:
        each = network if how in NETWORK else trial
        for _ in range(1 if given.quick else TRIALS):
            seconds, same = each(how, wanted)
            samples.append({"fault": how, "seconds": seconds, "same": same})
            print(samples[-1], flush=True)  # Each takes a minute or two: not to be lost with the rest.
    print(headline())
    asked = tuple(given.only or FAULTS)
    name = "hosts_faults_network" if set(asked) <= set(NETWORK) else "hosts_faults"
    quick = given.quick or asked not in (FAULTS, NETWORK)
    print(save(name, quick=quick, bound=BOUND, samples=samples))
    print(table(["fault", "n", "went on", "median s", "most s", f"within {BOUND:g} s"], rows(samples)))


def rows(samples: list[dict[str, Any]]) -> list[list[str]]:
    """A line of the table for each fault."""
    found: dict[str, list[dict[str, Any]]] = {}
    for one in samples:
        found.setdefault(one["fault"], []).append(one)
    made = []
    for how, every in found.items():
        seconds = [one["seconds"] for one in every]
        counts = [len(every), sum(one["same"] for one in every)]
        within = sum(one <= BOUND for one in seconds)
        made.append([how, *map(str, counts), f"{median(seconds):.1f}", f"{max(seconds):.1f}", str(within)])
    return made


if __name__ == "__main__":
    main()
