"""Find a part by name, and read specifications such as ``gaussian(sigma=0..75) + jpeg(quality=40)``.

Every table of parts (NETWORKS, NOISES, LOSSES ...) is a plain dict. Wherever a name is accepted,
``module:attribute`` is accepted too, so outsiders add parts without touching the package.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from hush.errors import UsageError

UNIONS = (Union, UnionType)


@dataclass(frozen=True)
class Range:
    """An interval ``low..high`` to draw from uniformly, once per image."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}"


@dataclass(frozen=True)
class Call:
    """A part and its options, as in ``gaussian(sigma=25)``."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        if not self.options:
            return self.name
        return f"{self.name}({', '.join(f'{key}={_written(value)}' for key, value in self.options.items())})"


def _written(value: Any) -> str:
    return str(value) if isinstance(value, Range) else repr(value)


def nearest(name: str, allowed: Iterable[str], *, cutoff: float = 0.5) -> str:
    """Return `` (did you mean 'x'?)`` for the closest allowed name, alike by 0 to 1, or an empty string."""
    import difflib  # here, since a right name is the rule and start-up counts

    close = difflib.get_close_matches(name, list(allowed), n=1, cutoff=cutoff)
    return f" (did you mean {close[0]!r}?)" if close else ""


def load(reference: str) -> Any:
    """Import ``module:attribute``.

    Raises UsageError if the module or the attribute does not exist, or if somebody's own module cannot be imported.
    """
    module, _, attribute = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(error.name + ".")):
            raise  # the module is there, something that it imports is not
        file = f"{module.replace('.', '/')}.py"
        raise UsageError(
            f"{reference}: no module {module!r}; a part is named as module:attribute. Run where {file} lies, or put "
            "that folder on PYTHONPATH"
        ) from error
    except AttributeError as error:
        raise UsageError(f"{reference}: module {module!r} has no {attribute!r}") from error
    except SyntaxError as error:
        raise UsageError(f"{reference}: {error.filename}, line {error.lineno}: {error.msg}") from error


def find(table: Mapping[str, Any], name: str, kind: str) -> Any:
    """Find a part by its name in a table, or as ``module:attribute``.

    A table's value may itself be a ``module:attribute`` string, imported when asked for. Raises
    UsageError, naming the nearest right one, if the table does not have the name.
    """
    if name in table:
        part = table[name]
        return load(part) if isinstance(part, str) else part
    if ":" in name:
        return load(name)
    raise UsageError(
        f"unknown {kind} {name!r}{nearest(name, table)}. Known: {', '.join(sorted(table))}, or module:attribute"
    )


TYPES: dict[Any, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "text, in quotes if need be"),
    Sequence: ((list, tuple), "a list such as [48, 96]"),
}
"""What an option takes that is annotated with a type, and how to say it."""
RANGES = "a range is drawn for options annotated float | Tensor, which get one value per image"


def check_options(
    part: Callable[..., Any], call: Call, kind: str, *, given: tuple[str, ...] = (), ranges: bool = False
) -> None:
    """Raise UsageError if a call has an option that its part does not take, or of another type than its annotation.

    Args:
        part: the function or class. Options without annotation, or with one that is not in TYPES, take anything but
            a range.
        call: as read from a specification.
        kind: what the part is, for the error: network, noise, loss ...
        given: parameters that are not options: the arguments that hush itself passes.
        ranges: whether numbers may be ranges, which are drawn from; a number is annotated ``float | Tensor`` then.
    """
    import inspect

    parameters = inspect.signature(part).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    allowed = [name for name in parameters if name not in given]
    try:
        hints = get_type_hints(part.__init__ if inspect.isclass(part) else part) if call.options else {}
    except Exception:  # of somebody's own module: names that only type checkers know, or no function at all
        hints = {}
    for option, value in call.options.items():
        if option not in allowed:
            known = ", ".join(allowed) or "none"
            raise UsageError(f"{kind} {call.name!r} has no option {option!r}{nearest(option, allowed)}. Known: {known}")
        unknown = option not in hints and "Tensor" not in str(parameters[option].annotation)
        if ranges and unknown and isinstance(value, Range):
            raise UsageError(f"{kind} {call.name!r}: {option} is {value}; {RANGES}")
        if words := _misfit(value, hints.get(option), ranges):
            raise UsageError(f"{kind} {call.name!r}: {option} is {_written(value)}; it must be {words}")


def _misfit(value: Any, hint: Any, ranges: bool) -> str:
    """Say what a value must be instead, or nothing."""
    kinds = {get_origin(kind) or kind for kind in (get_args(hint) if get_origin(hint) in UNIONS else (hint,))}
    if type(None) in kinds and value is None:
        return ""
    kinds -= {type(None)}
    tensor = any(getattr(kind, "__name__", "") == "Tensor" for kind in kinds)  # torch is not imported for a word
    number = ranges and tensor and float in kinds
    if not number and (len(kinds) != 1 or not kinds <= TYPES.keys()):
        return ""
    taken, words = TYPES[float if number else kinds.pop()]
    if number:
        taken, words = (*taken, Range), "a number or a range such as 0..75"
    elif ranges and isinstance(value, Range):
        words += f"; {RANGES}"
    fits = isinstance(value, taken) and (bool in taken or not isinstance(value, bool))
    return "" if fits else words


def parse_call(text: str) -> Call:
    """Read one part with options: ``gaussian``, ``gaussian(sigma=25)``, ``gaussian(sigma=0..75)``.

    Values are Python literals or ranges ``low..high``; bare words are strings. Raises UsageError on
    anything else.
    """
    match = re.fullmatch(r"\s*([\w.]+(?::[\w.]+)?)\s*(?:\((.*)\))?\s*", text, re.DOTALL)
    if match is None:
        raise UsageError(f"cannot read {text!r}; write name or name(option=value, ...), such as gaussian(sigma=25)")
    name, inner = match.groups()
    options: dict[str, Any] = {}
    for item in _split(inner or "", ","):
        key, equals, value = item.partition("=")
        if not equals or not key.strip().isidentifier():
            raise UsageError(f"{text!r}: {item.strip()!r} is not of the form option=value")
        if key.strip() in options:
            raise UsageError(f"{text!r}: {key.strip()!r} is given twice")
        options[key.strip()] = parse_value(value.strip())
    return Call(name, options)


def parse_value(text: str) -> Any:
    """Read a literal (25, 0.5, true, [1, 2], 'word'), a range ``0..75`` or a bare word."""
    low, dots, high = text.partition("..")
    if dots and low.strip() and "/" not in low and not text.startswith(("'", '"', "[")):  # ../clean is a path
        try:
            bounds = Range(float(low), float(high))
        except ValueError:
            raise UsageError(f"cannot read the range {text!r}; write low..high, such as 0..75") from None
        if bounds.low > bounds.high:
            raise UsageError(f"{text!r}: a range goes from low to high")
        return bounds
    constants = {"true": True, "false": False, "none": None}
    if text.lower() in constants:
        return constants[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        if re.fullmatch(r"[\w./:\\~-]+", text):
            return text
        raise UsageError(f"cannot read the value {text!r}; put text in quotes") from None


def parse_chain(text: str) -> tuple[Call, ...]:
    """Read parts applied one after the other: ``gaussian(sigma=102) + salt_pepper(amount=0.05)``."""
    return tuple(parse_call(part) for part in _split(text, "+"))


def parse_sum(text: str) -> tuple[tuple[float, Call], ...]:
    """Read a weighted sum: ``0.8*l1 + 0.2*ssim(window=11)``; a missing weight is 1."""
    terms = []
    for part in _split(text, "+"):
        weight, star, rest = part.partition("*")
        if star and "(" not in weight:
            try:
                terms.append((float(weight), parse_call(rest)))
            except ValueError:
                raise UsageError(f"{text!r}: {weight.strip()!r} is no number; write 0.8*l1 + 0.2*ssim") from None
        else:
            terms.append((1.0, parse_call(part)))
    return tuple(terms)


def _split(text: str, separator: str) -> list[str]:
    """Split at separators that stand outside brackets and quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for i, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == separator and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    if depth or quote:
        raise UsageError(f"{text!r}: a bracket or quote is not closed")
    parts.append(text[start:])
    if parts == [""] or (len(parts) == 1 and not parts[0].strip()):
        return []
    if any(not part.strip() for part in parts):
        raise UsageError(f"{text!r}: something is missing beside {separator!r}")
    return parts
