"""Commands for those who have a noisy picture: denoise, estimate, demo, doctor. They need no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hush.cli.console import bar, complain, duration, number, say, say_json, show_table
from hush.errors import HushError, UsageError

if TYPE_CHECKING:
    from hush.restoring.demonstration import Demonstration
    from hush.restoring.denoising import FileFailure, FileResult

PANEL = "Pictures"


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
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (denoise, estimate, demo, doctor):
        app.command(rich_help_panel=PANEL)(command)


def denoise(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT", help="Pictures, folders or globs.")],
    out: Annotated[
        str | None,
        typer.Option("-o", "--out", help="A file for one picture, or a folder. Default: beside the input."),
    ] = None,
    weights: WeightsOption = "gaussian",
    sigma: Annotated[
        str,
        typer.Option(metavar="N|auto", help="Deviation of the noise on the 8-bit scale, 0 to 255; auto estimates it."),
    ] = "auto",
    strength: Annotated[
        float, typer.Option(metavar="0..1", help="How much of the change to keep; 0 returns the input.")
    ] = 1.0,
    runtime: RuntimeOption = "auto",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    recursive: Annotated[bool, typer.Option("--recursive", help="Search folders inside folders too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per picture.")] = False,
) -> None:
    """Remove the noise from pictures.

    The restored picture is written beside the input with -hush in its name,
    in the same format and bit depth; nothing is overwritten unless told.
    Pictures that fail do not stop the others; they are listed at the end.

    \b
    hush denoise photo.jpg                        writes photo-hush.jpg
    hush denoise holiday/ -o clean/               a whole folder
    hush denoise scan.tif --sigma 12 --strength 0.8
    hush denoise 'raw/*.png' -o out/ --weights runs/mine/best.onnx
    """
    from hush.imaging.files import find_pictures
    from hush.restoring.denoising import DenoiseOptions, FileFailure, denoise_files

    options = DenoiseOptions(
        sigma=read_sigma(sigma),
        strength=strength,
        weights=weights,
        runtime=runtime,
        device=device,
        precision=precision,
        overwrite=overwrite,
    )
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
            _show_result(result, as_json)
    if failures:
        _complain_of(failures, total)
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


def _show_result(result: FileResult | FileFailure, as_json: bool) -> None:
    from hush.restoring.denoising import FileFailure

    if isinstance(result, FileFailure):
        if as_json:
            say_json({"source": result.source, "error": str(result.error)})
    elif as_json:
        say_json(vars(result))
    else:
        level = "" if result.sigma is None else f"sigma {result.sigma:.1f}, "
        say(f"{result.source} -> {result.target}  ({level}{result.megapixels:.2f} MP, {duration(result.seconds)})")


def _complain_of(failures: list[FileFailure], total: int) -> None:
    if total > 1:
        complain(f"{len(failures)} of {total} pictures failed:")
    for failure in failures:
        complain(str(failure.error))


def estimate(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Pictures, folders or globs.")],
    as_json: JsonOption = False,
) -> None:
    """Say how noisy pictures are.

    Prints the deviation of the white noise on the 8-bit scale, whatever the
    depth; how alike the noise of neighbours is (0 white, 0.5 to 0.8 from a
    camera's JPEG); and the level with the correlated part.

    \b
    hush estimate photo.jpg
    hush estimate holiday/ --json
    """
    from hush.imaging.files import find_pictures

    rows: list[dict[str, Any]] = []
    failures: list[str] = []
    for path in find_pictures(files):
        try:
            rows.append(_estimate(path))
        except HushError as error:
            failures.append(str(error))
    if as_json:
        say_json(rows, indent=1)
    elif rows:
        show_table(
            ["picture", "sigma", "per channel", "correlation", "total"],
            [[str(r["file"]), *_estimate_row(r)] for r in rows],
        )
    for failure in failures:
        complain(failure)
    if failures:
        raise typer.Exit(1)


def _estimate_row(entry: dict[str, Any]) -> list[str]:
    channels = "  ".join(number(sigma, 2) for sigma in entry["sigmas"])
    return [number(entry["sigma"], 2), channels, number(entry["correlation"], 2), number(entry["total"], 2)]


def _estimate(path: Path) -> dict[str, Any]:
    from hush.imaging.arrays import decode
    from hush.imaging.estimation import estimate_noise
    from hush.imaging.files import read

    picture = read(path)
    image, _ = decode(picture.pixels, full_scale=picture.full_scale, cmyk=picture.cmyk)
    return {"file": path, **vars(estimate_noise(image))}


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the pictures and the page.")] = Path("hush-demo"),
    weights: WeightsOption = "gaussian",
) -> None:
    """Denoise photographs that ship, and show how well it went.

    Adds the noise of a camera to free photographs, restores them without being
    told the noise level, prints PSNR and SSIM before and after, and writes the
    pictures and a page with before/after sliders. Takes seconds.
    """
    from hush.restoring.demonstration import SCENES, demonstrate, save_page, save_pictures

    shown = []
    with bar("denoising", len(SCENES)) as show:
        for demonstration in demonstrate(weights):
            save_pictures(demonstration, out)
            shown.append(demonstration)
            show(len(shown))
    page = save_page(shown, out, weights=weights)
    show_table(
        ["picture", "noise", "PSNR noisy", "restored", "SSIM noisy", "restored", "seconds"],
        [_demo_row(demonstration) for demonstration in shown],
        left=(0, 1),
    )
    say(f"Pictures: {out}. Page with sliders: {page}")


def _demo_row(shown: Demonstration) -> list[str]:
    figures = [number(v, 2) for v in shown.psnr] + [number(v, 3) for v in shown.ssim] + [number(shown.seconds, 2)]
    return [shown.scene.name, shown.scene.noise, *figures]


def doctor(as_json: JsonOption = False) -> None:
    """Say what this machine has, and what would denoise pictures on it.

    Exit code 1 if nothing could.
    """
    from hush.cli.machine import examine

    findings = examine()
    if as_json:
        say_json(findings, indent=1)
    else:
        for section, facts in findings.items():
            say(section)
            for name, value in facts.items():
                say(f"  {name:<12} {value}")
    if "problem" in findings["denoising"]:
        raise typer.Exit(1)
