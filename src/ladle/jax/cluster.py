"""`found`: which process of a run this is, of how many, and where they meet: told by whoever began it.

    RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT      `ladle launch`, torchrun, and whatever sets these
    OpenMPI, Slurm, Kubernetes, Cloud TPU           JAX's own detection

The first process keeps the place where all meet. It listens at the address that was given and at no other one.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ladle.core.errors import ArgumentError, must

HINTS = ("OMPI_MCA_orte_hnp_uri", "SLURM_STEP_NODELIST", "JOB_COMPLETION_INDEX", "TPU_WORKER_HOSTNAMES")
"""Without any of these JAX's detection is not asked: it would look at networks, and warn."""

EVERYWHERE = "0.0.0.0"


@dataclass(frozen=True)
class Place:
    """`rank` of `size` processes, which meet at `host`:`port`; the first one listens at `bind`.

    - `local_rank` of `on_host` processes of this machine, where that is known.
    - `by`: who said so.
    """

    rank: int
    size: int
    host: str
    port: int
    bind: str
    local_rank: int | None = None
    on_host: int | None = None
    by: str = "WORLD_SIZE"

    @property
    def address(self) -> str:
        return f"{_bracketed(self.host)}:{self.port}"

    @property
    def bind_address(self) -> str:
        return f"{_bracketed(self.bind)}:{self.port}"


def found(variables: Mapping[str, str] = os.environ) -> Place | None:
    """Where this process stands; None where it is the only one. Raises `ArgumentError` for what is there in part."""
    if "WORLD_SIZE" in variables:
        return _told(variables) if _number(variables, "WORLD_SIZE") > 1 else None
    return _detected(variables) if any(name in variables for name in HINTS) else None


def _told(variables: Mapping[str, str]) -> Place:
    size, rank, port = (_number(variables, name) for name in ("WORLD_SIZE", "RANK", "MASTER_PORT"))
    if not 0 <= rank < size:
        why, remedy = "ranks are numbered from 0", f"RANK=0 ... RANK={size - 1}"
        raise ArgumentError(must("RANK", f"be below WORLD_SIZE={size}", rank, why, remedy))
    host = variables.get("MASTER_ADDR", "")
    if not host:
        raise _lacking("MASTER_ADDR", None)
    if variables.get("TORCHELASTIC_USE_AGENT_STORE") == "True":  # torchrun itself listens at the port that it tells.
        port += 1 + int(variables.get("TORCHELASTIC_RESTART_COUNT", "0"))
    local, on_host = (
        int(variables[name]) if name in variables else None for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE")
    )
    return Place(rank, size, host, port, host, local, on_host)


def _detected(variables: Mapping[str, str]) -> Place | None:
    """What JAX makes of the variables of its clusters."""
    from jax._src.clusters import ClusterEnv

    for kind in ClusterEnv._cluster_types:
        if kind.opt_in_only_method or not kind.is_env_present():
            continue
        size = kind.get_process_count()
        if size < 2:
            return None
        host, _, port = kind.get_coordinator_address(None, variables.get("LADLE_PORT")).rpartition(":")
        on_host = _on_host(variables, kind.name)
        bind = "127.0.0.1" if on_host == size else _own(host.strip("[]"))
        host = "127.0.0.1" if on_host == size else host.strip("[]")
        return Place(
            kind.get_process_id(), size, host, int(port), bind, kind.get_local_process_id(), on_host, kind.name
        )
    return None


def _on_host(variables: Mapping[str, str], kind: str) -> int | None:
    """How many of the processes are on this machine."""
    if kind == "ompi":
        return int(variables.get("OMPI_COMM_WORLD_LOCAL_SIZE", 0)) or None
    each = variables.get("SLURM_STEP_TASKS_PER_NODE", "") if kind == "slurm" else ""
    return int(each) if each.isdigit() and variables.get("SLURM_STEP_NUM_NODES") == "1" else None


def _own(host: str) -> str:
    """`host` to listen at; all addresses where its name means loopback here, as in many /etc/hosts: others see none."""
    try:
        address = socket.getaddrinfo(host, None)[0][4][0]
    except OSError:
        return host
    return EVERYWHERE if str(address).startswith("127.") else host


def _number(variables: Mapping[str, str], name: str) -> int:
    text = variables.get(name)
    if text is None or not text.isdigit():
        raise _lacking(name, text)
    return int(text)


def _lacking(name: str, got: Any) -> ArgumentError:
    why = "WORLD_SIZE says that there are several processes, which have to find each other"
    return ArgumentError(must(name, "be set beside WORLD_SIZE", got, why, "ladle launch -n 2 ..., or torchrun"))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
