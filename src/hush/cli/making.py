"""The commands train, export and list, and what they share. All but list need torch."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from hush.cli.benching import bench
from hush.cli.console import complain, say, say_json
from hush.cli.denoising import FLAG, DeviceOption, weight_names
from hush.cli.evaluating import evaluate
from hush.cli.using import JsonOption
from hush.errors import HushError, MissingExtra, UsageError, need
from hush.names import nearest

PANEL = "Making denoisers"
Options = list[str] | None


def recipe_names() -> list[str]:
    """Return what completes RECIPE."""
    from hush.learning.config import shipped_recipes

    return list(shipped_recipes())


def study_names() -> list[str]:
    """Return what completes STUDY."""
    from hush.judging.plans import shipped_studies

    return list(shipped_studies())


def search_names() -> list[str]:
    """Return what completes SEARCH."""
    from hush.judging.search import shipped_searches

    return list(shipped_searches())


def section_names() -> list[str]:
    """Return what completes `hush list`."""
    from hush.cli.listing import SECTIONS

    return list(SECTIONS)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (train, evaluate, bench, study, search, export):
        app.command(rich_help_panel=PANEL)(command)
    app.command("list", rich_help_panel=PANEL)(list_parts)


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            autocompletion=recipe_names,
            help="A .toml or .json file, or the name of a recipe that ships (see: hush list recipes). "
            "Also a config.json of the older five-key framework, with its own spelling: datset, load_weigth_path.",
        ),
    ],
    settings: Annotated[
        Options, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Run directory. Default: runs/NAME.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", metavar=FLAG, help="Go on from the run directory's checkpoint.")
    ] = False,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="WEIGHTS",
            autocompletion=weight_names,
            help="Start from these weights; PART=WEIGHTS for a part of the network.",
        ),
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Train a denoiser by a recipe.

    The run directory gets the resolved recipe, the log, curves, samples, a
    checkpoint, and the best and last weights, which hush denoise runs.
    Ctrl-C ends a training so that --resume goes on with it.

    \b
    hush train gaussian --set data.root=PICTURES --set length.minutes=30
    hush train my.toml --out runs/mine --resume
    hush train my.toml --from gaussian --set optimiser.rate=1e-4
    torchrun --nproc-per-node 2 -m hush train my.toml
    hush denoise photo.jpg --weights runs/mine/best.onnx
    """
    need("torch", "train")
    from hush.cli.following import follow
    from hush.learning.foreign import read_order
    from hush.learning.training import train as train_by

    order = read_order(recipe, settings or ())
    name = order.recipe.name
    folder = out or Path(order.out or Path("runs") / name)
    device = order.device if order.device and device == "auto" else device
    start = start or (None if resume else order.start)  # a file that names weights to start from may be resumed
    reports = train_by(order.recipe, folder, resume=resume, start=start, device=device)
    follow(reports, name, folder)


def study(
    source: Annotated[
        str,
        typer.Argument(
            metavar="STUDY",
            autocompletion=study_names,
            help="A .toml file, or the name of a study that ships (see: hush list studies).",
        ),
    ],
    settings: Annotated[
        Options,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a key of the study, or of its base recipe. Repeatable."
        ),
    ] = None,
    setting: Annotated[
        str,
        typer.Option(
            metavar="smoke|quick|full|...",
            help="smoke: seconds; quick: minutes; full: all. Some have more (long, small, vgg16, cifar10, ...), "
            "joined by commas; see the head of the study's file.",
        ),
    ] = "full",
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder of runs and report. Default: studies/NAME-SETTING.")
    ] = None,
    tables: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write NAME.json and NAME.md there too; text around the tables is kept."),
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Train several denoisers, judge them on the same pictures, and report.

    Writes NAME.html (tables, charts, loss maps, pictures), NAME.json and
    NAME.md. What is trained already is not trained again: after Ctrl-C or a
    kill the same command goes on.

    \b
    hush study o2-models --setting smoke
    hush study o2-models --set data.root=STL10 --set length.steps=500
    hush study my-study.toml --out studies/mine
    """
    need("torch", "train")
    from hush.cli.following import follow_study
    from hush.judging.plans import read_study
    from hush.judging.report import save_report
    from hush.judging.study import run_study

    plan = read_study(source, setting=setting, overrides=settings or ())
    folder = out or Path("studies") / f"{plan.name}-{setting}"
    words = ["hush", "study", source, *(["--setting", setting] if setting != "full" else [])]
    words += [word for text in settings or () if "root=" not in text for word in ("--set", text)]
    findings = follow_study(run_study(plan, folder, device=device), plan.name)
    page = save_report(findings, folder, command=shlex.join(words), tables=tables)
    say(f"Report: {page}; figures: {page.with_suffix('.json')}, {page.with_suffix('.md')}")


def search(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SEARCH",
            autocompletion=search_names,
            help="A .toml file, or the name of a search that ships (see: hush list searches).",
        ),
    ],
    settings: Annotated[
        Options,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a key of the search, or of its base recipe. Repeatable."
        ),
    ] = None,
    setting: Annotated[str, typer.Option(metavar="smoke|full", help="How much of it: seconds, or all.")] = "full",
    trials: Annotated[int | None, typer.Option(help="How many choices of values to try, over all calls.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder of trials and report. Default: searches/NAME-SETTING.")
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Search for good settings of a recipe. Needs the extra "search".

    Trials that fall behind are ended early. After Ctrl-C or a kill the same
    command goes on, and more --trials go on from those that there are.
    Writes best.json, a recipe for hush train, and NAME.html.

    \b
    hush search o5-autoencoder --setting smoke
    hush search my-search.toml --set data.root=PAIRS --trials 40
    hush train searches/my-search-full/best.json --set length.steps=20000
    """
    need("optuna", "search")
    need("torch", "search")
    from hush.cli.following import follow_search
    from hush.judging.search import read_search, run_search

    more = [f"trials={trials}"] if trials is not None else []
    plan = read_search(source, setting=setting, overrides=[*(settings or ()), *more])
    folder = out or Path("searches") / f"{plan.name}-{setting}"
    follow_search(run_search(plan, folder, device=device), plan, folder)


