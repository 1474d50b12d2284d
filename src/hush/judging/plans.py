"""Studies as files: trainings to be compared, how they are judged, and the origin's figures to stand beside ours.

A study is a TOML file. ``[base]`` is a recipe; each ``[trainings.NAME]`` lays its own keys over it; each
``[evaluations.NAME]`` is a noise that all of them are judged under; ``[settings.NAME]`` lays tables over the whole
file: quick, smoke, or full, which is what the file says without.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from hush.errors import RecipeError
from hush.learning.config import (
    DataConfig,
    Recipe,
    build,
    find_recipe,
    merge,
    override,
    read_tables,
    shipped_recipes,
    to_dict,
)
from hush.names import nearest

FOLDER = "studies"


@dataclass(frozen=True)
class Evaluation:
    """How trainings are judged: noise on held-out pictures that are the same for all."""

    name: str
    about: str = ""
    """In words, for the report."""
    degradation: str = ""
    """Chain of noises; empty where the data are pairs."""
    clip: bool = False
    """Clip noisy pictures to [0, 1]."""
    data: DataConfig = field(default_factory=DataConfig)
    """As in a recipe; keys that are not given are those of the base. Judged is the data set's own test split; where
    it has none, what ``data.validation`` holds out."""
    pictures: int = 0
    """Use at most so many of them, evenly spread; 0 for all."""
    aligned: bool = True
    """Whether noisy and clean views match to the pixel; where they do not, only the sharpness is measured."""
    least_input: float = 0.0
    """Judge only pictures whose noisy view has at least this PSNR in dB."""
    seed: int = 0
    """Picture number i, counted from 0, is degraded with seed + i."""
    origin: str = ""
    """Which of the origin's figures stand beside these; empty: those under this evaluation's name."""


@dataclass(frozen=True)
class TrainingPlan:
    """One of the trainings, with a run for each seed."""

    name: str
    recipe: Recipe
    about: str = ""
    """In words, for the report."""
    start: str = ""
    """``[PART=]NAME``: begin with the numbers of a training further up, or of weights; of a part of the network."""
    seeds: tuple[int, ...] = (0,)
    evaluations: tuple[str, ...] = ()
    """Judge it under these only; empty: all."""
    ensemble: bool = False
    """Judge the mean of what the network makes of the eight turned and mirrored views of a picture. A training that
    differs from another in this alone is not trained twice."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """``parameters`` of the origin's network, and by name of an evaluation its figures, such as {psnr = 24.5}."""

    def start_parts(self) -> tuple[str, str]:
        """Return the part (``classifier=``, or empty) and the name that the training starts from."""
        part, source = re.fullmatch(r"([a-z_]\w*=)?(.*)", self.start, re.DOTALL).groups()  # type: ignore[union-attr]
        return part or "", source


@dataclass(frozen=True)
class Study:
    """Trainings compared."""

    name: str
    trainings: Mapping[str, TrainingPlan]
    evaluations: Mapping[str, Evaluation]
    title: str = ""
    summary: str = ""
    """What is asked, and what to know of it; paragraphs."""
    source: str = ""
    """Where the origin's figures come from."""
    needs: str = ""
    """Time and machine that this setting takes."""
    setting: str = "full"
    weights: str = "last"
    """Which weights of a run are judged: last or best (of the validation)."""
    metrics: tuple[str, ...] = ()
    """Further metrics of restorers, beside PSNR and SSIM, such as lpips."""
    comparisons: tuple[tuple[str, str], ...] = ()
    """Pairs of trainings: the first minus the second, picture by picture."""
    only: tuple[str, ...] = ()
    """Train these only; empty: all."""


