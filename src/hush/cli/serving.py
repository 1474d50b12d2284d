"""The command ``hush serve``."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Annotated, Any

import typer

from hush.cli.console import say
from hush.cli.denoising import (
    FLAG,
    DeviceOption,
    PrecisionOption,
    QualityOption,
    RuntimeOption,
    WeightsOption,
)
from hush.errors import UsageError, need

MOST = 128  # connections; more are answered with 503
PATIENCE = 10  # seconds that a tile may still take when the server is to end


def serve(
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen at; 0.0.0.0 for all of this machine, and then whoever reaches it may use it."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="Port to listen at; 0 picks a free one.")
    ] = 8000,
    opened: Annotated[bool, typer.Option("--open", metavar=FLAG, help="Open the page in a browser.")] = False,
    max_upload: Annotated[str, typer.Option(metavar="SIZE", help="The largest file that is taken.")] = "1G",
    weights: WeightsOption = "auto",
    quality: QualityOption = "balanced",
    runtime: RuntimeOption = "auto",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="How many threads of the processor the network may use; all cores by default."),
    ] = None,
    max_memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="What the process may hold, such as 2G; half of what is free.")
    ] = None,
) -> None:
    """Denoise pictures in a browser, or from any program, over HTTP.

    Serves a page to drop pictures on (--open shows it), with a before/after
    view, and an API that takes a picture's file and returns it restored, in
    its own format. Nothing leaves this machine, and nothing is kept. Ctrl-C
    ends it. On the page a little natural grain stays (0.3) unless it is set
    otherwise; in the API none, unless keep_grain is given.

    \b
    hush serve --open
    curl --fail-with-body --data-binary @photo.jpg -o clean.jpg \\
         'http://localhost:8000/api/denoise?strength=0.8'
    """
    uvicorn = need("uvicorn", "web")
    need("starlette", "web")
    from hush.restoring.denoising import open_restorer
    from hush.restoring.options import DenoiseOptions, read_bytes
    from hush.web.app import LOOPBACK, create_app

    options = DenoiseOptions(
        weights=weights,
        quality=quality,
        runtime=runtime,
        device=device,
        precision=precision,
        threads=threads,
        max_memory=None if max_memory is None else read_bytes(max_memory),
    )
    open_restorer(weights, **options.opening)  # what cannot run is told now
    listener = _listen(host, port)
    alone = host in LOOPBACK
    app = create_app(options, max_upload=read_bytes(max_upload), hosts=LOOPBACK if alone else ("*",))
    named = f"[{host}]" if ":" in host else "localhost" if alone else host
    address = f"http://{named}:{listener.getsockname()[1]}"
    say(f"hush serves at {address}   (Ctrl-C ends it)")
    if opened:
        import webbrowser

        threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()  # some block
    limits = {"timeout_graceful_shutdown": PATIENCE, "limit_concurrency": MOST}
    config = uvicorn.Config(app, log_level="warning", lifespan="off", **limits)

    class Server(uvicorn.Server):  # type: ignore[name-defined, misc]  # it is imported when it is needed
        def handle_exit(self, *signal: Any) -> None:
            app.state.end()
            super().handle_exit(*signal)

    with suppress(KeyboardInterrupt):  # the way to end it
        Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    """Take a port; raises UsageError where that cannot be."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        advice = "Another --port, or 0 for a free one" if port else "Check --host"
        raise UsageError(
            f"{host}:{port}: cannot listen there ({(error.strerror or str(error)).partition(' (')[0]}). {advice}"
        ) from error
