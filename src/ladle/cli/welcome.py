"""What `ladle` says of itself: what it is, what it does in a line each, and the first two commands."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping

TEXT = """\
ladle: plan, feed, train and show mini-batches.

usage: ladle VERB [DATA] [options]

{verbs}

begin with:
  ladle plan digits        the batch size for this data, model and machine, and why
  ladle train digits       train at that size; the folder of the run is printed at the end

`ladle VERB --help` lists the options of a verb; DATA is a name (`ladle data`), a file, or file.py:task.
"""


def welcome(verbs: Mapping[str, type]) -> str:
    """The page for someone who typed `ladle` alone.

    >>> class Count:
    ...     '''Counts. Slowly.'''
    >>> "  count        Counts" in welcome({"count": Count})
    True
    """
    return TEXT.format(verbs="\n".join(f"  {name:12} {_sentence(kind)}" for name, kind in verbs.items()))


def _sentence(kind: type) -> str:
    """The first sentence of a verb's docstring, or the first part of it."""
    line = inspect.cleandoc(kind.__doc__ or "").splitlines()[0]
    return re.split(r"[.:?;] ", line)[0].rstrip(".")