@dataclass(frozen=True)
class RunPlan:
    """One training with one seed, and where it lies."""

    training: TrainingPlan
    recipe: Recipe
    start: RunPlan | str | None
    """The run that it starts from, weights, or None."""

    @cached_property
    def identity(self) -> str:
        """What decides the numbers that come out, as ten hexadecimal digits."""
        content = to_dict(self.recipe)
        for words in ("name", "summary", "licence"):
            del content[words]
        start = self.start.identity if isinstance(self.start, RunPlan) else self.start
        if isinstance(start, str) and Path(start).is_file():  # another file in its place is another start
            start = hashlib.sha256(Path(start).read_bytes()).hexdigest()
        text = json.dumps([content, self.training.start_parts()[0], start], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    @property
    def folder(self) -> str:
        """Name of the run's folder: other settings lie elsewhere, so nothing is overwritten."""
        return f"{self.training.name}-{self.recipe.seed}-{self.identity}"


def shipped_studies() -> dict[str, Path]:
    """Return the studies that come with hush, by name."""
    return shipped_recipes(FOLDER)


def read_study(source: str | Path, *, setting: str = "full", overrides: Iterable[str] = ()) -> Study:
    """Read a study from a TOML or JSON file, or one that ships by its name.

    Args:
        source: a path, or a name such as ``o2-models`` (see ``hush list studies``).
        setting: one of the file's, or several with commas, laid over it in this order; full is the file as it is.
        overrides: ``key=value`` with dotted keys. Keys of a recipe, such as ``length.steps``, mean the base;
            ``evaluations.*.data.root=...`` means every evaluation.

    Raises RecipeError on an unreadable file, an unknown key, name or setting, or a value of the wrong type.
    """
    path = find_recipe(source, FOLDER)
    content = read_tables(path)
    settings = {"full": {}, **content.pop("settings", {})}
    if wrong := [name for name, table in settings.items() if not isinstance(table, Mapping)]:
        raise RecipeError(f"{path}: settings.{wrong[0]} is {settings[wrong[0]]!r}; it must be a table")
    for name in setting.split(","):
        if name not in settings:
            raise RecipeError(f"{path}: no setting {name!r}{nearest(name, settings)}. Known: {', '.join(settings)}")
        content = merge(content, settings[name])
    for text in overrides:
        recipe_key = text.split(".")[0].split("=")[0].strip() in {f.name for f in fields(Recipe)} - {"name", "summary"}
        for one in [f"base.{text}"] if recipe_key else _for_all_evaluations(text, content):
            _check_place(one, content)
            override(content, one)
    return _build({"name": path.stem, **content, "setting": setting}, str(path))


def _check_place(setting: str, content: Mapping[str, Any]) -> None:
    """Raise RecipeError if a setting is of a training or an evaluation that there is not: it would make a new one."""
    table, *rest = setting.partition("=")[0].strip().split(".")
    if table in ("trainings", "evaluations") and len(rest) > 1 and rest[0] not in content.get(table, {}):
        known = content.get(table, {})
        what = table.removesuffix("s")
        raise RecipeError(f"--set {setting}: no {what} {rest[0]!r}{nearest(rest[0], known)}. Known: {', '.join(known)}")


def _for_all_evaluations(text: str, content: Mapping[str, Any]) -> list[str]:
    every = "evaluations.*."
    names = content.get("evaluations", {}) if text.startswith(every) else ()
    return [f"evaluations.{name}.{text.removeprefix(every)}" for name in names] or [text]


def _build(content: dict[str, Any], where: str) -> Study:
    """Resolve tables into a study."""
    for table in ("base", "trainings", "evaluations"):
        if not isinstance(content.get(table, {}), Mapping) or (table != "base" and not content.get(table)):
            raise RecipeError(f"{where}: a study needs tables [{table}.NAME]")
    _check_tables(content, where)
    base, seeds = content.pop("base", {}), content.pop("seeds", [0])
    evaluations = {
        name: build(
            Evaluation,
            {**table, "name": name, "data": merge(base.get("data", {}), table.get("data", {}))},
            f"{where}: evaluations.{name}",
        )
        for name, table in content["evaluations"].items()
    }
    trainings = {
        name: _build_training(name, {"seeds": seeds, **table}, base, f"{where}: trainings.{name}")
        for name, table in content["trainings"].items()
    }
    pairs = tuple(_pair(pair, where) for pair in content.pop("comparisons", ()))
    _check_known([name for pair in pairs for name in pair], trainings, f"{where}: comparisons")
    only = _listed(content.pop("only", ())) or tuple(trainings)
    _check_known(only, trainings, f"{where}: only")
    for name in only:
        if (source := trainings[name].start_parts()[1]) in trainings and source not in only:
            raise RecipeError(f"{where}: only: {name} starts from {source}, which is not among them; add it")
    trainings = {name: plan for name, plan in trainings.items() if name in only}
    pairs = tuple(pair for pair in pairs if trainings.keys() >= set(pair))
    metrics = _listed(content.pop("metrics", ()))
    tables = {"trainings": trainings, "evaluations": evaluations, "comparisons": pairs, "metrics": metrics}
    study: Study = build(Study, {**content, **tables}, where)
    _check_names(study, where)
    return study


def _check_tables(content: Mapping[str, Any], where: str) -> None:
    """Raise RecipeError for what should be a table, or a list, and is none."""
    tables = {table: content.get(table, {}) for table in ("base", "trainings", "evaluations")}
    tables |= {f"{name}.{key}": one for name in ("trainings", "evaluations") for key, one in tables[name].items()}
    whole = [(name, table) for name, table in tables.items() if isinstance(table, Mapping)]
    tables |= {f"{name}.data": table["data"] for name, table in whole if "data" in table}
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise RecipeError(f"{where}: {name} is {table!r}; it must be a table, such as [{name}]")
    if not isinstance(content.get("comparisons", []), list):
        raise RecipeError(f"{where}: comparisons is {content['comparisons']!r}; it is a list of pairs of trainings")


def _listed(names: Any) -> tuple[str, ...]:
    """Return names that are given as a list, or as one text with commas."""
    return tuple(name.strip() for name in names.split(",")) if isinstance(names, str) else tuple(names)


def _build_training(name: str, table: Mapping[str, Any], base: Mapping[str, Any], where: str) -> TrainingPlan:
    """Part the keys of a training from those of its recipe."""
    own = {f.name for f in fields(TrainingPlan)} - {"name", "recipe"}
    allowed = [*(f.name for f in fields(Recipe)), *own]
    if unknown := [key for key in table if key not in allowed]:
        raise RecipeError(f"{where}: no key {unknown[0]!r}{nearest(unknown[0], allowed)}. Known: {', '.join(allowed)}")
    plan = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items() if key in own}
    recipe = merge(base, {key: value for key, value in table.items() if key not in own})
    built: TrainingPlan = build(TrainingPlan, {**plan, "name": name, "recipe": {**recipe, "name": name}}, where)
    return built


