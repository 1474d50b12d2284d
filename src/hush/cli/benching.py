"""The command ``hush bench``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hush.cli.console import bar, complain, say, show_table
from hush.cli.denoising import FLAG
from hush.errors import need

if TYPE_CHECKING:
    from hush.judging.bench.benching import Plan
    from hush.judging.bench.report import Bench

Several = list[str] | None


def bench(
    data: Annotated[
        Several,
        typer.Option(
            metavar="FOLDER",
            help="Clean pictures, or a folder that holds CBSD68, Kodak24, BSD68 or Set12, itself or in test/. May be "
            "repeated. Default: the photographs of the demo.",
        ),
    ] = None,
    degradation: Annotated[
        Several,
        typer.Option(
            metavar="CHAIN",
            help="Such as 'gaussian(sigma=25)'. May be repeated; times are those of the middle one. Default: sigma 15, "
            "25 and 50.",
        ),
    ] = None,
    weights: Annotated[
        Several,
        typer.Option(
            metavar="NAME|FILE",
            help="Ours; the name of a family stands for all its tiers. May be repeated. Default: gaussian.",
        ),
    ] = None,
    peers: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Published numbers as bare arrays: ffdnet_color.npz, ffdnet_gray.npz, cdncnn_b.npz, dncnn_b.npz. "
            "Default: peers/ beside the known data sets.",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="FOLDER", help="Folder for results, and for what is kept between runs."),
    ] = (Path("bench")),
    threads: Annotated[
        int | None, typer.Option(min=1, help="How many threads each peer may use. Default: all cores.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each of three pictures is timed.")] = 5,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N pictures of each data set.")] = None,
    slow_pictures: Annotated[
        int,
        typer.Option(min=0, help="How many pictures of each data set peers that take minutes restore; 0 for all."),
    ] = 8,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", metavar=FLAG, help="Two pictures of each set, one degradation, no slow peers: some minutes."
        ),
    ] = False,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="bench.json", help="Show and write an earlier bench; measure nothing."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.svg|png", help="Where to draw. Default: quality-time.svg in --out.")
    ] = None,
    write: Annotated[
        Several,
        typer.Option(
            metavar="PAGE.md",
            help="Put tables and plot between the lines <!-- bench: NAME --> and <!-- end of bench --> of a page; NAME "
            "is colour, gray, plot, ahead, differences, missing or protocol. May be repeated.",
        ),
    ] = None,
) -> None:
    """Measure our weights beside their peers, in one run.

    Quality, seconds per megapixel and peak memory of hush's weights at each
    tier, FFDNet and DnCNN with published numbers in OpenVINO and torch, BM3D,
    NLM, TV, wavelets, OpenCV and Open Image Denoise: all restore the same
    noisy pictures (who takes minutes, some of them), each in a process of its
    own and at its fastest setting.
    Peers that are not installed are named (pip install -r
    benchmarks/requirements.txt brings them). A bench that is stopped goes on.

    \b
    hush bench --quick
    hush bench --data DATA
    hush bench --data photos/ --degradation 'gaussian(sigma=25)' \\
               --weights runs/mine/best.onnx
    hush bench --data DATA --plot docs/images/quality-time.svg --write README.md
    """
    need("torch", "train")
    from hush.judging.bench.benching import DEGRADATIONS, Plan
    from hush.judging.bench.plotting import draw
    from hush.judging.bench.report import PARTS, Bench, parts
    from hush.judging.markdown import check, fill

    for page in write or ():  # before hours of work, not after them
        check(Path(page), "bench", PARTS)
    if source is not None:
        found = Bench.from_json(source)
    else:
        plan = Plan(
            tuple(data or ()),
            tuple(degradation or DEGRADATIONS),
            tuple(weights or ("gaussian",)),
            peers,
            out,
            threads,
            rounds,
            limit,
            slow_pictures=slow_pictures,
        )
        found = _measure(plan.quickened() if quick else plan)
        found.save(out)
    plot = plot or out / "quality-time.svg"
    draw(found, plot)
    _show(found)
    for page in write or ():
        fill(Path(page), "bench", parts(found, plot))
    say(f"Plot: {plot}. Results: {source or out}")


def _measure(plan: Plan) -> Bench:
    from hush.judging.bench.benching import bench as run

    with bar("bench") as show:
        return run(plan, lambda done, total, words: show(done, total, words))


def _show(found: Bench) -> None:
    from hush.judging.bench.report import CHANNELS, parts, table

    for channels, words in CHANNELS.items():
        heads, rows = table(found, channels)
        if rows:
            show_table(heads, [[cell.replace("*", "").replace("`", "") for cell in row] for row in rows], title=words)
    written = parts(found)
    for line in (*written["ahead"], *written["differences"], *written["protocol"]):
        say(line.removeprefix("- "))
    for entry in found.missing:
        complain(f"not in this bench: {entry['name']}: {entry['reason']}")
    for entry in found.report.summary:
        if entry["warning"] and entry["weights"] in {e["peer"] for e in found.times}:
            complain(f"WARNING: {entry['data']}, {entry['degradation']}: {entry['weights']}: {entry['warning']}")
