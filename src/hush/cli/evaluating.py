"""The command ``hush evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hush.cli.console import bar, complain, number, say, show_table
from hush.cli.denoising import FLAG, DeviceOption, PrecisionOption, QualityOption, RuntimeOption, weight_names
from hush.errors import UsageError

if TYPE_CHECKING:
    from hush.judging.results import Report


def evaluate(
    weights: Annotated[
        list[str],
        typer.Option(
            "--weights",
            metavar="NAME|FILE",
            autocompletion=weight_names,
            help="Weights by name or file, NETWORK@FILE for bare arrays, identity, or "
            "classical:nlm (tv, wavelet, median, bm3d). May be repeated; differences are to the first.",
        ),
    ],
    data: Annotated[
        list[str],
        typer.Option(
            "--data",
            metavar="DATA",
            help="A folder of clean pictures, pairs:NOISY,CLEAN, or sidd:FOLDER (SIDD's validation blocks). "
            "May be repeated.",
        ),
    ],
    degradation: Annotated[
        list[str] | None,
        typer.Option(metavar="CHAIN", help="Noise for clean pictures, such as 'gaussian(sigma=25)'. May be repeated."),
    ] = None,
    metrics: Annotated[str, typer.Option(help="Names with commas; see: hush list metrics.")] = "psnr,ssim",
    scenes: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="Regular expression; its one group is the scene in a picture's path. Intervals are then over scenes.",
        ),
    ] = None,
    sigma: Annotated[
        str,
        typer.Option(
            metavar="given|auto|N",
            help="What the restorer is told: given is the true level, auto nothing, N that number.",
        ),
    ] = "given",
    clip: Annotated[
        bool, typer.Option("--clip", metavar=FLAG, help="Clip noisy pictures to [0, 1]; the field does not.")
    ] = False,
    quantise: Annotated[
        bool, typer.Option("--quantise", metavar=FLAG, help="Round noisy pictures to 8 bit; the field does not.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the noise that is added.")] = 0,
    limit: Annotated[int | None, typer.Option(help="Take only the first N pictures of each data set.")] = None,
    quality: QualityOption = "balanced",
    runtime: RuntimeOption = "auto",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="How many threads of the processor a network may use; all cores by default."),
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write protocol, rows and summary; - for stdout.")
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the rows; - for stdout.")] = None,
) -> None:
    """Measure weights on pictures, by the protocol of the field.

    Prints means with 95 % intervals, differences picture by picture, and the protocol.
    Needs the extra "train", since the noise is made as in training.

    \b
    hush evaluate --weights gaussian --weights classical:nlm \\
                  --data CBSD68 --degradation 'gaussian(sigma=25)'
    hush evaluate --weights runs/mine/best.onnx --data pairs:noisy,clean
    hush evaluate --weights ffdnet@ffdnet_color.npz --data CBSD68 \\
                  --degradation 'gaussian(sigma=50)' --json figures.json
    """
    from hush.judging.evaluation import evaluate as judge
    from hush.restoring.tiers import choose_weights

    for name in weights:
        if word := choose_weights(name, quality).word:
            complain(word)
    json_file, csv_file = _checked(json), _checked(csv)
    if json is not None and json == csv:
        raise UsageError(f"--json and --csv are both {json}; name two files, or - for one of them")
    with bar("judging") as show:
        report = judge(
            weights,
            data,
            degradations=degradation or (),
            metrics=[name.strip() for name in metrics.split(",")],
            scenes=scenes,
            clip=clip,
            quantise=quantise,
            seed=seed,
            sigma=sigma,
            quality=quality,
            runtime=runtime,
            device=device,
            precision=precision,
            threads=threads,
            limit=limit,
            progress=show,
        )
    if json is not None and json_file is None:
        say(report.to_json())
    elif csv is not None and csv_file is None:
        say(report.to_csv().rstrip("\n"))
    else:
        _show_report(report)
    report.save(json=json_file, csv=csv_file)
    for entry in report.summary:
        if entry["warning"]:
            complain(f"WARNING: {_case(entry)}: {entry['weights']}: {entry['warning']}")


def _checked(target: Path | None) -> Path | None:
    """Return a file to write figures to, None for stdout; raises UsageError for what must not or cannot be replaced."""
    if target is None or str(target) == "-":
        return None
    from hush.imaging.finding import is_picture

    if target.is_dir():
        raise UsageError(f"{target}: a folder; name a file in it")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"{target}: its folder is not there; make it first")
    if target.exists() and is_picture(target):
        raise UsageError(f"{target}: a picture, which figures would replace; name another file")
    return target


def _show_report(report: Report) -> None:
    metrics = report.metrics
    headers = ["weights", "n", *(f"{name} [95 %]" for name in metrics), *(f"{name} of input" for name in metrics)]
    for case in dict.fromkeys(map(_case, report.summary)):
        show_table(
            [*headers, "s/MP"],
            [
                [e["weights"], str(e["n"])]
                + [_with_interval(e, name) for name in metrics]
                + [number(e[f"{name}_input"], _decimals(name)) for name in metrics]
                + [number(e["seconds_per_megapixel"], 3)]
                for e in report.summary
                if _case(e) == case
            ],
            title=case,
        )
    if report.differences:
        show_table(
            ["weights", "on", *(f"{name} [95 %]" for name in metrics)],
            [[e["weights"], _case(e), *(_with_interval(e, name, "+") for name in metrics)] for e in report.differences],
            title=f"Minus {report.differences[0]['baseline']}, picture by picture",
            left=(0, 1),
        )
    for sentence in report.protocol["words"]:
        say(sentence)


def _case(entry: dict[str, Any]) -> str:
    return ", ".join(filter(None, [entry["data"], entry["degradation"]]))


def _with_interval(entry: dict[str, Any], name: str, sign: str = "") -> str:
    interval = entry[f"{name}_interval"]
    decimals = _decimals(name)
    low_high = "" if interval is None else " [" + ", ".join(f"{v:{sign}.{decimals}f}" for v in interval) + "]"
    counted = entry.get(f"{name}_n", entry["n"])  # of a difference: pictures where one figure is infinite are left out
    left_out = f" ({counted} of {entry['n']})" if counted < entry["n"] else ""
    return f"{entry[name]:{sign}.{decimals}f}{low_high}{left_out}"


def _decimals(name: str) -> int:
    return 2 if name == "psnr" else 4
