"""Read pictures in a process of its own: a decoder that dies or hangs costs its picture, not the others.

Decoders are C libraries that meet damaged and hostile files. The process is a plain Python that talks through pipes: it
imports nothing of the program that uses hush, and is started again after it died.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from hush.errors import HushError, PictureError
from hush.imaging.files import read_pages
from hush.imaging.formats import FORMATS
from hush.imaging.formats.picture import INTACT, Pages, Picture
from hush.imaging.layouts import read_layout

SECONDS = 120.0  # that reading a page may take ...
BYTES_PER_SECOND = 200_000  # ... and one more for so many bytes of the file
KILLED = 9  # SIGKILL, which Windows does not have
LARGE = "large"  # the answer of a decoder that was told how much memory there is
COMMAND = "from hush.imaging.isolation import serve; serve()"


class Decoder:
    """A process that reads pictures for this one. One thread at a time may use it."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._busy = False

    def read(self, source: Path, room: int | None = None) -> Pages | None:
        """Read a file as `hush.imaging.files.read_pages` does; None if there is no room for it (`is_large`).

        The pages must be taken before the next file is read. Raises what ``read_pages`` raises, and PictureError, at
        once or with a page, if the process dies or takes too long.
        """
        self._send((os.fspath(source), room))
        answer = self._receive(source)
        if answer == LARGE:
            return None
        first = self._receive(source)
        unread = [first]

        def pictures() -> Iterator[Picture]:
            picture = unread.pop() if unread else self._again(source)
            while picture is not None:
                yield picture
                picture = self._receive(source)

        if answer.count == 1:
            self._receive(source)  # the end: then another file may be read before this page is used
            return replace(answer, open=lambda: iter([first]))
        return replace(answer, open=pictures)

    def _again(self, source: Path) -> Any:
        """Read a file once more, and return its first page."""
        self._send((os.fspath(source), None))
        self._receive(source)
        return self._receive(source)

    def close(self) -> None:
        """End the process."""
        process, self._process, self._busy = self._process, None, False
        if process is not None:
            process.kill()
            process.wait()
            for pipe in filter(None, (process.stdin, process.stdout)):
                with suppress(OSError):  # another thread may be at it, or what was not sent is lost
                    pipe.close()

    def _send(self, request: tuple[str, int | None]) -> None:
        if self._busy or self._process is None or self._process.poll() is not None:
            self.close()  # also where pages of the file before are still on their way
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", COMMAND],  # -P: no module that lies in the folder comes first
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the parent, which then ends it
            )
        self._busy = True
        with suppress(OSError):  # it may have died; receiving says so
            _write(self._process.stdin, request)  # type: ignore[arg-type]  # it is a pipe

    def _receive(self, source: Path) -> Any:
        """Return the next answer."""
        process = self._process
        if process is None or process.stdout is None:
            raise PictureError(f"{source}: its decoder has ended. Read it again")
        late = threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        limit = self._seconds + (source.stat().st_size / BYTES_PER_SECOND if source.exists() else 0)
        timer = threading.Timer(limit, stop)
        timer.daemon = True
        timer.start()
        try:
            answer = _read(process.stdout)  # type: ignore[arg-type]  # a pipe
        except (EOFError, OSError, pickle.UnpicklingError):
            self.close()
            if process.returncode == -KILLED and not late.is_set():
                raise PictureError(
                    f"{source}: its decoder was killed, perhaps as memory ran out. Try it alone"
                ) from None
            if process.returncode == 1 and not late.is_set():  # Python's own end, with its reason on stderr
                raise PictureError(f"{source}: its decoder could not start. Look whether hush doctor works") from None
            reason = f"took more than {limit:.0f} s" if late.is_set() else f"crashed ({_death(process.returncode)})"
            raise PictureError(f"{source}: its decoder {reason}, so the file is damaged. {INTACT}") from None
        finally:
            timer.cancel()
        self._busy = not (answer is None or answer == LARGE or isinstance(answer, HushError))
        if isinstance(answer, HushError):
            raise answer
        return answer


def serve() -> None:
    """Read the files that are asked for on stdin, and answer on stdout, until stdin ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever a library prints is no answer
    os.dup2(1, 2)
    while True:
        try:
            source, room = _read(sys.stdin.buffer)
        except EOFError:
            return
        for answer in _answers(Path(source), room):
            _write(answers, answer)


def _answers(source: Path, room: int | None) -> Iterator[Any]:
    """Yield the description of a file, its pages, and None; or an error in place of any of these."""
    try:
        if room is not None and is_large(source, room):
            yield LARGE
            return
        pages = read_pages(source)
        yield replace(pages, open=_nothing)
        yield from pages
        yield None
    except HushError as error:
        yield error
    except Exception as error:
        yield PictureError(f"{source}: {type(error).__name__}: {error}")


def is_large(source: Path, room: int) -> bool:
    """Say whether a file takes more than so many bytes while such ones are read, restored and written at a time.

    False also where that is not known before it is read.
    """
    try:
        layout = read_layout(source)
    except (HushError, OSError):
        return False  # reading it says what is wrong
    if layout is None:
        return False
    entry = FORMATS[layout.picture.format]
    return layout.nbytes * (entry.decoding + entry.encoding + 4) > room  # 4: two are restored, two wait


def _nothing() -> Iterator[Picture]:
    return iter(())


def _write(pipe: BinaryIO, value: Any) -> None:
    """Send a value: the number and sizes of its parts, then the parts; arrays are not copied."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    parts = [memoryview(head), *(buffer.raw() for buffer in buffers)]
    pipe.write(struct.pack(f"<I{len(parts)}Q", len(parts), *(part.nbytes for part in parts)))
    for part in parts:
        pipe.write(part)
    pipe.flush()


def _read(pipe: BinaryIO) -> Any:
    """Receive a value; raises EOFError if the other side ends."""
    (count,) = struct.unpack("<I", _exactly(pipe, 4))
    sizes = struct.unpack(f"<{count}Q", _exactly(pipe, 8 * count))
    head, *buffers = [_exactly(pipe, size) for size in sizes]
    return pickle.loads(head, buffers=buffers)


def _exactly(pipe: BinaryIO, size: int) -> bytearray:
    content = bytearray(size)
    view = memoryview(content)
    while view:
        count = pipe.readinto(view)  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        view = view[count:]
    return content


def _death(code: int | None) -> str:
    """Say in words how a process ended."""
    if code is not None and code < 0:
        return signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
    return f"exit code {code}"
