"""Search for good settings of a recipe: trials drawn by Optuna, poor ones ended early, broken-off ones gone on with.

A search is a TOML file. ``[base]`` is a recipe; ``[space]`` says between what its keys are searched;
``[settings.NAME]`` lays tables over the whole file, as in a study. Bergstra et al., Algorithms for Hyper-Parameter
Optimization, NIPS 2011 (the tree of Parzen estimators); Golovin et al., Google Vizier, KDD 2017 (the median rule).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from hush.errors import HushError, RecipeError, TrainingError, UsageError, need
from hush.imaging.writing import write_text
from hush.judging.plans import RunPlan, TrainingPlan
from hush.judging.study import train_into
from hush.learning.checking import check_recipe
from hush.learning.config import (
    Recipe,
    build,
    find_recipe,
    merge,
    override,
    read_tables,
    shipped_recipes,
    to_dict,
)
from hush.learning.datasets import open_dataset
from hush.learning.methods import restores
from hush.learning.runs import read_log
from hush.learning.training import Progress
from hush.names import nearest

FOLDER = "searches"
NOTE = (
    "trials are chosen by the data set's own test pictures, which then flatter the best one: set data.validation to a "
    "number, so that others are held out of what is learnt from"
)
DRAWN_FIRST = 5  # trials drawn at random, before there is anything to learn from


@dataclass(frozen=True)
class Span:
    """Numbers from ``low`` to ``high``: whole ones where both are."""

    low: float
    high: float
    log: bool = False
    """Draw evenly in the logarithm."""


Choices = tuple[Any, ...]


@dataclass(frozen=True)
class Search:
    """A recipe and between what its keys are searched."""

    name: str
    base: Recipe
    space: Mapping[str, Span | Choices]
    """By dotted key, such as ``optimiser.rate``."""
    title: str = ""
    summary: str = ""
    needs: str = ""
    """Time and machine that this setting takes."""
    setting: str = "full"
    trials: int = 20
    seed: int = 0

    @property
    def figure(self) -> str:
        """Return what is to be as high as possible: of the last validation, PSNR or a classifier's accuracy."""
        return "psnr" if restores(self.base.method) else "accuracy"

    @property
    def identity(self) -> str:
        """Return the name under which trials are kept: other recipes and spaces have other ones."""
        space = {key: vars(value) if isinstance(value, Span) else value for key, value in self.space.items()}
        text = json.dumps([to_dict(self.base), space], sort_keys=True)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"

    def recipe(self, values: Mapping[str, Any]) -> Recipe:
        """Return the recipe with searched values in place. Raises RecipeError for a key or type that is none."""
        content = to_dict(self.base)
        for key, value in values.items():
            *tables, last = key.split(".")
            place: Any = content
            for table in tables:
                if not isinstance(place := place.get(table), dict):
                    raise RecipeError(f"{self.name}: space: {key}: a recipe has no table {table!r}")
            place[last] = value
        recipe: Recipe = build(Recipe, content, f"{self.name}: space: {', '.join(values)}")
        return recipe


@dataclass(frozen=True)
class Trial:
    """What came of one choice of values."""

    number: int
    values: Mapping[str, Any]
    state: str
    """finished, ended early or failed."""
    figure: float | None
    """Of its last validation."""
    curve: Mapping[int, float]
    """Its validations by step."""
    given: float | None = None
    """Of the noisy pictures."""

    @property
    def warning(self) -> str:
        """What must not be overlooked, or an empty text."""
        if self.figure is None or self.given is None or self.figure >= self.given:
            return ""
        return f"WORSE THAN THE INPUT: psnr {self.figure:.2f} dB, input {self.given:.2f} dB"


@dataclass(frozen=True)
class SearchProgress:
    """What a running search reports."""

    number: int
    """Of the trial."""
    share: float
    """How much of the search is done, in [0, 1]."""
    values: Mapping[str, Any]
    training: Progress | None = None
    trial: Trial | None = None
    """When it has ended; in the last report, the best."""
    trials: Sequence[Trial] = ()
    """All of them, in the last report."""
    note: str = ""
    """In the report that begins a trial, and in the last one: what the caller should know, or an empty text."""

    def __str__(self) -> str:
        drawn = "  ".join(f"{key}={short(value)}" for key, value in self.values.items())
        if self.trial is not None:
            figure = "" if self.trial.figure is None else f": {self.trial.figure:.4g}"
            return f"{self.share:4.0%}  trial {self.number} {self.trial.state}{figure}  {drawn}"
        step = "" if self.training is None else f"step {self.training.step}  "
        return f"{self.share:4.0%}  trial {self.number}  {step}{drawn}"


