"""The command ``hush denoise``."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from hush.cli.console import bar, complain, duration, say, say_json
from hush.errors import UsageError

if TYPE_CHECKING:
    from hush.restoring.denoising import DenoiseOptions, FileFailure, FileResult, FileSkipped, Job

PIPE = "-"  # stdin as an input, stdout as an output
DETAIL = "0.5"  # what --keep-detail without a number means
CONTROL, MACHINE, FILES = "Control", "Machine", "Files"


def weight_names() -> list[str]:
    """Return what completes --weights."""
    from hush.restoring.weights import WEIGHTS

    return [*WEIGHTS, "identity", "classical:nlm", "classical:tv", "classical:wavelet", "classical:median"]


WeightsOption = Annotated[
    str,
    typer.Option(
        "--weights",
        metavar="NAME|FILE",
        autocompletion=weight_names,
        help="Weights by name (see: hush list weights), an .onnx file of hush, a run's .safetensors, "
        "NETWORK@FILE for bare arrays, classical:nlm (tv, wavelet, median, bm3d), or identity.",
    ),
]
RuntimeOption = Annotated[
    str,
    typer.Option(
        "--runtime",
        metavar="auto|openvino|torch|onnx",
        help="What runs the weights; auto is openvino on a processor, torch on a GPU.",
    ),
]
DeviceOption = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda|mps", help="Where to compute.")]
PrecisionOption = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="auto|fast|exact",
        help="fast: 16-bit arithmetic where the machine is made for it; exact: float32; auto: fast where it cannot "
        "show.",
    ),
]


class DenoiseCommand(TyperCommand):
    """A command whose option ``--keep-detail`` may stand alone."""

    def parse_args(self, context: Any, arguments: list[str]) -> list[str]:
        """Give ``--keep-detail`` its number where none follows, then parse."""
        return super().parse_args(context, list(_with_detail(arguments)))


def _with_detail(arguments: Sequence[str]) -> Iterator[str]:
    for i, argument in enumerate(arguments):
        yield argument
        following = "".join(arguments[i + 1 : i + 2])
        if argument == "--keep-detail" and not re.fullmatch(r"-?[0-9.]+(e-?[0-9]+)?", following):
            yield DETAIL


def denoise(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT", help="Pictures, folders or globs; - is stdin.")],
    out: Annotated[
        str | None,
        typer.Option("-o", "--out", help="A file for one picture, a folder, or - for stdout. Default: beside INPUT."),
    ] = None,
    weights: WeightsOption = "gaussian",
    sigma: Annotated[
        str,
        typer.Option(
            metavar="N|auto",
            rich_help_panel=CONTROL,
            help="Deviation of the noise on the 8-bit scale, 0 to 255; auto estimates it.",
        ),
    ] = "auto",
    strength: Annotated[
        float,
        typer.Option(
            metavar="0..1", rich_help_panel=CONTROL, help="How much of the change to keep; 0 returns the input."
        ),
    ] = 1.0,
    keep_detail: Annotated[
        float,
        typer.Option(
            "--keep-detail",
            metavar="[0..1]",
            rich_help_panel=CONTROL,
            help="How much of the fine luminance texture to give back, without colour noise; 0.5 if no number follows.",
        ),
    ] = 0.0,
    keep_grain: Annotated[
        float,
        typer.Option(
            "--keep-grain",
            metavar="0..1",
            rich_help_panel=CONTROL,
            help="How much natural luminance grain to give back, never more than a little, so that nothing looks "
            "like plastic.",
        ),
    ] = 0.0,
    mask: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=CONTROL,
            help="A gray picture of the same size: white is restored, black stays as it is.",
        ),
    ] = None,
    value_range: Annotated[
        str,
        typer.Option(
            "--range",
            metavar="auto|full|LO,HI",
            rich_help_panel=CONTROL,
            help="Which values are black and white; auto finds that 12-bit data lie in a 16-bit file.",
        ),
    ] = "auto",
    only_luma: Annotated[
        bool, typer.Option("--only-luma", rich_help_panel=CONTROL, help="Leave the colours as they are.")
    ] = False,
    only_chroma: Annotated[
        bool,
        typer.Option("--only-chroma", rich_help_panel=CONTROL, help="Leave the luminance: take colour noise only."),
    ] = False,
    runtime: RuntimeOption = "auto",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    max_memory: Annotated[
        str | None,
        typer.Option(
            metavar="512M",
            rich_help_panel=MACHINE,
            help="Resident memory that hush may take. Default: half of what is free.",
        ),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(metavar="PIXELS", rich_help_panel=MACHINE, help="Largest side of the tiles; by default 1280."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", rich_help_panel=MACHINE, help="Of the processor, for the network.")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(metavar="N", rich_help_panel=MACHINE, help="Pictures that are decoded and encoded at a time."),
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", rich_help_panel=FILES, help="Search folders inside folders too.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", rich_help_panel=FILES, help="Replace files that exist.")
    ] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", rich_help_panel=FILES, help="Leave out what has a result already.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", rich_help_panel=FILES, help="Say what would be written, and write nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", rich_help_panel=FILES, help="Print one JSON object per picture.")
    ] = False,
) -> None:
    """Remove the noise from pictures.

    The restored picture is written beside the input with -hush in its name,
    in the same format and bit depth; nothing is overwritten unless told.
    Pictures that fail do not stop the others; they are listed at the end.

    \b
    hush denoise photo.jpg                        writes photo-hush.jpg
    hush denoise holiday/ -o clean/               a whole folder
    hush denoise scan.tif --sigma 12 --strength 0.8
    hush denoise night.png --keep-detail          some grain, no colour noise
    curl -s URL | hush denoise - > clean.jpg
    """
    if only_luma and only_chroma:
        raise UsageError("both --only-luma and --only-chroma are given; together they are the whole picture: give none")
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]  # 0.1 s of imports that hush never uses
    from hush.imaging.ranges import read_range
    from hush.restoring.options import DenoiseOptions, read_bytes

    options = DenoiseOptions(
        sigma=read_sigma(sigma),
        strength=strength,
        weights=weights,
        runtime=runtime,
        device=device,
        precision=precision,
        tile=tile,
        threads=threads,
        overwrite=overwrite,
        keep_detail=keep_detail,
        keep_grain=keep_grain,
        only="luma" if only_luma else "chroma" if only_chroma else "all",
        mask=mask,
        skip_existing=skip_existing,
        jobs=jobs,
        range=read_range(value_range),
        max_memory=None if max_memory is None else read_bytes(max_memory),
    )
    if dry_run:
        _show_plan(inputs, out, options, recursive, as_json)
    elif PIPE in (*inputs, out):
        with _piped(inputs, out) as (source, target, folder):
            _work([source], target, options, recursive, as_json, silent=out in (None, PIPE), folder=folder)
    else:
        _work(inputs, out, options, recursive, as_json)


def _work(
    inputs: list[str],
    out: str | None,
    options: DenoiseOptions,
    recursive: bool,
    as_json: bool,
    *,
    silent: bool = False,
    folder: str = "",
) -> None:
    """Restore pictures, show each result unless ``silent``, and at the end what failed.

    Of what lies in ``folder``, which nobody needs to know of, the bare names are shown.
    """
    from hush.imaging.files import find_pictures
    from hush.restoring.denoising import FileFailure, denoise_files

    total = len(find_pictures(inputs, recursive=recursive))
    failures: list[FileFailure] = []
    done = 0
    with bar("denoising", total) as show:

        def show_tiles(tile: int, tiles: int) -> None:
            show(done + tile / tiles)

        for result in denoise_files(inputs, out, options, recursive=recursive, progress=show_tiles):
            done += 1
            show(done, description=f"{done} of {total}")
            if isinstance(result, FileFailure):
                failures.append(result)
            if not silent:
                _show_result(result, as_json, folder)
    if failures:
        _complain_of([_bare(failure.error, folder) for failure in failures], total)
        raise typer.Exit(1)


def read_sigma(text: str) -> float | None:
    """Read --sigma: a number, or auto for None.

    Raises UsageError for anything else.
    """
    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError:
        raise UsageError(
            f"sigma is {text!r}; it must be auto or a number from 0 to 255 (8-bit scale), such as 25"
        ) from None


def _bare(value: object, folder: str) -> str:
    return str(value).replace(folder, "") if folder else str(value)


def _show_result(result: FileResult | FileFailure | FileSkipped, as_json: bool, folder: str) -> None:
    from hush.restoring.denoising import FileFailure, FileSkipped

    source = _bare(result.source, folder)
    if isinstance(result, FileFailure):
        if as_json:
            say_json({"source": source, "error": _bare(result.error, folder)})
    elif isinstance(result, FileSkipped):
        if as_json:
            say_json({**vars(result), "skipped": True})
        else:
            say(f"{source}: {result.target} exists, skipped")
    elif as_json:
        say_json({**vars(result), "source": source})
    else:
        level = "" if result.sigma is None else f"sigma {result.sigma:.1f}, "
        pages = "" if result.pages == 1 else f"{result.pages} pages, "
        size = f"{level}{pages}{result.megapixels:.2f} MP, {duration(result.seconds)}"
        say(f"{source} -> {result.target}  ({size})")


def _complain_of(problems: list[str], total: int) -> None:
    if total > 1:
        complain(f"{len(problems)} of {total} pictures failed:")
    for problem in problems:
        complain(problem)


def _show_plan(inputs: list[str], out: str | None, options: DenoiseOptions, recursive: bool, as_json: bool) -> None:
    """Say what would be written."""
    from hush.restoring.denoising import plan_files

    jobs = plan_files(inputs, out, options, recursive=recursive)
    for job in jobs:
        if as_json:
            say_json(_planned(job))
        elif not job.problem:
            say(f"{job.source}: {job.target} exists, skipped" if job.skipped else f"{job.source} -> {job.target}")
    problems = [job.problem for job in jobs if job.problem]
    if problems:
        _complain_of(problems, len(jobs))
        raise typer.Exit(1)


def _planned(job: Job) -> dict[str, Any]:
    if job.problem:
        return {"source": job.source, "error": job.problem}
    return {"source": job.source, "target": job.target, **({"skipped": True} if job.skipped else {})}


@contextmanager
def _piped(inputs: list[str], out: str | None) -> Iterator[tuple[str, str, str]]:
    """Give stdin and stdout the form of files for as long as the work takes.

    Yields source, target, and the folder that is temporary, with its separator. Raises UsageError where - stands beside
    other inputs.
    """
    import os
    import shutil
    import tempfile

    if len(inputs) > 1 or Path(inputs[0]).is_dir():
        raise UsageError("- (stdin or stdout) takes one picture; name files and a folder for more")
    with tempfile.TemporaryDirectory(prefix="hush-") as folder:
        source = Path(inputs[0])
        if inputs[0] == PIPE:
            source = Path(folder, PIPE)
            with source.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
        to_stdout = out is None or out == PIPE
        target = Path(folder, f"restored{source.suffix}") if to_stdout else Path(str(out))
        yield str(source), str(target), folder + os.sep
        if to_stdout:
            with target.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
