"""The command line: `ladle VERB [DATA] [options]`.

Exit codes: 0; 1 for a run that failed; 2 for what the user can mend, said in one line; 130 after ctrl-C (143 after
SIGTERM) with the checkpoint written. With `--json` standard output holds one JSON object and nothing else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from ladle.cli.arguments import parse
from ladle.cli.remedy import spoken
from ladle.cli.verbs import VERBS
from ladle.cli.welcome import welcome
from ladle.core import record
from ladle.core.errors import ArgumentError, CheckpointError, LadleError


def main(args: Sequence[str] | None = None) -> None:
    """The `ladle` command. Ends the process with its exit code."""
    sys.exit(run(sys.argv[1:] if args is None else list(args)))


def run(args: Sequence[str]) -> int:
    """One command; returns its exit code. What the user can mend becomes one line on standard error."""
    if not args:
        print(welcome(VERBS), end="", file=sys.stderr)
        return 2
    if args[0] in ("--help", "-h", "help"):
        return run([args[1], "--help"]) if args[1:] else _print(welcome(VERBS).rstrip())
    if args[0] in ("--version", "-V", "version"):
        return _print(f"ladle {record.versions().get('ladle', 'of an unknown version')}")
    verb = None
    try:
        verb = read(args)
        return verb.run()
    except (ArgumentError, CheckpointError) as error:
        return _say(error if verb is None else spoken(error, verb), 2)
    except LadleError as error:
        return _say(error if verb is None else spoken(error, verb), 1)
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing is wrong with us.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def read(args: Sequence[str]) -> Any:
    """The verb that a command means, with its options; nothing of it is done. Raises `ArgumentError`."""
    if args[0] == "plan" and "--serve" in args:  # The plan of a server is of a model, not of data.
        args = ["serve", *(one for one in args[1:] if one != "--serve"), "--plan"]
    return parse(args, VERBS)


def _print(text: str) -> int:
    print(text)
    return 0


def _say(error: object, code: int) -> int:
    print("ladle: " + " ".join(str(error).split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
