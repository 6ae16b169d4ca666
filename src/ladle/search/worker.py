"""The other end of `Hosts`: answers items that come by standard input, by standard output.

    python -m ladle.search.worker

Whoever began it and went away ends it: there is nobody to answer then.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from threading import Lock, Thread

from ladle.search.crew import serve
from ladle.search.hosts import MARK, SIGN, SIGN_SECONDS, versions


def main() -> None:
    """Say who this is, take the function, answer items; give a sign of life meanwhile."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is for who began it; here it ends the process, without words.
    asked, answered = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # What a trial prints is no answer.
    taking, giving = Connection(asked, writable=False), Connection(answered, readable=False)
    alone = Lock()
    os.write(answered, MARK)

    def send(message: bytes) -> None:
        with alone:
            giving.send_bytes(message)

    send(pickle.dumps(versions()))
    Thread(target=_signs, args=(send,), daemon=True).start()
    try:
        serve(taking.recv_bytes, send, taking.recv_bytes())
    except (EOFError, OSError):
        sys.exit(1)


def _signs(send: Callable[[bytes], None]) -> None:
    """Signs of life; where nobody takes them, the end."""
    while True:
        time.sleep(SIGN_SECONDS)
        try:
            send(SIGN)
        except OSError:
            os._exit(1)


if __name__ == "__main__":
    main()
