"""The server: pictures come as the body of a request and go back restored, in their own format.

    POST /api/denoise?strength=0.8&name=photo.jpg    the restored file; what was found is in the header X-Hush-Result
    POST /api/estimate?name=photo.jpg                how noisy it is, as JSON
    POST /api/preview?name=scan.tif&range=0,4095     a JPEG of it, for browsers that do not show its format; which
                                                     values are black and white is in the header X-Hush-Range
    GET  /api/progress/JOB                           tiles done and in all, of a request that was given ``job=JOB``
    GET  /api                                        version, weights and options
    GET  /                                           the page

One picture is restored at a time, by all processors; others wait. An error is ``{"error": "..."}``. Nothing is kept:
what was sent lies in a temporary folder until its answer has gone.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from hush.errors import HushError, PictureError, UsageError
from hush.imaging.ranges import read_range
from hush.names import nearest
from hush.restoring.denoising import denoise_file
from hush.restoring.large import in_parts
from hush.restoring.options import DenoiseOptions, read_sigma
from hush.restoring.tiers import AUTO
from hush.restoring.weights import WEIGHTS

LOOPBACK = ("localhost", "127.0.0.1", "::1")
MAX_UPLOAD = 2**30
RESULT = "X-Hush-Result"
RANGE = "X-Hush-Range"
LONGEST_JOB = 64  # characters of a job's name
STATIC = {
    "page.css": ("hush.imaging", "text/css"),
    "page.js": ("hush.imaging", "text/javascript"),
    "app.css": ("hush.web", "text/css"),
    "app.js": ("hush.web", "text/javascript"),
}
POLICY = "default-src 'self'; img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
SAFE = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
TILE = 1024  # pixels a side, at most: one tile is how often progress is told, and how soon work is stopped
OWN = "own"  # the name of weights given at start-up that do not ship
WAIT = 0.5  # seconds between two looks at whether the client is still there

READERS: dict[str, Callable[[str], Any]] = {
    "weights": str,
    "quality": str,
    "sigma": read_sigma,
    "strength": float,
    "keep_detail": float,
    "keep_grain": float,
    "only": str,
    "range": read_range,
}
"""What may be asked of a restoration, and how it is read."""


class Stopped(HushError):
    """The client has disconnected."""


class TooLarge(HushError):
    """More bytes than are taken."""


class NoRoom(HushError):
    """No room on the disk for what was sent."""


STATUS = {UsageError: 400, TooLarge: 413, PictureError: 422, Stopped: 499, NoRoom: 507}


def create_app(
    options: DenoiseOptions | None = None,
    *,
    max_upload: int = MAX_UPLOAD,
    hosts: Sequence[str] = LOOPBACK,
) -> Starlette:
    """Return the server as an ASGI application.

    Args:
        options: how to denoise, unless a request says otherwise.
        max_upload: bytes that a picture may have.
        hosts: names and addresses by which the server may be called, ``*`` for any; others are refused, so that a
            page of another site cannot reach a server on its reader's machine under a name of its own (DNS rebinding).

    ``app.state.end()`` lets what is being restored stop at its next tile, so that the server can end.
    """
    options = options or DenoiseOptions()
    server = _Server(replace(options, tile=options.tile or TILE), max_upload)
    app = Starlette(
        routes=[
            Route("/", _page),
            Route("/static/{name}", _static),
            Route("/api", server.about),
            Route("/api/denoise", server.denoise, methods=["POST"]),
            Route("/api/estimate", server.estimate, methods=["POST"]),
            Route("/api/preview", server.preview, methods=["POST"]),
            Route("/api/progress/{job}", server.progress),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=_named_in_urls(hosts))],
        exception_handlers={HushError: _error, ClientDisconnect: _error, HTTPException: _error, Exception: _error},
    )
    app.state.end = server.ending.set
    return app


def _named_in_urls(hosts: Sequence[str]) -> list[str]:
    """Return hosts as requests name them: [::1] of Starlette's newest, [ of those that part hosts at the first colon.

    A [ alone lets any IPv6 address in, which is no name that could be bound anew.
    """
    return [name for host in hosts for name in ((f"[{host}]", "[") if ":" in host else (host,))]


class _Restored(FileResponse):
    """A restored file, whose folder goes when the file has been sent, or could not be."""

    folder: Path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class _Upload:
    """A picture that was sent."""

    folder: Path
    source: Path
    name: str
    """What its sender calls it; empty if it was not said."""


class _Server:
    """What requests share: how to denoise, who is at work, and how far."""

    def __init__(self, options: DenoiseOptions, max_upload: int) -> None:
        self._options = options
        self._weights: dict[str, str | Path] = {name: name for name in sorted({AUTO, *WEIGHTS})}
        if options.weights not in self._weights:
            self._weights[OWN] = options.weights  # where they lie is nobody's business
        self._max_upload = max_upload
        self.ending = threading.Event()
        self._restoring = anyio.CapacityLimiter(1)
        self._looking = anyio.CapacityLimiter(2)
        self._progress: dict[str, tuple[int, int]] = {}

    async def about(self, request: Request) -> Response:
        """Say what there is."""
        options = {name: getattr(self._options, name) for name in READERS}
        options["weights"] = OWN if OWN in self._weights else options["weights"]
        about = {"version": version("hush"), "weights": list(self._weights), "options": options}
        return JSONResponse(about | {"max_upload": self._max_upload}, headers=SAFE)

    async def denoise(self, request: Request) -> Response:
        """Restore a picture."""
        _check_origin(request)
        options, name, job, suffix = self._asked(request.query_params)
        upload = await self._receive(request, name)

        def work(stop: threading.Event) -> tuple[Path, dict[str, str]]:
            def tell(done: int, total: int) -> None:
                self._check_wanted(stop)
                if job:
                    self._progress[job] = done, total

            from hush.imaging.finding import output_path

            self._check_wanted(stop)
            target = output_path(upload.source)
            target = target.with_suffix(suffix) if suffix else target
            result = denoise_file(upload.source, target, options, progress=tell)
            told = {k: v for k, v in vars(result).items() if k not in ("source", "target")}
            return target, {RESULT: self._nameless(json.dumps(told, default=str))}

        try:
            target, headers = await _at_work(request, work, self._restoring)
        except BaseException as error:
            shutil.rmtree(upload.folder, ignore_errors=True)
            raise self._without_paths(error, upload) from error
        finally:
            self._progress.pop(job, None)
        name = f"{Path(upload.name).stem or 'picture'}-hush{target.suffix}"
        answer = _Restored(target, filename=name, headers=headers | SAFE)
        answer.folder = upload.folder
        return answer

    async def estimate(self, request: Request) -> Response:
        """Say how noisy a picture is."""
        from hush.restoring.estimating import estimate_file

        found = await self._of_upload(request, partial(estimate_file, options=self._options), ())
        return JSONResponse(json.loads(json.dumps(found, default=str)), headers=SAFE)

    async def preview(self, request: Request) -> Response:
        """Show a picture as browsers can."""
        from hush.imaging.files import read_pages
        from hush.imaging.viewing import preview, range_of

        asked = read_range(request.query_params.get("range", "auto"))

        def look(path: Path) -> tuple[bytes, str]:
            if in_parts(path, path, self._options) is not None:
                raise PictureError(f"{path}: too large to be shown in the memory that is left")
            picture = next(iter(read_pages(path)))
            scale = range_of(picture) if isinstance(asked, str) else asked
            low, high = scale if isinstance(scale, tuple) else (0, scale)
            return preview(picture, scale), f"{float(low)!r},{float(high)!r}"

        shown, scale = await self._of_upload(request, look, ("range",))
        return Response(shown, media_type="image/jpeg", headers=SAFE | {RANGE: scale})

    async def progress(self, request: Request) -> Response:
        """Say how far a job is."""
        done, total = self._progress.get(request.path_params["job"][:LONGEST_JOB], (0, 0))
        return JSONResponse({"done": done, "total": total}, headers=SAFE)

    async def _of_upload(self, request: Request, look: Callable[[Path], Any], options: Sequence[str]) -> Any:
        """Look at a picture that is sent, and forget it."""
        _check_origin(request)
        known = ("name", *options)
        if unknown := [key for key in request.query_params if key not in known]:
            raise UsageError(f"there is no option {unknown[0]!r} here; known: {', '.join(known)}")
        upload = await self._receive(request, request.query_params.get("name", ""))

        def work(stop: threading.Event) -> Any:
            self._check_wanted(stop)
            return look(upload.source)

        try:
            return await _at_work(request, work, self._looking)
        except BaseException as error:
            raise self._without_paths(error, upload) from error
        finally:
            shutil.rmtree(upload.folder, ignore_errors=True)

    def _asked(self, query: Mapping[str, str]) -> tuple[DenoiseOptions, str, str, str]:
        """Read what a request asks for: options, the picture's name, a job's name, the suffix of another format."""
        from hush.imaging.formats import SUFFIXES

        others = {"name": "", "job": "", "as": ""}
        given: dict[str, Any] = {}
        for key, text in query.items():
            if key in others:
                others[key] = text
            elif key in READERS:
                try:
                    given[key] = READERS[key](text)
                except ValueError:
                    raise UsageError(f"{key} is {text!r}; it must be a number") from None
            else:
                raise UsageError(f"there is no option {key!r}{nearest(key, [*READERS, *others])}")
        if "weights" in given:
            if given["weights"] not in self._weights:
                raise UsageError(f"weights is {given['weights']!r}; it must be one of {', '.join(self._weights)}")
            given["weights"] = self._weights[given["weights"]]
        suffix = others["as"] and "." + others["as"].lower().removeprefix(".")
        if suffix and suffix not in SUFFIXES:
            raise UsageError(f"as is {others['as']!r}; it must be a suffix of pictures, such as png or tif")
        return replace(self._options, **given), others["name"], others["job"][:LONGEST_JOB], suffix

    def _check_wanted(self, stop: threading.Event) -> None:
        """Raise Stopped where who asked has gone, or the server ends."""
        if stop.is_set() or self.ending.is_set():
            raise Stopped("stopped")

    def _without_paths(self, error: BaseException, upload: _Upload) -> BaseException:
        """Return an error that calls the picture as its sender does, and tells no path of this machine."""
        if not isinstance(error, HushError):
            return error
        said = str(error).replace(str(upload.source), upload.name or "the picture").replace(f"{upload.folder}/", "")
        return type(error)(self._nameless(said))

    def _nameless(self, text: str) -> str:
        """Return a text, or JSON, in which weights of one's own are called so, not by where they lie."""
        if OWN not in self._weights:
            return text
        path = str(self._options.weights)
        return text.replace(json.dumps(path)[1:-1], OWN).replace(path, OWN)

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"the picture has more than {self._max_upload:,} bytes; allow more with hush serve --max-upload"
        )

    async def _receive(self, request: Request, name: str) -> _Upload:
        """Take what is sent into a folder of its own, under a name of which only the suffix is the sender's."""
        from hush.imaging.finding import is_picture, named_by_content

        length = request.headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._max_upload:
            raise self._too_large()
        folder = Path(tempfile.mkdtemp(prefix="hush-"))
        suffix = Path(name).suffix if is_picture(name) else ""
        upload = _Upload(folder, folder / f"picture{suffix}", Path(name.replace("\\", "/")).name)
        size = 0
        try:
            with upload.source.open("wb") as file:
                async for part in request.stream():
                    size += len(part)
                    if size > self._max_upload:
                        raise self._too_large()
                    file.write(part)
            if size == 0:
                raise UsageError(
                    "the request has no body; send the picture's file as it is, such as curl --data-binary @photo.jpg"
                )
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError):
                raise NoRoom(f"there is no room for the picture on the server ({error.strerror})") from error
            raise
        return replace(upload, source=named_by_content(upload.source))


