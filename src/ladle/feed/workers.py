"""`Processes`: a job worked out in processes. Forked where that is safe, as a `DataLoader` does; spawned beside JAX.

A spawned process runs the main file once more before it works, which without `if __name__ == "__main__":` begins the
whole program anew. It does so for what is defined there; jobs made of a library's classes do not need it.
"""

from __future__ import annotations

import os
import pickle
import signal
import stat
import sys
import threading
import traceback
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import current_process, get_all_start_methods, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext, SpawnContext, SpawnProcess
from queue import SimpleQueue
from typing import Any

from ladle.core.errors import ArgumentError, RunError, must
from ladle.feed.slabs import Lent, Written, receive_file, send_file

_HIDING = threading.Lock()


class Processes:
    """`count` processes that know one job. Safe to ask from several threads: each question has one process.

    - `job(key)`: the work. `start(number)`: called in each process before, with its number.
    - `context`: "fork", "spawn", "forkserver"; None chooses (`context_for`).

    Raises `ArgumentError` where the job cannot travel to a process.
    """

    def __init__(
        self,
        job: Callable[[Any], Any],
        count: int,
        start: Callable[[int], Any] | None = None,
        context: str | None = None,
    ) -> None:
        chosen = context_for((job, start), context)
        method = "fork" if chosen.get_start_method() == "fork" else "spawn"
        packed = (job, start) if method == "fork" else _packed((job, start))
        self._free: SimpleQueue[_Peer] = SimpleQueue()
        self._closed = False
        self.peers: list[_Peer] = []
        for number in range(count):
            near, far = chosen.Pipe()
            make: Any = chosen.Process  # type: ignore[attr-defined]
            process = make(target=_serve, args=(far, packed, number, count), daemon=True, name=f"ladle-read-{number}")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # Of forks beside threads: see `context_for`.
                process.start()
            far.close()
            self.peers.append(_Peer(process, near))
            self._free.put(self.peers[-1])

    def __call__(self, key: Any) -> Any:
        """The job's answer. Raises what it raised, `RunError` where its process died, and how."""
        peer = self._free.get()
        try:
            return peer.ask(key)
        finally:
            self._free.put(peer)
            if self._closed:
                self._end_free()

    def close(self) -> None:
        """End the processes, those that work as soon as they are done."""
        self._closed = True
        self._end_free()

    def _end_free(self) -> None:
        while not self._free.empty():
            self._free.get().end()


class _Peer:
    """One process and the way to it."""

    def __init__(self, process: Any, pipe: Connection) -> None:
        self.process, self.pipe, self.lent = process, pipe, Lent()

    def ask(self, key: Any) -> Any:
        try:
            self.pipe.send_bytes(pickle.dumps((key, self.lent.gone())))
            good, answer, trace = _received(self.pipe, self.lent)
        except (EOFError, OSError):
            self.process.join(5)
            raise RunError(f"a reading process died ({_cause(self.process.exitcode)})") from None
        if good:
            return answer
        raise answer from _RemoteError(trace)

    def end(self) -> None:
        try:
            self.pipe.send_bytes(pickle.dumps(()))
            self.pipe.close()
        except OSError:  # It has ended already.
            pass


class _RemoteError(Exception):
    """Where in the reading process an error was raised."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _cause(code: int | None) -> str:
    if code is None:
        return "its pipe was closed"
    if code >= 0:
        return f"it exited with code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"{name}: killed, or out of memory" if name == "SIGKILL" else f"killed by {name}"


# --- in a reading process --------------------------------------------------------------------------------------------


def _serve(pipe: Connection, packed: Any, number: int, count: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The program that was interrupted ends this one.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # A handler that a fork brought along would keep it from ending.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    failed: BaseException | None = None
    trace = ""
    job: Any = None
    written = Written()
    try:
        if not isinstance(packed, bytes):
            _own_offsets()
        job, start = pickle.loads(packed) if isinstance(packed, bytes) else packed
        _as_torch_does(job, number, count)
        if start is not None:
            start(number)
    except BaseException as error:
        failed, trace = error, traceback.format_exc()
    while True:
        try:
            message = pickle.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            return
        if not message:
            return
        key, gone = message
        written.free(gone)
        answer: tuple[bool, Any, str] = (False, failed, trace)
        if failed is None:
            try:
                answer = True, job(key), ""
            except BaseException as error:
                answer = False, error, traceback.format_exc()
        _send(pipe, answer, written)
        del answer, message, key  # Not kept while the next question is waited for.


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _own_offsets() -> None:
    """A place of its own in each file that the program holds open to read: after a fork all processes share one, and
    a dataset that seeks and then reads would be moved away by another in between.
    """
    if sys.platform == "win32":
        return
    import fcntl

    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []:
        try:
            number = int(name)
            readable = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
            if number > 2 and readable and stat.S_ISREG(os.fstat(number).st_mode):
                again = os.open(f"/proc/self/fd/{number}", os.O_RDONLY)
                os.lseek(again, os.lseek(number, 0, os.SEEK_CUR), os.SEEK_SET)
                os.dup2(again, number)
                os.close(again)
        except OSError:  # Closed meanwhile, or not to be opened again: it stays as it is.
            continue


def _as_torch_does(job: Any, number: int, count: int) -> None:
    """One thread of torch's own (those of the program did not survive a fork), and its word about who reads."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    torch.set_num_threads(1)
    worker = sys.modules.get("torch.utils.data._utils.worker")
    if worker is not None and hasattr(worker, "WorkerInfo"):
        dataset = getattr(job, "dataset", None)
        info = worker.WorkerInfo(id=number, num_workers=count, seed=number, dataset=dataset)
        worker._worker_info = info  # type: ignore[attr-defined]


