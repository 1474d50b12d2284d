"""Is a training judged on pictures that it knows? A figure of such says nothing of other pictures."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

from hush.errors import RecipeError
from hush.judging.plans import Study
from hush.learning.config import DataConfig
from hush.learning.datasets import DataSet, Item, Squeezed, name_some, open_dataset, split

Pictures = dict[Hashable, str]
"""What tells a picture from others, and its name."""


def check_leakage(study: Study, judged: Mapping[str, Sequence[Item]]) -> None:
    """See that no training learns from pictures that it is judged on, nor has its best weights chosen by them.

    What a training starts from counts as learnt, where it is of the same study.

    Args:
        study: with its trainings and evaluations.
        judged: the pictures of each evaluation.

    Raises RecipeError for the first training that does.
    """
    known: dict[str, Pictures] = {}
    opened: dict[tuple[str, str], DataSet] = {}
    asked = {name: _pictures(items, study.evaluations[name].data) for name, items in judged.items()}
    for name, plan in study.trainings.items():
        data = plan.recipe.data
        place = (data.set, data.root)
        opened[place] = opened.get(place) or open_dataset(*place)
        parts = split(opened[place], str(data.validation), data.validation_pictures)
        known[name] = known.get(plan.start_parts()[1], {}) | _pictures(parts.train, data)
        chosen_by = _pictures(parts.test, data) if study.weights == "best" else {}
        for evaluation in plan.evaluations or study.evaluations:
            judges = f"pictures that evaluations.{evaluation} judges"
            if both := _shared(known[name], asked[evaluation]):
                raise RecipeError(
                    f"trainings.{name}: learns from {len(both)} of {len(asked[evaluation])} {judges}: "
                    f"{name_some(both)}. Give both the same data.validation, or judge other pictures"
                )
            if both := _shared(chosen_by, asked[evaluation]):
                raise RecipeError(
                    f"trainings.{name}: weights = 'best' are chosen by {len(both)} of {len(asked[evaluation])} "
                    f"{judges}: {name_some(both)}. Set data.validation to a number, if the data set has a test split; "
                    "else judge other pictures, or the last weights"
                )


def _shared(some: Pictures, others: Pictures) -> list[str]:
    return [name for picture, name in others.items() if picture in some]


def _pictures(items: Sequence[Item], data: DataConfig) -> Pictures:
    """Tell files by their place, noisy and clean views alike, and pictures within a file by data set and name."""
    found: Pictures = {}
    for item in items:
        for view in (item.clean, item.noisy):
            path = view.path if isinstance(view, Squeezed) else view
            if path is not None:
                key = path.resolve() if isinstance(path, Path) else (data.set, data.root, item.name)
                found[key] = item.name
    return found
