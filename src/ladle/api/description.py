"""`describe`: what `run.json` says of a run. A function of its session; nothing is kept elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from ladle.api.session import Session
from ladle.core.protocols import Policy


def describe(
    session: Session, status: str, facts: Mapping[str, Any], ending: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """run.json as JSON data. `facts`: what the caller adds. `ending`: how the sitting ended, once it has."""
    setup = session.setup
    assembly, gauge = setup.assembly, setup.assembly.engine.gauge
    return {
        "status": status,
        "seed": setup.seed,
        "size": setup.size,
        "rate_size": setup.rate_size,
        "until": setup.until,
        "window": setup.window,
        "policy": named(setup.policy),
        "rebase": setup.rebase is not None,
        "warnings": setup.warnings,
        "gauge": None if gauge is None else asdict(gauge),
        "refused": session.refused,
        "optimizer": {"name": assembly.optimizer.name, **setup.constants},
        "plan": setup.plan.to_json() if setup.plan is not None else None,
        "best": None if session.best is None else asdict(session.best),
        "restore": setup.restore,
        **({"processes": setup.world.size} if setup.world.size > 1 else {}),
        **assembly.facts(),
        **(ending or {}),
        **facts,
    }


def named(policy: Policy) -> dict[str, Any]:
    """A policy as the record tells of it: its kind and all its numbers."""
    values = asdict(policy) if is_dataclass(policy) else {}
    return {"kind": type(policy).__name__, **values}