def shipped_searches() -> dict[str, Path]:
    """Return the searches that come with hush, by name."""
    return shipped_recipes(FOLDER)


def read_search(source: str | Path, *, setting: str = "full", overrides: Iterable[str] = ()) -> Search:
    """Read a search from a TOML or JSON file, or one that ships by its name.

    Args:
        source: a path, or a name (see ``hush list searches``).
        setting: one of the file's, or several with commas; full is the file as it is.
        overrides: ``key=value`` with dotted keys. Keys of a recipe, such as ``length.steps``, mean the base.

    Raises RecipeError on an unreadable file, an unknown key or setting, or a value of the wrong type.
    """
    path = find_recipe(source, FOLDER)
    content = read_tables(path)
    settings = {"full": {}, **content.pop("settings", {})}
    for name in setting.split(","):
        if name not in settings:
            raise RecipeError(f"{path}: no setting {name!r}{nearest(name, settings)}. Known: {', '.join(settings)}")
        content = merge(content, settings[name])
    of_recipe = {f.name for f in fields(Recipe)} - {"name", "summary", "seed"}
    for text in overrides:
        base = text.split(".")[0].split("=")[0].strip() in of_recipe
        override(content, f"base.{text}" if base else text)
    space = dict(_flat(content.pop("space", {}), str(path)))
    if not space:
        raise RecipeError(f"{path}: a search needs a table [space], such as data.batch = [4, 8, 16]")
    search: Search = build(Search, {"name": path.stem, **content, "setting": setting, "space": space}, str(path))
    if search.trials < 1:
        raise RecipeError(f"{path}: trials is {search.trials}; it must be at least 1")
    return search


def _flat(tables: Mapping[str, Any], where: str, prefix: str = "") -> Iterator[tuple[str, Span | Choices]]:
    """Yield dotted keys with what they are drawn from."""
    for key, value in tables.items():
        name = f"{prefix}{key}"
        if isinstance(value, list) and value:
            yield name, tuple(value)
        elif isinstance(value, Mapping) and "low" in value:
            span: Span = build(Span, value, f"{where}: space: {name}")
            if not span.low < span.high or (span.log and span.low <= 0):
                raise RecipeError(f"{where}: space: {name}: low must be below high, and above 0 where log is true")
            whole = isinstance(value["low"], int) and isinstance(value["high"], int)
            yield name, replace(span, low=int(span.low), high=int(span.high)) if whole else span
        elif isinstance(value, Mapping) and value:
            yield from _flat(value, where, f"{name}.")
        else:
            raise RecipeError(f"{where}: space: {name} is {value!r}; give a list, or a table with low and high")


def check_search(search: Search) -> str:
    """See that all that a search may try is there, each value for itself.

    Return a note if trials are chosen by the data set's own test part, or an empty text.

    Raises HushError for the first key or value that is not: unknown keys, networks, noises, losses, data sets.
    """
    for key, drawn in search.space.items():
        for value in drawn if isinstance(drawn, tuple) else (drawn.low, drawn.high):
            try:
                check_recipe(search.recipe({key: value}))
            except HushError as error:
                raise type(error)(f"{search.name}: {key} = {value!r}: {error}") from error
    tested = open_dataset(search.base.data.set, search.base.data.root).test
    return NOTE if tested and not search.base.data.validation and "data.validation" not in search.space else ""


