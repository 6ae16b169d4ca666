"""How a command line is read: the types of its arguments, and what is said of one that cannot be read (tyro)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Union, get_type_hints

import tyro

from ladle.cli import habits
from ladle.core.errors import ArgumentError, must, nearest

Data = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
OptionalData = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA", help_behavior_hint="")]
PolicyText = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="POLICY")]
Folders = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
RunsFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
ModelFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
NewFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
Source = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
Rows = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ROWS")]
Table = Annotated[Path | None, tyro.conf.arg(aliases=["-o"])]
As = Annotated[tuple[str, ...], tyro.conf.arg(name="as")]
Budget = Annotated[str | None, tyro.conf.arg(aliases=["--until"])]
Page = Annotated[Path | None, tyro.conf.arg(aliases=["-o"])]
Rate = Annotated[float | str, tyro.conf.arg(metavar="RATE")]
Processes = Annotated[int, tyro.conf.arg(aliases=["-n"])]
Unsaid = Annotated[tuple[str, ...], tyro.conf.Fixed, tyro.conf.Suppress]
"""Words that `ladle launch` hands on, which are no options of its own."""
Unused = Annotated[float | str, tyro.conf.Fixed, tyro.conf.Suppress]
"""An option of the task that a verb does not take."""


def parse(args: Sequence[str], verbs: Mapping[str, type]) -> Any:
    """The verb with its options, one of `verbs`. What cannot be read is an `ArgumentError` in one line."""
    verb = args[0]
    if verb not in verbs:
        raise ArgumentError(must("command", "be a known verb", verb, "ladle does these things", nearest(verb, verbs)))
    _require_options(verb, args[1:], flags_of(verbs[verb]))

    def refuse(event: Any) -> None:
        raise ArgumentError(_refusal(event, verb))

    kinds = tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, kind in verbs.items())
    one = Annotated[Union[kinds], tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff]  # type: ignore[valid-type]  # noqa: UP007
    with tyro._errors.on_parse_error(refuse):
        return tyro.cli(one, prog="ladle", args=list(args))  # type: ignore[arg-type]


def flags_of(kind: type) -> dict[str, str]:
    """The options of a verb as they are typed, by the names of Python: `{"micro_size": "--micro-size"}`."""
    hints = get_type_hints(kind, include_extras=True)
    found: dict[str, str] = {}
    for one in fields(kind):
        extras = getattr(hints[one.name], "__metadata__", ())
        if tyro.conf.Positional in extras or tyro.conf.Fixed in extras:
            continue
        aliases = [alias for extra in extras for alias in getattr(extra, "aliases", None) or ()]
        own = "--" + one.name.rstrip("_").replace("_", "-")  # as_ in Python, where `as` is a word of the language.
        found[one.name] = own
        for flag in aliases:
            found[flag.lstrip("-").replace("-", "_")] = flag
    return found


def _require_options(verb: str, tokens: Sequence[str], flags: Mapping[str, str]) -> None:
    """Refuse an option that the verb does not have, with what is likely meant. A slip of the pen is met before tyro
    takes the words after it for something else."""
    known = {*flags.values(), "--help", "-h"}
    for place, token in enumerate(tokens):
        option = token.partition("=")[0].replace("_", "-")
        if not re.fullmatch(r"--?[A-Za-z][\w-]*", option) or option in known:
            continue
        names = [flag.removeprefix("--") for flag in flags.values()]
        instead = habits.meant(option.lstrip("-").lower(), habits.given(tokens, place), verb, names)
        why = "there is no such one" if instead is None else "it has another name here"
        remedy = instead or nearest(option, flags.values())
        raise ArgumentError(must("option", f"be one of ladle {verb}", token, why, remedy))


def _refusal(event: Any, verb: str) -> str:
    """What tyro could not read, in one line. Its kinds of event are told apart by what they carry."""
    helped = f"ladle {verb} --help"
    if tokens := getattr(event, "tokens", None):
        why, remedy = "it belongs to no option", "commas between the numbers of a list, quotes around words with spaces"
        return must("command", "be a verb, DATA and options", tokens[0], why, remedy)
    if choices := [one for one in getattr(event, "choices", ()) if one != "None"]:
        return must(_flag(event), "be a known choice", event.value, "it has these", nearest(event.value, choices))
    if missing := getattr(event, "missing_arguments", None):
        given = ((one.arg, one.arg.is_positional()) for one in missing)
        names = ", ".join(str(arg.lowered.metavar) if place else arg.display_name() for arg, place in given)
        return must(names, "be given", None, f"ladle {verb} needs it", helped)
    if hasattr(event, "offending_value"):
        return must(_flag(event), "have a value", event.offending_value, "none came after it", helped)
    why = " ".join(str(getattr(event, "message", type(event).__name__)).split())
    if getattr(event, "argument", None) is not None:
        return f"{_flag(event)} must be readable; {why}; try {helped}"
    return must("options", f"be what ladle {verb} takes", "something else", why, helped)


def _flag(event: Any) -> str:
    return "--" + str(event.argument.field.extern_name).replace("_", "-")
