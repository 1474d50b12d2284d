"""Run a study: train what is not trained yet, go on with what was broken off, judge all on the same pictures."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hush.errors import HushError, RecipeError
from hush.judging.findings import Findings, RunFindings
from hush.judging.judged import judge_run, open_judged_items
from hush.judging.leakage import check_leakage
from hush.judging.metrics import open_metric
from hush.judging.plans import Evaluation, RunPlan, Study, plan_runs
from hush.learning.checking import check_parts, check_recipe
from hush.learning.checkpoints import load_state
from hush.learning.config import Recipe
from hush.learning.datasets import Item, name_some, open_dataset, split
from hush.learning.methods import restores
from hush.learning.networks import build_classifier, build_network
from hush.learning.networks.sizes import Size, measure_size
from hush.learning.noise import Degradation
from hush.learning.training import Progress, train
from hush.restoring.weights import fetch, is_address, open_weights


@dataclass(frozen=True)
class StudyProgress:
    """What a running study reports."""

    stage: str
    """training, judging or finished."""
    name: str
    """Of the training, with its seed where it has several."""
    share: float
    """How much of the study is done, in [0, 1]; judging counts as nothing."""
    training: Progress | None = None
    findings: Findings | None = None
    """In the last report."""

    def __str__(self) -> str:
        where = f"{self.share:4.0%}  {self.stage} {self.name}".rstrip()
        if self.training is None:
            return where
        losses = "  ".join(f"{name} {value:.4g}" for name, value in self.training.losses.items())
        judged = "  ".join(f"{name} {value:.4g}" for name, value in (self.training.validation or {}).items())
        return "  ".join(filter(None, [where, f"step {self.training.step}", losses, judged]))


def run_study(study: Study, out: str | Path, *, device: str = "auto") -> Generator[StudyProgress, None, None]:
    """Run a study into a folder, yielding its progress; the last report holds the findings.

    A run that is finished is not trained again, one that was broken off goes on from its checkpoint: a run's folder
    carries a hash of its recipe, so a study may be changed and run again in the same place.

    Args:
        study: what to compare.
        out: gets a run directory for each training and seed below ``runs/``.
        device: auto, cpu, cuda or mps.

    Raises HushError for whatever is unknown or missing, before any training starts; RecipeError where a training learns
    from pictures that it is judged on, or has its best weights chosen by them.

    Example:
        >>> for progress in run_study(read_study("o2-models", setting="smoke"), "out"):  # doctest: +SKIP
        ...     print(progress)
    """
    runs = plan_runs(study)
    sizes = check_study(study)
    items = {name: open_judged_items(evaluation) for name, evaluation in study.evaluations.items()}
    check_leakage(study, items)
    folders: dict[str, Path] = {}
    for run in runs:  # trainings that differ only in how they are judged share a run
        folders.setdefault(run.identity, Path(out) / "runs" / run.folder)
    found = []
    for number, run in enumerate(runs):
        folder, name = folders[run.identity], run_name(run)
        for progress in _trained(run, folders, device):
            yield StudyProgress("training", name, (number + progress.share) / len(runs), progress)
        yield StudyProgress("judging", name, (number + 1) / len(runs))
        judged = {
            evaluation.name: judge_run(
                folder,
                study.weights,
                run.recipe,
                evaluation,
                items[evaluation.name],
                device,
                metrics=study.metrics,
                ensemble=run.training.ensemble,
            )
            for evaluation in evaluations_of(study, run)
        }
        found.append(RunFindings(run, folder, sizes[run.training.name], judged))
    yield StudyProgress("finished", study.name, 1.0, findings=Findings(study, found))


def run_name(run: RunPlan) -> str:
    """Return the name of a training, with its seed where it has several."""
    several = len(run.training.seeds) > 1
    return f"{run.training.name}, seed {run.recipe.seed}" if several else run.training.name


def evaluations_of(study: Study, run: RunPlan) -> list[Evaluation]:
    """Return what a run is judged under."""
    names = run.training.evaluations or study.evaluations
    return [study.evaluations[name] for name in names]


def _trained(run: RunPlan, folders: dict[str, Path], device: str) -> Generator[Progress, None, None]:
    """Train a run, or go on with it, unless it is finished."""
    start: str | None = None
    if run.start is not None:
        source = run.start
        path = folders[source.identity] / "last.safetensors" if isinstance(source, RunPlan) else source
        start = f"{run.training.start_parts()[0]}{path}"
    yield from train_into(run.recipe, folders[run.identity], start=start, device=device)


def train_into(
    recipe: Recipe, folder: Path, *, start: str | None = None, device: str = "auto"
) -> Generator[Progress, None, None]:
    """Train into a folder, or go on with what was broken off there; do nothing if it is finished."""
    if (folder / "last.safetensors").exists():  # the last thing that a training writes
        _check_held_out(recipe, folder)
        return
    resume = (folder / "checkpoint.safetensors").exists()
    if folder.exists() and not resume:  # broken off before its first checkpoint
        shutil.rmtree(folder)
    start = None if resume else start  # the checkpoint is further on
    yield from train(recipe, folder, resume=resume, start=start, device=device, extras=False)


def _check_held_out(recipe: Recipe, folder: Path) -> None:
    """Raise RecipeError if other pictures are held out now than in a finished training: it may know them."""
    checkpoint = folder / "checkpoint.safetensors"
    before = load_state(checkpoint).get("held_out") if checkpoint.exists() else None
    if before is None:
        return
    data = open_dataset(recipe.data.set, recipe.data.root)
    held = split(data, str(recipe.data.validation), recipe.data.validation_pictures).test
    if others := sorted({item.name for item in held} - set(before)):
        raise RecipeError(
            f"{folder}: trained when other pictures were held out; {name_some(others)} may have been learnt from. "
            "Bring data.validation and the pictures back as they were, or remove that folder to train anew"
        )


def check_study(study: Study) -> dict[str, Size]:
    """See that all that a study names is there; return the size of each training's network.

    Raises HushError for the first thing that is not: network, method, noise, loss, data set, weights.
    """
    sizes = {}
    opened: dict[tuple[str, str], Sequence[Item]] = {}
    for name, plan in study.trainings.items():
        recipe = plan.recipe
        try:
            check_recipe(recipe)
            check_parts(recipe)
            restorer = restores(recipe.method)
            build = build_network if restorer else build_classifier
            sizes[name] = measure_size(recipe.network, build, restorer=restorer)
            place = (recipe.data.set, recipe.data.root)
            if place not in opened:
                opened[place] = open_dataset(*place).train
            source = plan.start_parts()[1]
            if is_address(source):
                fetch(source)
            elif source and source not in study.trainings and not Path(source).is_file():
                open_weights(source)
        except HushError as error:
            raise type(error)(f"trainings.{name}: {error}") from error
    for evaluation in study.evaluations.values():
        if evaluation.degradation:
            Degradation(evaluation.degradation)
    for name in study.metrics:
        open_metric(name)(*np.zeros((2, 32, 32, 3), np.float32))
    return sizes
