"""Trials on a Ray cluster: one actor a worker, which keeps the function and all that it compiled.

This is Ray's core, not Ray Tune: what is tried, and what is chosen, is ladle's own affair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ladle.core.errors import ArgumentError, RunError, must
from ladle.search.threads import cores


@dataclass
class Ray:
    """An `Executor` of `count` Ray actors (the cores of this process, where left out).

    - `options`: of each actor, such as `{"num_cpus": 2, "num_gpus": 1}`.

    A cluster that is connected is used; else Ray starts one on this machine. An actor that died is started again.
    Raises `ArgumentError` where Ray is missing.

    Source: docs.ray.io, "Actors", `ray.util.ActorPool`, "Fault tolerance".
    """

    count: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    _actors: list[Any] = field(default_factory=list, init=False, repr=False)
    _function: Any = field(default=None, init=False, repr=False)
    _sent: Any = field(default=None, init=False, repr=False)

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        ray = _ray()
        if function is not self._function:
            self.close()
            self._sent = ray.put(function)  # Held, for an actor that is started again asks for it once more.
            make = ray.remote(_Worker).options(**{"max_restarts": -1, **self.options})
            self._actors, self._function = [make.remote(self._sent) for _ in range(self.count or cores())], function
        pool, todo = ray.util.ActorPool(self._actors), list(items)
        for item in todo:
            pool.submit(lambda actor, item: actor.run.remote(item), item)
        for item in todo:
            try:
                answer = pool.get_next()
            except ray.exceptions.RayActorError as error:
                why, remedy = " ".join(str(error).split())[:200], "workers='threads', or more memory for each"
                answer = RunError(must("trial", "end by itself", str(item), why, remedy))
            yield answer

    def close(self) -> None:
        """End the actors."""
        for actor in self._actors:
            _ray().kill(actor)
        self._actors, self._function, self._sent = [], None, None


class _Worker:
    """The actor."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def run(self, item: Any) -> Any:
        return self.function(item)


def _ray() -> Any:
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.util  # pyright: ignore[reportMissingImports]
    except ImportError:
        why, remedy = "trials are sent to its actors", "pip install 'ladle[ray]', or workers='processes'"
        raise ArgumentError(must("workers", "be installed", "ray", why, remedy)) from None
    return ray
