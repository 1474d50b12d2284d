"""The exception tree: each error says what came, what is allowed and what to do."""

from __future__ import annotations

import importlib
from types import ModuleType


class HushError(Exception):
    """Base of every error that hush raises on purpose.

    ``exit_code`` is what the command line ends with: 2 for wrong usage, 1 for work that failed.
    """

    exit_code = 1


class UsageError(HushError):
    """An option, name or specification that hush does not take."""

    exit_code = 2


class RecipeError(UsageError):
    """A training recipe with an unknown key or a value of the wrong type."""


class PictureError(HushError):
    """A picture that cannot be read, restored or written."""


class WeightsError(HushError):
    """Weights that are unknown, damaged or made for another network."""


class UnknownWeights(WeightsError):
    """A name or path under which there are no weights."""

    exit_code = 2


class TrainingError(HushError):
    """A training that cannot go on, such as one whose loss is not finite."""


class MissingExtra(HushError):
    """An optional dependency that is not installed."""


def need(module: str, extra: str) -> ModuleType:
    """Import an optional module, or say which extra brings it.

    Raises MissingExtra if the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        top = module.split(".")[0]
        if error.name is not None and error.name.split(".")[0] != top:
            raise
        raise MissingExtra(f"{top} is not installed; this needs it. Run: pip install 'hush[{extra}]'") from error
