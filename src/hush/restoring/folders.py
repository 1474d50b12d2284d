"""Restore many pictures: while one is restored the next are read and looked at, and the last written.

Small pictures are restored side by side, each from its estimate to its file on its share of the processor, so that no
thread waits for another; large ones one by one, on all of it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hush.errors import HushError, MissingExtra, PictureError
from hush.restoring.filework import DECODER, FileWork, Known
from hush.restoring.large import SMALLEST_WORK
from hush.restoring.machine import cores
from hush.restoring.memory import allowed, resident
from hush.restoring.options import DenoiseOptions
from hush.restoring.planning import FileFailure, FileResult, FileSkipped, Job
from hush.restoring.restorers import Restorer, TellProgress
from hush.restoring.working import SMALL

if TYPE_CHECKING:
    from hush.imaging.formats.picture import Pages, Picture
    from hush.imaging.isolation import Decoder

Result = FileResult | FileFailure | FileSkipped
Failures = (PictureError, MissingExtra, OSError)

MOST_JOBS = 4  # a network keeps all processors busy; reading and writing need few, and each job takes memory
STACK = 256 * 2**20  # bytes; larger stacks are read page by page as they are restored


def work_through(
    jobs: list[Job],
    options: DenoiseOptions,
    restorer: Restorer,
    alone: Callable[[Job], FileResult],
    progress: TellProgress | None,
) -> Generator[Result, None, None]:
    """Yield a result for each job, in their order; ``alone`` restores a file by itself."""
    if sum(not (job.problem or job.skipped) for job in jobs) < 2:
        yield from (_settle(job, alone) for job in jobs)
        return
    line = _Line(options, restorer, alone, progress)
    try:
        yield from line.run(jobs)
    finally:
        line.close()


def _settle(job: Job, work: Callable[[Job], Result]) -> Result:
    """Do a job, or say why it is not done."""
    if job.skipped:
        return FileSkipped(job.source, job.target)
    try:
        if job.problem:
            raise PictureError(job.problem)
        if job.make_folder:
            from hush.imaging.files import make_folder

            make_folder(job.target.parent)
        return work(job)
    except Failures as error:
        return FileFailure(job.source, error)
    except HushError:  # of weights or options, which are those of all pictures
        raise
    except Exception as error:  # a fault of ours must not cost the pictures beside this one
        failure = PictureError(
            f"{job.source}: {type(error).__name__}: {error}. Run it with --debug to see where, and report it"
        )
        failure.__cause__ = error
        return FileFailure(job.source, failure)


@dataclass(frozen=True)
class _Read:
    """What reading a file gave: its pages, or nothing where it must be restored by itself."""

    like: Pages | None
    pages: list[Picture]
    known: Iterable[Known] | None  # None where whoever restores the pages looks for it
    seconds: float

    @property
    def small(self) -> bool:
        """Whether it is to be restored beside others."""
        return bool(self.pages) and sum(page.size[0] * page.size[1] for page in self.pages) <= SMALL


class _Line:
    """A line on which pictures are read, restored and written, each by others; few are on it at a time."""

    def __init__(
        self,
        options: DenoiseOptions,
        restorer: Restorer,
        alone: Callable[[Job], FileResult],
        progress: TellProgress | None,
    ) -> None:
        most = MOST_JOBS if options.max_memory is None else 1  # with a limit of memory, fewer pictures are in flight
        self._count = options.jobs or min(most, cores())
        self._options, self._restorer, self._alone, self._progress = options, restorer, alone, progress
        self._readers = ThreadPoolExecutor(self._count, "hush-read")
        self._writers = ThreadPoolExecutor(self._count, "hush-write")
        self._workers = ThreadPoolExecutor(self._count, "hush-work")
        self._decoders: list[Decoder] = []
        self._own = threading.local()
        self._opening = threading.Lock()
        self._opened: list[Restorer | None] = []

    def run(self, jobs: list[Job]) -> Iterator[Result]:
        """Yield a result for each job, in their order."""
        coming = iter(jobs)
        waiting: deque[tuple[Job, Future[_Read] | None]] = deque()
        pending: deque[Future[Result]] = deque()
        while True:
            while len(waiting) <= self._count and (job := next(coming, None)) is not None:
                idle = job.skipped or job.problem
                waiting.append((job, None if idle else self._readers.submit(self._read, job)))
            if not waiting:
                break
            pending.append(self._restore(*waiting.popleft()))
            while pending and (len(pending) > 2 * self._count or pending[0].done()):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def close(self) -> None:
        """End what still runs; what was being written is finished."""
        for decoder in self._decoders:
            decoder.close()
        self._readers.shutdown(cancel_futures=True)
        self._workers.shutdown(cancel_futures=True)
        self._writers.shutdown(cancel_futures=True)

    def _side_by_side(self) -> Restorer | None:
        """Return what restores small pictures, opened with the first; None where they are restored as all others.

        With a limit of memory they are not restored side by side: nobody could tell what each takes.
        """
        with self._opening:
            if not self._opened:
                several = self._count > 1 and self._options.max_memory is None
                self._opened.append(self._restorer.side_by_side(self._count) if several else None)
        return self._opened[0]

    def _decoder(self) -> Decoder:
        """Return the decoder of this thread."""
        if not hasattr(self._own, "decoder"):
            from hush.imaging.isolation import Decoder

            self._own.decoder = Decoder()
            self._decoders.append(self._own.decoder)
        return self._own.decoder

    def _read(self, job: Job) -> _Read:
        """Read a file, and look how noisy it is; a large one is left to be read part by part."""
        started = time.perf_counter()
        left = allowed(self._options.max_memory) - resident() - SMALLEST_WORK
        room = max(0, left // self._count - DECODER)
        like = self._decoder().read(job.source, room)
        pages: list[Picture] = []
        for page in like or ():
            if like is not None and page.pixels.nbytes * len(like) > min(STACK, room // 4) and len(like) > 1:
                return _Read(like, [], (), 0)
            pages.append(page)
        read = _Read(like, pages, None, time.perf_counter() - started)
        if like is None or (read.small and self._side_by_side()):
            return read
        known = self._file_work(job, like).look(pages)
        return replace(read, known=known, seconds=time.perf_counter() - started)

    def _restore(self, job: Job, reading: Future[_Read] | None) -> Future[Result]:
        """Restore what was read, and let it be written; or let all that be done beside others."""
        if reading is not None and reading.exception() is None and reading.result().small and self._side_by_side():
            return self._workers.submit(self._whole, job, reading.result())

        def work(job: Job) -> FileResult:
            read = reading.result() if reading is not None else None
            if read is None or read.like is None:
                return self._alone(job)
            if not read.pages:
                return self._stack(job)
            started = time.perf_counter()
            at_work = self._file_work(job, read.like)
            restored = list(at_work.restore(read.pages, read.known))
            seconds = read.seconds + time.perf_counter() - started
            writing.append((at_work, restored, seconds))
            return at_work.result(seconds)

        writing: list[tuple[FileWork, list[Picture], float]] = []
        result = _settle(job, work)
        if not writing:
            done: Future[Result] = Future()
            done.set_result(result)
            return done
        return self._writers.submit(self._write, job, *writing[0])

    def _whole(self, job: Job, read: _Read) -> Result:
        """Restore and write what was read, beside others."""
        started = time.perf_counter()

        def work(job: Job) -> FileResult:
            assert read.like is not None  # what is small has been read
            at_work = self._file_work(job, read.like, self._side_by_side())
            at_work.write(list(at_work.restore(read.pages)))
            return at_work.result(read.seconds + time.perf_counter() - started)

        return _settle(job, work)

    def _write(self, job: Job, work: FileWork, restored: list[Picture], seconds: float) -> Result:
        started = time.perf_counter()

        def write(job: Job) -> FileResult:
            work.write(restored)
            return work.result(seconds + time.perf_counter() - started)

        return _settle(job, write)

    def _stack(self, job: Job) -> FileResult:
        """Restore a stack whose pages are read and written one by one."""
        started = time.perf_counter()
        pages = self._decoder().read(job.source)
        if pages is None:
            return self._alone(job)
        work = self._file_work(job, pages)
        work.write(work.restore(pages))
        return work.result(time.perf_counter() - started)

    def _file_work(self, job: Job, like: Pages, beside: Restorer | None = None) -> FileWork:
        """Prepare for a file; of those that are restored ``beside`` others no tiles are told."""
        restorer, progress = (beside, None) if beside else (self._restorer, self._progress)
        return FileWork(job.source, job.target, like, self._options, restorer, progress, decoders=self._count)