def _send(pipe: Connection, answer: tuple[bool, Any, str], written: Written) -> None:
    """Arrays go as they lie in memory: into memory that is shared, else through the pipe."""
    buffers: list[pickle.PickleBuffer] = []
    try:
        head = pickle.dumps(answer, 5, buffer_callback=buffers.append)
        if not answer[0]:
            pickle.loads(head, buffers=buffers)  # Some exceptions can be written and not read.
        raws = [buffer.raw() for buffer in buffers]
    except Exception as error:
        if answer[0]:
            said = f"a batch that was read cannot be sent between processes ({type(error).__name__}: {error})"
        else:
            said = f"{type(answer[1]).__name__}: {answer[1]}"
        head, raws = pickle.dumps((False, RunError(said), answer[2] or traceback.format_exc())), []
    slab, file = written.write(raws)
    pipe.send_bytes(pickle.dumps(([len(raw) for raw in raws], slab, file >= 0)))
    if file >= 0:
        send_file(pipe, file)
    pipe.send_bytes(head)
    for raw in raws if slab is None else ():
        if len(raw):
            pipe.send_bytes(raw)


def _received(pipe: Connection, lent: Lent) -> tuple[bool, Any, str]:
    lengths, slab, new = pickle.loads(pipe.recv_bytes())
    if new:
        lent.take(slab, receive_file(pipe))
    head = pipe.recv_bytes()
    if slab is not None:
        return pickle.loads(head, buffers=lent.read(slab, lengths))
    buffers = [bytearray(length) for length in lengths]
    for buffer in buffers:
        if buffer:
            pipe.recv_bytes_into(buffer)
    return pickle.loads(head, buffers=buffers)


# --- how processes are begun -----------------------------------------------------------------------------------------


def context_for(job: Any, method: str | None = None) -> BaseContext:
    """How processes for `job` are begun.

    Forked, as a `DataLoader` does, unless JAX has begun its threads: a fork may then never wake up. Beside JAX they are
    spawned, without the main file where nothing of it is needed.

    Raises `ArgumentError` in a process that is itself just being spawned (it is running a main file without a guard),
    and for another `method` than the system has.
    """
    if getattr(current_process(), "_inheriting", False):
        why = "each process runs it again, and would begin processes of its own"
        remedy = 'the program under `if __name__ == "__main__":`, or processes=False'
        raise ArgumentError(must("processes", "be asked for outside of a main file's top level", True, why, remedy))
    known = get_all_start_methods()
    if method is not None and method not in known:
        why, remedy = "processes are begun in one of these ways", " or ".join(map(repr, known))
        raise ArgumentError(must("multiprocessing_context", "be known here", method, why, remedy))
    if method == "fork" or (method is None and "fork" in known and not _jax_runs()):
        return get_context("fork")
    if method == "forkserver":
        return get_context("forkserver")
    return get_context("spawn") if _of_main(job) else _WithoutMain()


def _jax_runs() -> bool:
    bridge = sys.modules.get("jax._src.xla_bridge")
    return bool(getattr(bridge, "_backends", "jax" in sys.modules))


def _packed(job: Any) -> bytes:
    try:
        return pickle.dumps(job)
    except Exception as error:
        said = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        why = "a spawned process is sent its job, and beside JAX none can be forked"
        remedy = "classes and functions of a file's top level, or processes=False"
        raise ArgumentError(must("data", "travel to a reading process", said, why, remedy)) from error


def _of_main(job: Any) -> bool:
    """Whether `job` holds anything that is defined in the main file. What cannot be pickled is found out later."""
    try:
        return b"__main__" in pickle.dumps(job)
    except Exception:
        return True


class _Process(SpawnProcess):
    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        with _hidden_main():
            return SpawnProcess._Popen(process_obj)


class _WithoutMain(SpawnContext):
    Process = _Process  # type: ignore[assignment]


@contextmanager
def _hidden_main() -> Iterator[None]:
    """A main module without a file, as long as a process is begun: there is then none to run again."""
    with _HIDING:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main
