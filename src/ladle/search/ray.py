"""Trials on a Ray cluster: one actor a worker, which keeps the function and all that it compiled.

This is Ray's core, not Ray Tune: what is tried, and what is chosen, is ladle's own affair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ladle.core.errors import ArgumentError, must
from ladle.search.crew import Asked, Kept, died
from ladle.search.threads import cores


@dataclass
class Ray(Kept):
    """An `Executor` of `count` Ray actors (the cores of this process, where left out).

    - `options`: of each actor, such as `{"num_cpus": 2, "num_gpus": 1}`.

    A cluster that is connected is used; else Ray starts one on this machine. An actor that died is begun again before
    the next item: Ray's own restarts are left off, for an actor on its way back loses what it is asked meanwhile.
    Raises `ArgumentError` where Ray is missing.

    Source: docs.ray.io, "Actors", "Fault tolerance".
    """

    count: int | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def begun(self, sent: bytes) -> list[_Actor]:
        ray = connected()
        make = ray.remote(_Worker).options(**self.options)
        begin = ray.put(sent)  # Once for all actors; held here, for those that are begun again.
        return [_Actor(lambda: make.remote(begin)) for _ in range(self.count or cores())]


class _Actor:
    """One actor, asked by one thread."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make
        self.actor: Any = make()

    def __call__(self, item: Any) -> Any:
        ray = library()
        if self.actor is None:
            self.actor = self.make()
        try:
            good, answer = ray.get(self.actor.run.remote(item))
        except ray.exceptions.RayActorError as error:
            self.close()
            return died(item, " ".join(str(error).split())[:200])
        if not good:
            raise answer
        return answer

    def close(self) -> None:
        actor, self.actor = self.actor, None
        if actor is not None:
            library().kill(actor)


class _Worker:
    """The actor."""

    def __init__(self, sent: bytes) -> None:
        self.asked = Asked(sent)

    def run(self, item: Any) -> Any:
        return self.asked(item)


def library(asked: str = "workers") -> Any:
    """Ray. Raises `ArgumentError` where it is missing; `asked`: what was asked for by its name."""
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.util  # pyright: ignore[reportMissingImports]
    except ImportError:
        other = "workers='processes'" if asked == "workers" else "ladle launch without it"
        why, remedy = "what is to be done is sent to its actors", f"pip install 'ladle[ray]', or {other}"
        raise ArgumentError(must(asked, "be installed", "ray", why, remedy)) from None
    return ray


def connected(asked: str = "workers") -> Any:
    """Ray, connected: to the cluster that `RAY_ADDRESS` names or this machine has, else to one begun here."""
    ray = library(asked)
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False)  # The dashboard listens, and nobody here looks.
    return ray


def own_address() -> str:
    """The address of the node that this actor is on."""
    return library().util.get_node_ip_address()
