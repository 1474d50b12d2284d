"""Commands for those who have a noisy picture: denoise, estimate, demo, serve, doctor. They need no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hush.cli.console import bar, complain, number, say, say_json, show_table, trace
from hush.cli.denoising import FLAG, DenoiseCommand, WeightsOption, denoise
from hush.cli.serving import serve
from hush.errors import HushError

if TYPE_CHECKING:
    from hush.restoring.demonstration import Demonstration

PANEL = "Pictures"
JsonOption = Annotated[bool, typer.Option("--json", metavar=FLAG, help="Print JSON, for programs.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command(cls=DenoiseCommand, rich_help_panel=PANEL)(denoise)
    for command in (estimate, demo, serve, doctor):
        app.command(rich_help_panel=PANEL)(command)


def estimate(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Pictures, folders or globs; - is stdin.")],
    recursive: Annotated[
        bool, typer.Option("--recursive", metavar=FLAG, help="Search folders inside folders too.")
    ] = False,
    details: Annotated[bool, typer.Option("--details", metavar=FLAG, help="Print all that was found.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say how noisy pictures are.

    In words: clean, light, strong or very strong, and of what kind; the level,
    which is the deviation of the noise on the 8-bit scale, whatever the depth;
    and the quality of a JPEG. What a camera smoothed or a JPEG hides is hard to
    see: a picture called clean may still gain, and hardly changes otherwise.

    With --details also the level of what is as fine as a pixel, and that of
    each channel; how alike the noise of neighbours is (0 white, 0.5 to 0.8 from
    a camera's JPEG); the level that hush denoise would tell weights that want
    to be told; and how the noise's variance depends on brightness (0 to 255).

    \b
    hush estimate photo.jpg
    hush estimate holiday/ --details
    hush estimate holiday/ --json
    """
    from hush.cli.pictures import stdin_as_file
    from hush.imaging.finding import find_nothing, find_pictures
    from hush.restoring.estimating import estimate_file

    rows: list[dict[str, Any]] = []
    failures: list[str] = []
    with stdin_as_file(files) as (named, hidden):
        for path in find_pictures(named, recursive=recursive, results=True):  # to compare before and after
            try:
                rows.append({"file": Path(hidden.get(str(path), path)), **estimate_file(path)})
            except HushError as error:
                trace(error)
                failures.append(str(error).replace(str(path), hidden.get(str(path), str(path))))
    failures += [f"{name}: no pictures found" for name in find_nothing(files, recursive=recursive) if name != "-"]
    if as_json:
        say_json(rows, indent=1)
    elif details:
        for row in rows:
            say(f"{row['file']}: {row['verdict']}, {row['kind']}")
            for name, value in _estimate_details(row).items():
                say(f"  {name:<12} {value}")
    elif rows:
        show_table(["picture", "noise", "level", "JPEG", "kind"], [_estimate_row(r) for r in rows], left=(0, 1, 4))
    for failure in failures:
        complain(failure)
    if failures:
        raise typer.Exit(1)


def _estimate_row(entry: dict[str, Any]) -> list[str]:
    return [str(entry["file"]), entry["verdict"], number(entry["total"], 1), _quality(entry), entry["kind"]]


def _quality(entry: dict[str, Any]) -> str:
    return "–" if entry["jpeg_quality"] is None else str(entry["jpeg_quality"])


def _estimate_details(entry: dict[str, Any]) -> dict[str, str]:
    gain, offset = (number(sum(entry[name]) / max(1, len(entry[name])), 2) for name in ("gains", "offsets"))
    return {
        "level": number(entry["total"], 2),
        "finest": number(entry["sigma"], 2),
        "channels": "  ".join(number(sigma, 2) for sigma in entry["sigmas"]),
        "correlation": number(entry["correlation"], 2),
        "told": number(entry["told"], 2),
        "variance": f"{gain} x value + {offset}" if entry["varies"] else "alike in all tones, as far as was found",
        "JPEG": _quality(entry),
    }


def demo(
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FOLDER", help="Folder for the pictures and the page.")
    ] = Path("hush-demo"),
    weights: WeightsOption = "auto",
) -> None:
    """Denoise photographs that ship, and show how well it went.

    Adds white noise to one free photograph, and that of a simulated camera to
    three; restores them without being told the noise level, prints PSNR and
    SSIM before and after, and writes the pictures and a page with before/after
    sliders. Takes seconds.
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
        ["picture", "noise", "PSNR\nnoisy", "\nrestored", "SSIM\nnoisy", "\nrestored", "\nseconds"],
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
