"""`ladle serve`."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass

from ladle.api.serve import BODY_MB, P99_MS, serve, service
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
        made = service(
            self.folder,
            p99_ms=self.p99_ms,
            batch=self.batch,
            newest=self.newest,
            body_mb=self.body_mb,
            fast=self.fast,
            model=self.model,
        )
        told = {"model": made.served.name, **asdict(made.plan)}
        if self.plan:
            print_json(told) if self.json else print(made.plan.explain())
            return 0
        if not self.json:
            print(made.plan.explain())

        def opened(port: int) -> None:
            host = f"[{self.host}]" if ":" in self.host else self.host
            address = f"http://{host}:{port}"
            if self.json:
                print_json({**told, "address": address})
            else:
                print(f"serving   {address}/predict and {address}/v2/models/{made.served.name}/infer; ctrl-C stops")
            sys.stdout.flush()

        serve(made, host=self.host, port=self.port, opened=opened)
        if not self.json:
            print("stopped: all that was accepted is answered")
        return 0
