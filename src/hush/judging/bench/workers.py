"""A process per peer: runtimes do not disturb one another there, and what a peer takes of memory can be told."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hush.errors import HushError
from hush.judging.bench.peers import Peer
from hush.judging.protocol import versions
from hush.names import load
from hush.restoring.memory import highest

Image = NDArray[np.float32]
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Worker:
    """A peer in a process of its own.

    Raises HushError if the peer cannot be opened; each call does if its process dies.
    """

    def __init__(self, peer: Peer, threads: int) -> None:
        self.peer = peer
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        options = {**peer.options, "threads": threads}
        self._process = context.Process(target=serve, args=(theirs, peer.opener, options, threads), daemon=True)
        self._process.start()
        theirs.close()
        self.description, self.versions = self._receive()

    def restore(self, image: Image, sigma: float | None) -> tuple[Image, float]:
        """Restore an image (H, W, C); return it, and the seconds that took in the process."""
        restored, seconds = self._ask((image, sigma))
        return restored, seconds

    def peak(self) -> int | None:
        """Return the most bytes of memory that the process has held so far; None where the system does not tell."""
        held: int | None = self._ask(None)
        return held

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.terminate()
        self._process.join()

    def _ask(self, request: tuple[Image, float | None] | None) -> Any:
        with suppress(BrokenPipeError):  # it has died: receiving says so
            self._pipe.send(request)
        return self._receive()

    def _receive(self) -> Any:
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode
            raise HushError(f"{self.peer.name}: its process ended with code {code}; is there enough memory?") from None
        if isinstance(answer, Exception):
            raise answer
        return answer


def serve(pipe: Connection, opener: str, options: Mapping[str, Any], threads: int) -> None:
    """Open a peer, and answer what comes through a pipe until it is closed."""
    _confine(threads)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # peers that print do not disturb the table
    with suppress(EOFError, KeyboardInterrupt, BrokenPipeError):
        try:
            restore = load(opener)(**options)
            pipe.send((restore.description, versions()))
        except Exception as error:
            pipe.send(error if isinstance(error, HushError) else HushError(f"{type(error).__name__}: {error}"))
            return
        while True:
            pipe.send(_answer(restore, pipe.recv()))


def _answer(restore: Callable[[Image, float | None], Image], request: tuple[Image, float | None] | None) -> Any:
    if request is None:
        return _peak()
    try:
        started = time.perf_counter()
        restored = restore(*request)
        return restored, time.perf_counter() - started
    except Exception as error:
        return HushError(f"{type(error).__name__}: {error}")


def _confine(threads: int) -> None:
    """Keep this process, and all libraries in it, to so many threads."""
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def _peak() -> int | None:
    if highest():
        return highest()
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