def _pair(pair: Any, where: str) -> tuple[str, str]:
    if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(name, str) for name in pair)):
        raise RecipeError(f"{where}: comparisons: {pair!r}; each is a list of two names of trainings")
    return pair[0], pair[1]


def _check_names(study: Study, where: str) -> None:
    """See that every name that the study mentions is one of its own."""
    origins = {"parameters", *study.evaluations, *(evaluation.origin for evaluation in study.evaluations.values())}
    for name, plan in study.trainings.items():
        _check_known(plan.evaluations, study.evaluations, f"{where}: trainings.{name}: evaluations")
        _check_known(plan.origin, origins, f"{where}: trainings.{name}: origin")
        if not plan.seeds or not all(isinstance(seed, int) for seed in plan.seeds):
            raise RecipeError(f"{where}: trainings.{name}: seeds are {list(plan.seeds)}; give whole numbers")
    if study.weights not in ("last", "best"):
        raise RecipeError(f"{where}: weights is {study.weights!r}; allowed are last and best")


def _check_known(names: Iterable[str], known: Iterable[str], where: str) -> None:
    for name in names:
        if name not in known:
            raise RecipeError(
                f"{where}: no {name!r}{nearest(name, known)}. Known: {', '.join(sorted(filter(None, known)))}"
            )


def plan_runs(study: Study) -> list[RunPlan]:
    """Return the runs in an order in which each finds what it starts from.

    Raises RecipeError if a training starts from one further down.
    """
    runs: dict[tuple[str, int], RunPlan] = {}
    for name, plan in study.trainings.items():
        source = plan.start_parts()[1]
        for seed in plan.seeds:
            parent: RunPlan | str | None = source or None
            if source in study.trainings:
                seeds = study.trainings[source].seeds
                parent = runs.get((source, seed if seed in seeds else seeds[0]))
                if parent is None:
                    raise RecipeError(
                        f"{study.name}: {name} starts from {source}, which stands further down; move it up"
                    )
            runs[name, seed] = RunPlan(plan, dataclasses.replace(plan.recipe, seed=seed), parent)
    return list(runs.values())
