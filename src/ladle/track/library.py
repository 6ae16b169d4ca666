"""`require`: a tracker whose library is missing is refused when it is named, before any work."""

from __future__ import annotations

from importlib.util import find_spec

from ladle.core.errors import ArgumentError, must


def require(tracker: str, module: str) -> None:
    """Refuse `tracker` where `module`, which is what `pip` calls it too, is not installed. Loads nothing."""
    if find_spec(module) is None:
        why, remedy = f"runs are sent there through {module}, which is not installed", f"pip install {module}"
        raise ArgumentError(must("track", "name a tracker that is installed", tracker, why, remedy))
