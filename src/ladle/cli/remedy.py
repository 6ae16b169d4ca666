"""A refusal in the words of the command line. Everything below says `micro_size=64`; here that is `--micro-size 64`.

A setting that is no option of the verb, or that the user's own file makes, stays in Python's words, and where it is
said follows it.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Mapping
from typing import Any

from ladle.cli.arguments import flags_of
from ladle.cli.common import Common
from ladle.core.errors import TRY

SETTING = re.compile(
    r"(?<![\w.'\"=])(?P<name>[a-z][a-z0-9_]*)="
    r"(?P<value>'[^']*'|\"[^\"]*\"|\[(?:'[^']*'|\"[^\"]*\"|[^\]'\"])*\]|\([^()]*\)|[\w.+-]*\w)"
)
"""`name=value` in Python's words, but for those after a quote: these are text."""

HERE = re.compile(r"(^| )--[a-z]")
"""A remedy with options in it was written by the command line itself."""

ALSO = {"policy": "schedule"}
"""Words of Python that are other words here."""


def spoken(error: BaseException | str, verb: Any) -> str:
    """A sentence of `ladle.core.errors.must` for someone who typed `verb`. Other sentences stay as they are.

    A line of the user's file that raised it is told, and then the words are those of the file.
    """
    notes = getattr(error, "__notes__", ())
    head, tried, remedy = str(error).rpartition(TRY)
    if notes or not tried or HERE.search(remedy):
        return f"{error} ({'; '.join(notes)})" if notes else str(error)
    argument, must, rest = head.partition(" must ")
    option = argument.replace("_", "-") if argument in flags_of(type(verb)) else argument
    return f"{option}{must}{rest}{tried}{in_flags(remedy, verb)}"


def in_flags(text: str, verb: Any) -> str:
    """`text` with every setting as an option of `verb`; followed by where a setting is made that is none.

    >>> from ladle.cli.search import SearchVerb
    >>> verb = SearchVerb("digits")
    >>> in_flags("sizes=[16, 64], or refit=False", verb)
    '--sizes 16,64, or no --refit'
    >>> in_flags("until='20 epochs'", verb), in_flags("dtype='uint16'", verb)
    ("--until '20 epochs'", "dtype='uint16' in a task file (file.py:task)")
    """
    flags, parts, at, places = flags_of(type(verb)), [], 0, []
    for match in SETTING.finditer(text):
        if _in_call(text, match.start()):
            continue
        said, place = _setting(match, verb, flags)
        parts += [text[at : match.start()], said]
        places.append(place)
        at = match.end()
    return " ".join(["".join([*parts, text[at:]]), *dict.fromkeys(filter(None, places))])


def _setting(match: re.Match[str], verb: Any, flags: Mapping[str, str]) -> tuple[str, str]:
    """A setting as it is said, and where, if not on this very command line."""
    name, value = ALSO.get(match["name"], match["name"]), match["value"]
    file = verb.file_of(name) if isinstance(verb, Common) else ""
    if file or name not in flags:
        return match[0], f"in {file}" if file else "in a task file (file.py:task)"
    begun = isinstance(verb, Common) and verb.begun_with(name)
    switch = isinstance(getattr(type(verb), name, None), bool)
    return _option(flags[name], value, switch), "in a new run" if begun else ""


def _option(flag: str, value: str, switch: bool) -> str:
    """A setting as it is typed: `--sizes 8,16`, `--until '20 epochs'`, `no --refit`; a `switch` as `--overwrite`."""
    if value in ("False", "None"):
        return f"no {flag}"
    if value == "True":
        return flag if switch else f"{flag} FOLDER"  # What is on or off in Python is a folder here: --resume.
    try:
        read: Any = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        read = value
    if isinstance(read, int | float):
        return f"{flag} {value}"  # As it was written: 1e-3 is not 0.001.
    said = ",".join(map(str, read)) if isinstance(read, list | tuple) else str(read)
    return f"{flag} {shlex.quote(said)}"


def _in_call(text: str, at: int) -> bool:
    """Whether a place lies inside the brackets of a call, where words are Python's."""
    depth: list[bool] = []
    for place, letter in enumerate(text[:at]):
        if letter == "(":
            depth.append(place > 0 and (text[place - 1].isalnum() or text[place - 1] == "_"))
        elif letter == ")" and depth:
            depth.pop()
    return any(depth)
