"""What `hush list` shows: the parts in each table, with their options and the first line of their docstring."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hush.errors import HushError, MissingExtra
from hush.names import find

if TYPE_CHECKING:
    from hush.judging.plans import Study
    from hush.judging.search import Search

Part = dict[str, str]

TABLES = {  # section: (module, table, what the options leave out)
    "networks": ("hush.learning.networks", "NETWORKS", ()),
    "classifiers": ("hush.learning.networks", "CLASSIFIERS", ()),
    "discriminators": ("hush.learning.networks", "DISCRIMINATORS", ()),
    "noises": ("hush.learning.noise", "NOISES", ("clean", "rng")),
    "losses": ("hush.learning.losses", "LOSSES", ("restored", "clean")),
    "metrics": ("hush.imaging.metrics", "METRICS", ("restored", "clean")),
    "datasets": ("hush.learning.datasets", "DATASETS", ("root",)),
    "methods": ("hush.learning.methods", "METHODS", ("recipe", "device")),
    "runtimes": ("hush.restoring.runtimes", "RUNTIMES", ("weights", "device", "precision", "threads")),
}


def list_section(name: str) -> list[Part]:
    """Return the parts of a section, each with name, options and summary.

    Raises MissingExtra for parts that need torch where it is not installed.
    """
    return SECTIONS[name]()


def _list_table(module: str, table: str, given: tuple[str, ...]) -> list[Part]:
    try:
        parts = getattr(import_module(module), table)
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return [_find_described(parts, name, given) for name in parts]


def _find_described(parts: Mapping[str, Any], name: str, given: tuple[str, ...]) -> Part:
    """Describe a part, or say what it needs: of the metrics, some need torch and most do not."""
    try:
        return _describe(name, find(parts, name, "part"), given)
    except ModuleNotFoundError as error:
        return {"name": name, "options": "", "summary": f"{_missing(error)}"}


def _missing(error: ModuleNotFoundError) -> MissingExtra:
    return MissingExtra(f"{error.name} is not installed: pip install 'hush[train]'")


def _describe(name: str, part: Any, given: tuple[str, ...]) -> Part:
    parameters = inspect.signature(part).parameters.values()
    options = [f"{p.name}{_default(p)}" for p in parameters if p.name not in given]
    return {"name": name, "options": ", ".join(options), "summary": _first_line(part)}


def _default(parameter: inspect.Parameter) -> str:
    return "" if parameter.default is inspect.Parameter.empty else f"={parameter.default!r}"


def _first_line(part: Any) -> str:
    return (inspect.getdoc(part) or "").partition("\n")[0].rstrip(".").replace("`", "")


def _list_weights() -> list[Part]:
    from hush.restoring.weights import WEIGHTS, open_weights

    def summary(name: str) -> str:
        try:
            weights = open_weights(name)
        except HushError as error:
            return str(error)
        card, views = weights.card, "Mean over eight turned and mirrored views: eight times as long. "
        colours = "Three channels" if card.channels == 3 else "One channel"
        return f"{card.summary} {views if weights.ensemble else ''}{colours}; {card.network}".strip()

    return [{"name": name, "options": "", "summary": summary(name)} for name in WEIGHTS]


def _list_recipes() -> list[Part]:
    try:
        from hush.learning.config import read_recipe, shipped_recipes
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return [{"name": name, "options": "", "summary": read_recipe(name).summary} for name in shipped_recipes()]


def _list_studies() -> list[Part]:
    try:
        from hush.judging.plans import read_study, shipped_studies
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return [{"name": name, "options": "", "summary": _needing(read_study(name))} for name in shipped_studies()]


def _needing(plan: Study | Search) -> str:
    """Return a title, and what time and machine it takes."""
    return f"{plan.title} (needs {plan.needs})" if plan.needs else plan.title


def _list_searches() -> list[Part]:
    try:
        from hush.judging.search import read_search, shipped_searches
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return [{"name": name, "options": "", "summary": _needing(read_search(name))} for name in shipped_searches()]


SECTIONS: dict[str, Callable[[], list[Part]]] = {
    **{name: lambda place=place: _list_table(*place) for name, place in TABLES.items()},  # type: ignore[misc]
    "weights": _list_weights,
    "recipes": _list_recipes,
    "studies": _list_studies,
    "searches": _list_searches,
}
