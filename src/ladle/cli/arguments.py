"""How a command line is read: the types of its arguments, and what is said of one that cannot be read (tyro)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Union

import tyro

from ladle.core.errors import ArgumentError, must, nearest

Data = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
OptionalData = Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
PolicyText = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="POLICY")]
Folders = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
Budget = Annotated[str | None, tyro.conf.arg(aliases=["--until"])]
Page = Annotated[Path | None, tyro.conf.arg(aliases=["-o"])]


def parse(args: Sequence[str], verbs: Mapping[str, type]) -> Any:
    """The verb with its options, one of `verbs`. What cannot be read is an `ArgumentError` in one line."""
    verb = args[0] if args else "--help"
    if not verb.startswith("-") and verb not in verbs:
        raise ArgumentError(must("command", "be a known verb", verb, "ladle does these things", nearest(verb, verbs)))
    options = sorted(f"--{name.replace('_', '-')}" for name in _fields(verbs.get(verb)))

    def refuse(event: Any) -> None:
        raise ArgumentError(_refusal(event, verb, options))

    kinds = tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, kind in verbs.items())
    one = Annotated[Union[kinds], tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff]  # type: ignore[valid-type]  # noqa: UP007
    with tyro._errors.on_parse_error(refuse):
        return tyro.cli(one, prog="ladle", description="Mini-batch training: plan, feed, train, show.", args=list(args))  # type: ignore[arg-type]


def _refusal(event: Any, verb: str, options: Sequence[str]) -> str:
    """What tyro could not read, in one line. Its kinds of event are told apart by what they carry."""
    helped = f"ladle {verb} --help"
    if tokens := getattr(event, "tokens", None):
        return must("option", f"be one of ladle {verb}", tokens[0], "there is no such one", nearest(tokens[0], options))
    if choices := [one for one in getattr(event, "choices", ()) if one != "None"]:
        return must(_flag(event), "be a known choice", event.value, "it has these", nearest(event.value, choices))
    if missing := getattr(event, "missing_arguments", None):
        given = ((one.arg, one.arg.is_positional()) for one in missing)
        names = ", ".join(str(arg.lowered.metavar) if place else arg.display_name() for arg, place in given)
        return must(names, "be given", None, f"ladle {verb} needs it", helped)
    if hasattr(event, "offending_value"):
        return must(_flag(event), "be readable", event.offending_value, str(event.reason).rstrip("."), helped)
    why = " ".join(str(getattr(event, "message", type(event).__name__)).split())
    if getattr(event, "argument", None) is not None:
        return f"{_flag(event)} must be readable; {why}; try {helped}"
    return must("options", f"be what ladle {verb} takes", "something else", why, helped)


def _flag(event: Any) -> str:
    return "--" + str(event.argument.field.extern_name).replace("_", "-")


def _fields(kind: type | None) -> list[str]:
    """Names of a verb's options; its positional arguments are none."""
    return [one.name for one in fields(kind) if one.name not in ("data", "folders", "policy")] if kind else []