async def _at_work(request: Request, work: Callable[[threading.Event], Any], limiter: anyio.CapacityLimiter) -> Any:
    """Run work in a thread when it is its turn; its event is set once who asked has gone, or the server ends."""
    begun, stop = threading.Event(), threading.Event()
    outcome: list[Any] = []
    failures: list[Exception] = [Stopped("stopped")]

    def run() -> None:
        begun.set()
        try:
            outcome.append(work(stop))
        except Exception as error:
            failures.append(error)

    async def watch() -> None:
        while not await request.is_disconnected():
            await anyio.sleep(WAIT)
        stop.set()
        if not begun.is_set():
            group.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            await to_thread.run_sync(run, abandon_on_cancel=True, limiter=limiter)
            group.cancel_scope.cancel()
    finally:
        stop.set()
    if not outcome:
        raise failures[-1]
    return outcome[0]


def _check_origin(request: Request) -> None:
    """Raise UsageError where the page of another site sends pictures."""
    site, origin = request.headers.get("sec-fetch-site", "none"), request.headers.get("origin")
    own = origin is None or origin.partition("://")[2] == request.headers.get("host")
    if site not in ("none", "same-origin") or not own:  # browsers tell the site to https and this machine alone
        raise UsageError("pages of other sites may not use this server")


async def _error(request: Request, error: Exception) -> Response:
    """Answer with what went wrong, as JSON; what was not foreseen is told by its name, and logged."""
    if isinstance(error, HushError):
        status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)
        status, text = (400 if error.exit_code == 2 else status), str(error)
    elif isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code, headers={**(error.headers or {}), **SAFE})
    else:
        status, text = 500, f"{type(error).__name__}: {error}. Please report it"
    return JSONResponse({"error": " ".join(text.split())}, status, headers=SAFE)


async def _page(request: Request) -> Response:
    content = files("hush.web").joinpath("static/index.html").read_bytes()
    return Response(content, media_type="text/html", headers=SAFE | {"Content-Security-Policy": POLICY})


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in STATIC:
        raise HTTPException(404)
    package, kind = STATIC[name]
    place = files(package).joinpath(name if package == "hush.imaging" else f"static/{name}")
    return Response(place.read_bytes(), media_type=kind, headers=SAFE)
