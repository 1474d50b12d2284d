"""What a study found: means with intervals beside the origin's figures, and paired differences."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from hush.judging.judged import Judged, Row
from hush.judging.metrics import LOWER_IS_BETTER
from hush.judging.plans import RunPlan, Study
from hush.judging.protocol import versions
from hush.judging.results import estimate, estimate_difference, finite, guard
from hush.learning.checkpoints import load_state
from hush.learning.config import Recipe
from hush.learning.methods import restores
from hush.learning.networks import build_network
from hush.learning.networks.sizes import Size
from hush.learning.validation import is_blind
from hush.restoring.machine import processor


@dataclass(frozen=True)
class RunFindings:
    """One run and how it was judged."""

    run: RunPlan
    folder: Path
    size: Size
    judged: Mapping[str, Judged]
    """By evaluation."""


class Findings:
    """The outcome of a study. Means are over pictures, and over the seeds of a training picture by picture."""

    def __init__(self, study: Study, runs: Sequence[RunFindings]) -> None:
        self.study, self.runs = study, runs

    @cached_property
    def summary(self) -> list[Row]:
        """One per training and evaluation.

        Each has n, every metric with its 95 % interval, that of the input, the gain in PSNR over it with its interval,
        the origin's figures and which of them are ``reached``, the means of single seeds, and a warning or None.
        """
        cells = ((name, evaluation) for evaluation in self.study.evaluations for name in self.study.trainings)
        return [self._summary(*cell) for cell in cells if self._judged(*cell)]

    @cached_property
    def differences(self) -> list[Row]:
        """One per comparison and evaluation: the mean of the first minus the second with its 95 % interval, over how
        many pictures (``psnr_n``), and the differences of single seeds. Two infinite figures differ by 0; pictures
        where one of them is infinite are left out."""
        cells = ((pair, name) for pair in self.study.comparisons for name in self.study.evaluations)
        return [
            self._difference(pair, name) for pair, name in cells if all(self._judged(entry, name) for entry in pair)
        ]

    @property
    def warnings(self) -> list[str]:
        """What a reader must not overlook."""
        return [f"{e['training']}, {e['evaluation']}: {e['warning']}" for e in self.summary if e["warning"]]

    def of(self, training: str) -> list[RunFindings]:
        """Return the runs of a training, one per seed."""
        return [found for found in self.runs if found.run.training.name == training]

    def _judged(self, training: str, evaluation: str) -> list[Judged]:
        return [found.judged[evaluation] for found in self.of(training) if evaluation in found.judged]

    def _summary(self, training: str, evaluation: str) -> Row:
        judged = self._judged(training, evaluation)
        found = self.of(training)[0]
        rows = _mean_rows(judged)
        plan = self.study.trainings[training]
        origin = plan.origin.get(self.study.evaluations[evaluation].origin or evaluation, {})
        entry: Row = {"training": training, "evaluation": evaluation, "n": len(rows)}
        entry |= asdict(found.size)
        for name in metrics_of(judged):
            entry[name], entry[f"{name}_interval"] = estimate([(row[name], row["scene"]) for row in rows])
            entry[f"{name}_seeds"] = [estimate([(row[name], "") for row in one.rows])[0] for one in judged]
            if f"{name}_input" in rows[0]:
                entry[f"{name}_input"] = estimate([(row[f"{name}_input"], row["scene"]) for row in rows])[0]
        if "psnr_input" in rows[0]:
            pairs = [(row["psnr"], row["psnr_input"], row["scene"]) for row in rows]
            entry["gain"], entry["gain_interval"], entry["gain_n"] = estimate_difference(pairs)
        entry["origin"] = dict(origin)
        if origin and "parameters" in plan.origin:
            entry["origin"]["parameters"] = plan.origin["parameters"]
        entry["reached"] = {
            name: _reached(entry[name], value, name)
            for name, value in entry["origin"].items()
            if not name.endswith("_input")  # what was given is no merit
        }
        entry["warning"] = _warning(rows)
        return entry

    def _difference(self, pair: tuple[str, str], evaluation: str) -> Row:
        first, second = (self._judged(name, evaluation) for name in pair)
        entry: Row = {"training": pair[0], "minus": pair[1], "evaluation": evaluation, "n": len(first[0].rows)}
        for name in (m for m in metrics_of(first) if m in metrics_of(second)):
            pairs = _paired(_mean_rows(first), _mean_rows(second), name)
            entry[name], entry[f"{name}_interval"], entry[f"{name}_n"] = estimate_difference(pairs)
            if len(first) == len(second):
                entry[f"{name}_seeds"] = [
                    estimate_difference(_paired(a.rows, b.rows, name))[0] for a, b in zip(first, second, strict=True)
                ]
        return entry

    @cached_property
    def cards(self) -> list[dict[str, Any]]:
        """Return the cards of the runs, in their order."""
        return [load_state(found.folder / f"{self.study.weights}.safetensors")["card"] for found in self.runs]

    @property
    def hours(self) -> float:
        """Return how long all trainings took together."""
        trained = {found.folder: card["training"]["hours"] for found, card in zip(self.runs, self.cards, strict=True)}
        return float(sum(trained.values()))  # a run that is judged twice counts once

    def to_json(self) -> str:
        """Return protocol, trainings, summary, differences and warnings as JSON; infinite and NaN become null."""
        study = self.study
        content = {
            "study": study.name,
            "title": study.title,
            "setting": study.setting,
            "source of the origin's figures": study.source,
            "protocol": protocol_words(study),
            "evaluations": {name: _anonymous(asdict(evaluation)) for name, evaluation in study.evaluations.items()},
            "machine": processor(),
            "versions": versions(),
            "hours": round(self.hours, 2),
            "trainings": [
                {
                    "training": found.run.training.name,
                    "about": found.run.training.about,
                    "seed": found.run.recipe.seed,
                    **asdict(found.size),
                    "start": found.run.training.start,
                    "recipe": card["recipe"],
                    **card["training"],
                }
                for found, card in zip(self.runs, self.cards, strict=True)
            ],
            "summary": finite(self.summary),
            "differences": finite(self.differences),
            "warnings": self.warnings,
        }
        return json.dumps(content, ensure_ascii=False, indent=1)


def metrics_of(judged: Sequence[Judged]) -> list[str]:
    """Return the names of the figures that rows hold, without those of the input."""
    row = judged[0].rows[0]
    return [name for name in row if name not in ("image", "scene") and not name.endswith("_input")]


def protocol_words(study: Study) -> list[str]:
    """Return in sentences how the study measures."""
    clipped = ", ".join(name for name, evaluation in study.evaluations.items() if evaluation.clip)
    return [
        "Every training is judged on the same noisy pictures: clean ones are 8-bit values / 255, noise is added in "
        "float32 with a seed of its own for each picture.",
        f"Noisy pictures are clipped to [0, 1] before they are restored in: {clipped or 'no evaluation'}; elsewhere "
        "they are neither clipped nor rounded.",
        "Restored and input are clamped to [0, 1] and rounded to 8 bit before they are measured. PSNR in dB over all "
        "values of a picture, then the mean over pictures. SSIM is that of Wang et al. 2004 (Gaussian window); SSIM, "
        "uniform is scikit-image's default (7x7).",
        *_unaligned_words(study),
        *_level_words(study),
        "95 % intervals: percentile bootstrap over pictures (over scenes where they share one); several seeds are "
        f"averaged picture by picture first. Judged are the {study.weights} weights of each run.",
    ]


def _level_words(study: Study) -> list[str]:
    told = ", ".join(name for name, plan in study.trainings.items() if _is_told(plan.recipe))
    sentence = (
        f"The noise level is told to: {told}. It is the true sigma of Gaussian noise alone; of pairs, and of other "
        "noise, it is the true root mean square error of each noisy picture, which nobody knows outside a study."
    )
    return [sentence] if told else []


def _is_told(recipe: Recipe) -> bool:
    if is_blind(recipe) or not restores(recipe.method):
        return False
    with torch.device("meta"):
        limits: Any = build_network(recipe.network).limits
    return bool(limits.sigma_map)


def _unaligned_words(study: Study) -> list[str]:
    names = ", ".join(name for name, evaluation in study.evaluations.items() if not evaluation.aligned)
    sentence = (
        f"In {names} the clean view does not match the other to the pixel: PSNR and SSIM would mean nothing. Shown are "
        "the pictures and their sharpness, the rms of the luminance's Laplacian on the 8-bit scale."
    )
    return [sentence] if names else []


def _mean_rows(judged: Sequence[Judged]) -> list[Row]:
    """Average the rows of several seeds picture by picture."""
    if len(judged) == 1:
        return judged[0].rows
    numbers = [name for name in judged[0].rows[0] if name not in ("image", "scene")]
    return [
        {**rows[0], **{name: math.fsum(row[name] for row in rows) / len(rows) for name in numbers}}
        for rows in zip(*(one.rows for one in judged), strict=True)
    ]


def _paired(rows: Sequence[Row], others: Sequence[Row], name: str) -> list[tuple[float, float, str]]:
    """Return a figure of each picture of both, and its scene."""
    baseline = {key: row[name] for key, row in _keyed(others)}
    return [(row[name], baseline[key], row["scene"]) for key, row in _keyed(rows)]


def _keyed(rows: Sequence[Row]) -> Iterator[tuple[tuple[str, int], Row]]:
    """Yield rows with the name of their picture and which of that name it is: a data set may name several alike."""
    seen: Counter[str] = Counter()
    for row in rows:
        yield (row["image"], seen[row["image"]]), row
        seen[row["image"]] += 1


def _reached(ours: float, origin: float, name: str) -> bool:
    """Say whether a figure is at least as good as the origin's: no more parameters, or no lower a metric."""
    return ours <= origin if name == "parameters" or name in LOWER_IS_BETTER else ours >= origin


def _warning(rows: Sequence[Row]) -> str | None:
    if any(math.isnan(row.get("psnr", 0.0)) for row in rows):
        return "RESTORED IS NOT FINITE"
    return "; ".join(guard(rows)) or None if "psnr_input" in rows[0] else None


def _anonymous(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Leave out where folders lie."""
    data = {key: value for key, value in evaluation["data"].items() if key in ("set", "validation", "about")}
    data["validation"] = Path(str(data["validation"])).name
    return {**evaluation, "data": data}
