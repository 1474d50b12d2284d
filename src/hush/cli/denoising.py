"""The options of ``hush denoise``, as typer reads and explains them; what it does stands in ``pictures``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from hush.errors import UsageError

DETAIL = "0.5"  # what --keep-detail without a number means
FLAG = ""  # the metavar of an option that takes nothing, for which typer would show a type
CONTROL, MACHINE, FILES = "Control", "Machine", "Files"


def weight_names() -> list[str]:
    """Return what completes --weights."""
    from hush.restoring.classical import CLASSICAL
    from hush.restoring.weights import WEIGHTS

    return [*WEIGHTS, "identity", *(f"classical:{name}" for name in CLASSICAL)]


WeightsOption = Annotated[
    str,
    typer.Option(
        "--weights",
        metavar="NAME|FILE",
        autocompletion=weight_names,
        help="Weights by name (see: hush list weights), an .onnx file of hush, a run's .safetensors, "
        "NETWORK@FILE for bare arrays, classical:nlm (tv, wavelet, median, bm3d), or identity. "
        "auto: chosen for each picture by its noise: gaussian if it is white, stronger than sigma 4, and equal in all "
        "channels or growing with brightness, or if --sigma is given; else photo.",
    ),
]
QualityOption = Annotated[
    str,
    typer.Option(
        "--quality",
        metavar="fast|balanced|best",
        help="Which weights of the family: fast takes a third of the time, best 8 to 15 times as long.",
    ),
]
RuntimeOption = Annotated[
    str,
    typer.Option(
        "--runtime",
        metavar="auto|openvino|torch|onnx",
        help="What runs the weights; auto is openvino, and torch where --device is cuda or mps.",
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
        typer.Option(
            "-o",
            "--out",
            metavar="FILE|FOLDER|-",
            help="A file for one picture, a folder, or - for stdout. Default: beside INPUT.",
        ),
    ] = None,
    weights: WeightsOption = "auto",
    quality: QualityOption = "balanced",
    sigma: Annotated[
        str,
        typer.Option(
            metavar="N|auto",
            rich_help_panel=CONTROL,
            help="Deviation of the noise on the 8-bit scale, 0 to 255; auto leaves it to hush.",
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
        bool, typer.Option("--only-luma", metavar=FLAG, rich_help_panel=CONTROL, help="Leave the colours as they are.")
    ] = False,
    only_chroma: Annotated[
        bool,
        typer.Option(
            "--only-chroma", metavar=FLAG, rich_help_panel=CONTROL, help="Leave the luminance: take colour noise only."
        ),
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
        int | None,
        typer.Option(
            metavar="N",
            rich_help_panel=MACHINE,
            help="How many threads of the processor the network may use; all cores by default.",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            rich_help_panel=MACHINE,
            help="Pictures that are decoded and encoded at a time. Default: one for each core, at most 4; 1 with "
            "--max-memory.",
        ),
    ] = None,
    recursive: Annotated[
        bool,
        typer.Option("--recursive", metavar=FLAG, rich_help_panel=FILES, help="Search folders inside folders too."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", metavar=FLAG, rich_help_panel=FILES, help="Replace files that exist.")
    ] = False,
    skip_existing: Annotated[
        bool,
        typer.Option(
            "--skip-existing", metavar=FLAG, rich_help_panel=FILES, help="Leave out what has a result already."
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", metavar=FLAG, rich_help_panel=FILES, help="Say what would be written, and write nothing."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", metavar=FLAG, rich_help_panel=FILES, help="Print one JSON object per picture.")
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
    from hush.cli.pictures import Request, restore
    from hush.imaging.ranges import read_range
    from hush.restoring.options import DenoiseOptions, read_bytes, read_sigma

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
        quality=quality,
    )
    raise typer.Exit(restore(Request(inputs, out, options, recursive, dry_run, as_json)))