def run_search(search: Search, out: str | Path, *, device: str = "auto") -> Generator[SearchProgress, None, None]:
    """Run a search into a folder, yielding its progress; the last report holds all trials, of earlier calls too.

    A trial whose validations stay below the median of the others at the same step is ended early. What was broken off
    is gone on with from its checkpoint, so one process at a time may run it. ``best.json`` is the recipe of the best
    trial, for ``hush train``.

    Args:
        search: what to try.
        out: gets ``trials.journal``, which Optuna reads and writes, and a run directory for each trial.
        device: auto, cpu, cuda or mps.

    Raises HushError for whatever is unknown or missing, before any training starts; MissingExtra without Optuna.
    """
    optuna = need("optuna", "search")
    note = check_search(search)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    study = _open(optuna, search, folder)
    while len(trials := list_trials(study)) < search.trials:
        drawn = study.ask()
        values = {key: _draw(drawn, key, space) for key, space in search.space.items()}
        recipe = search.recipe(values)
        share = len(trials) / search.trials
        place = folder / "runs" / RunPlan(TrainingPlan("trial", recipe), recipe, None).folder
        yield SearchProgress(drawn.number, share, values, note=note)
        try:
            for progress in _tried(drawn, recipe, place, search.figure, device):
                yield SearchProgress(drawn.number, share + progress.share / search.trials, values, progress)
            drawn.set_user_attr("given", _figures(place, f"{search.figure}_input")[-1][1])
            study.tell(drawn, _figures(place, search.figure)[-1][1])
        except optuna.TrialPruned:
            study.tell(drawn, state=optuna.trial.TrialState.PRUNED)
        except (TrainingError, RecipeError, UsageError) as error:  # not finite, or values that do not go together
            drawn.set_user_attr("error", str(error))
            study.tell(drawn, state=optuna.trial.TrialState.FAIL)
        trials = list_trials(study)
        _write_best(search, trials, folder)
        yield SearchProgress(drawn.number, len(trials) / search.trials, values, trial=trials[-1])
    best = best_trial(trials) or trials[-1]
    yield SearchProgress(best.number, 1.0, best.values, trial=best, trials=trials, note=note)


def _open(optuna: Any, search: Search, folder: Path) -> Any:
    """Open the trials so far; those that were broken off come first."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = optuna.storages.journal
    storage = optuna.storages.JournalStorage(journal.JournalFileBackend(str(folder / "trials.journal")))
    study = optuna.create_study(
        storage=storage,
        study_name=search.identity,
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=DRAWN_FIRST, n_warmup_steps=search.base.validate_every + 1),
    )
    # drawing begins anew with each call: the seed must not, or it would draw the same again
    study.sampler = optuna.samplers.TPESampler(seed=search.seed + len(study.trials), n_startup_trials=DRAWN_FIRST)
    for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        if trial.params.keys() == search.space.keys():
            study.enqueue_trial(trial.params)
    return study


def _draw(trial: Any, key: str, space: Span | Choices) -> Any:
    if isinstance(space, tuple):
        return trial.suggest_categorical(key, space)
    suggest = trial.suggest_int if isinstance(space.low, int) else trial.suggest_float
    return suggest(key, space.low, space.high, log=space.log)


def _tried(trial: Any, recipe: Recipe, place: Path, figure: str, device: str) -> Iterator[Progress]:
    """Train, or go on; raise TrialPruned where it falls behind."""
    optuna = need("optuna", "search")
    known = dict(_figures(place, figure))  # of a trial that was broken off
    for step, value in known.items():
        trial.report(value, step)
    training = train_into(recipe, place, device=device)
    for progress in training:
        yield progress
        if progress.validation and progress.step not in known:
            trial.report(progress.validation[figure], progress.step)
            if progress.share < 1 and trial.should_prune():
                training.close()
                raise optuna.TrialPruned


def _figures(place: Path, figure: str) -> list[tuple[int, float]]:
    """Return the validations of a run: step and figure."""
    return [(entry["step"], entry["validation"].get(figure)) for entry in read_log(place) if entry.get("validation")]


def list_trials(study: Any) -> list[Trial]:
    """Return the trials that have ended, in their order; those that were broken off are gone on with as new ones."""
    states = {"COMPLETE": "finished", "PRUNED": "ended early"}
    trials = []
    for trial in study.trials:
        state = states.get(trial.state.name, "failed" if "error" in trial.user_attrs else "")
        if state:
            values = trial.intermediate_values
            figure = trial.value if state == "finished" else values[max(values)] if values else None
            trials.append(Trial(trial.number, trial.params, state, figure, dict(values), trial.user_attrs.get("given")))
    return trials


def best_trial(trials: Iterable[Trial]) -> Trial | None:
    """Return the best of the finished trials; None where none is."""
    finite = [trial for trial in trials if trial.figure is not None and math.isfinite(trial.figure)]
    return max((t for t in finite if t.state == "finished"), key=lambda trial: trial.figure or 0.0, default=None)


def _write_best(search: Search, trials: Iterable[Trial], folder: Path) -> None:
    best = best_trial(trials)
    if best is not None:
        recipe = replace(search.recipe(best.values), name=f"{search.name}-best")
        write_text(folder / "best.json", json.dumps(to_dict(recipe), indent=2) + "\n")


def short(value: object) -> str:
    """Return a value of a key, in three digits if it is no whole number."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
