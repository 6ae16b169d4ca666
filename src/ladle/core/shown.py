"""How a notebook shows a value: its text, and a picture below where somebody who can draw has offered one.

The hall and the rooms draw nothing. The roof offers pictures of their values by the names of their types
(`ladle.api.pictures`); without it a notebook shows the text.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Callable
from typing import Any

PICTURES: dict[str, Callable[[Any], bytes | None]] = {}
"""What draws a value of a type of that name, as SVG; None where there is nothing to draw."""

_STYLE = "max-width:100%;height:auto;background:#fff;border-radius:6px"  # White below it, in a dark notebook too.


def shown(value: Any, text: str) -> str:
    """`value` as HTML for a notebook: `text` as it stands, escaped, in the notebook's colours; the picture below.

    >>> shown(3, "a < b")
    '<pre>a &lt; b</pre>'
    """
    kind = type(value).__name__
    try:
        drawn = PICTURES[kind](value) if kind in PICTURES else None
    except Exception:  # A picture is an extra: what cannot be drawn still has its text.
        drawn = None
    if drawn is None:
        return f"<pre>{html.escape(text)}</pre>"
    source = "data:image/svg+xml;base64," + base64.b64encode(drawn).decode()
    return f"<pre>{html.escape(text)}</pre><img alt='{html.escape(kind)}' style='{_STYLE}' src='{source}'>"