def export(
    weights: Annotated[
        str,
        typer.Argument(
            metavar="WEIGHTS",
            autocompletion=weight_names,
            help="A name, an .onnx file of hush, a run's .safetensors, or NETWORK@FILE for bare arrays.",
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE.onnx", help="Where to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", metavar=FLAG, help="Replace a file that exists.")] = False,
    other: Annotated[
        str | None,
        typer.Option("--blend", metavar="WEIGHTS", help="Blend with these weights of the same network; see --share."),
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(metavar="0..1", help="How much of --blend: 0 is none of it, 1 nothing else.", show_default="0.5"),
    ] = None,
) -> None:
    """Write weights as an ONNX file, which runs without torch.

    The file takes pictures of any size, one or many at a time. It is run and
    compared with torch before it appears.

    \b
    hush export runs/mine/best.safetensors -o mine.onnx
    hush export ffdnet@ffdnet_color.npz -o ffdnet.onnx
    hush export faithful.safetensors --blend crisp.safetensors --share 0.3 -o mine.onnx
    """
    need("torch", "train")
    from hush.learning.exporting import export as write_onnx
    from hush.learning.torch_runtime import open_network
    from hush.restoring.weights import WEIGHTS

    if out.suffix != ".onnx":
        raise UsageError(f"{out}: an exported file is named .onnx, such as {out.with_suffix('.onnx')}")
    if out.exists() and not overwrite:
        raise HushError(f"{out}: exists already; add --overwrite to replace it")
    if share is not None and other is None:
        raise UsageError("--share says how much of --blend is taken; name that too")
    if (entry := WEIGHTS.get(weights)) and entry.ensemble:
        raise UsageError(
            f"{weights} is the mean over eight views, which no file holds; export {Path(entry.file).stem}, and take "
            "the mean with --quality best"
        )
    network, card = open_network(weights)
    if other is not None:
        from hush.learning.blending import blend

        network, card = blend((network, card), open_network(other), 0.5 if share is None else share)
    path = write_onnx(network, card, out)
    say(f"{path}: {card.network}, {path.stat().st_size / 1e6:.1f} MB; it gives what torch gives")


def list_parts(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="WHAT",
            autocompletion=section_names,
            help="One of networks, classifiers, discriminators, noises, losses, metrics, datasets, methods, runtimes, "
            "weights, recipes, studies, searches. Default: all.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the parts that there are, with their options.

    Wherever a name is taken, module:attribute is taken too.

    \b
    hush list
    hush list noises
    """
    from hush.cli.listing import SECTIONS, list_section

    if what is not None and what not in SECTIONS:
        raise UsageError(f"{what!r} is no list{nearest(what, SECTIONS)}. Known: {', '.join(SECTIONS)}")
    listed, left_out = {}, {}
    for name in [what] if what else SECTIONS:
        try:
            listed[name] = list_section(name)
        except MissingExtra as error:
            if what:
                raise
            left_out[name] = error
    if left_out:
        complain(f"{', '.join(left_out)} are left out: {next(iter(left_out.values()))}")
    if as_json:
        say_json(listed, indent=1)
        return
    for name, parts in listed.items():
        say(name)
        for part in parts:
            options = f"({part['options']})" if part["options"] else ""
            say(f"  {part['name']}{options}")
            if part["summary"]:
                say(f"      {part['summary']}")
