"""`ladle serve`."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Any

from ladle.api.serve import BODY_MB, P99_MS, Service, reserved, serve, service
from ladle.cli.arguments import ModelFolder
from ladle.cli.common import print_json


@dataclass(frozen=True)
class ServeVerb:
    """A trained model behind a port: batches what is queued, holds its p99, refuses what would come too late."""

    folder: ModelFolder
    """Folder that run.save or `ladle train` wrote."""
    p99_ms: float = P99_MS
    """Milliseconds within which 99 of 100 answers are given; beyond the capacity requests get 503 and Retry-After."""
    batch: int | None = None
    """Rows computed at once, at most; 1 for the lowest latency. The largest that hold the target where left out."""
    newest: bool = False
    """One request waits at most and a newer one takes its place, as for a camera."""
    host: str = "127.0.0.1"
    """Address to listen at. Nothing is encrypted and nobody is asked who they are: beyond loopback, use a proxy."""
    port: int = 8000
    """Port; 0 for any free one."""
    body_mb: float = BODY_MB
    """The largest body of a request, in MiB."""
    model: str | None = None
    """file.py:task, for a saved model that is not built in."""
    fast: bool = False
    """Open the port some seconds sooner: the capacity is not measured."""
    plan: bool = False
    """Say batch size, latency and capacity and open no port; also `ladle plan --serve MODEL`."""
    json: bool = False
    """JSON on standard output and nothing else: the plan, and where the port is."""

    def run(self) -> int:
        if self.plan:
            made = self._service()
            print_json(_told(made)) if self.json else print(made.plan.explain())
            return 0
        with reserved(self.host, self.port) as at:  # Before the work: an address that is taken is refused at once.
            made = self._service()
            if not self.json:
                print(made.plan.explain())
            serve(made, at, opened=lambda port: self._say(made, port))
        if not self.json:
            print("stopped: all that was accepted is answered")
        return 0

    def _service(self) -> Service:
        return service(
            self.folder,
            p99_ms=self.p99_ms,
            batch=self.batch,
            newest=self.newest,
            body_mb=self.body_mb,
            fast=self.fast,
            model=self.model,
        )

    def _say(self, made: Service, port: int) -> None:
        """Where the port is, now that it is open."""
        address = f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{port}"
        if self.json:
            print_json({**_told(made), "address": address})
        else:
            print(f"serving   {address}/predict and {address}/v2/models/{made.served.name}/infer; ctrl-C stops")
        sys.stdout.flush()


def _told(made: Service) -> dict[str, Any]:
    return {"model": made.served.name, **asdict(made.plan)}
