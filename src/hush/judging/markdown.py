"""Figures in pages: commands write them between markers, and leave what people wrote around them."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from hush.errors import HushError, UsageError
from hush.imaging.writing import write_text

PICTURE = "picture:"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table as lines of Markdown; all columns but the first are set to the right."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def picture(file: Path, words: str) -> str:
    """Return a line that `fill` turns into a picture; the page may lie anywhere."""
    return f"{PICTURE}{file.resolve()}|{words}"


def check(page: Path, kind: str, names: Collection[str]) -> str:
    """Return the text of a page that has the lines ``<!-- KIND: NAME -->`` and ``<!-- end of KIND -->``.

    Raises UsageError for a page without such lines, or with a name that is not among ``names``; HushError for one that
    cannot be read.
    """
    try:
        text = page.read_text(encoding="utf-8")
    except OSError as error:
        raise HushError(f"{page}: cannot be read ({error.strerror})") from error
    found = [match[2] for match in _place(kind).finditer(text)]
    if not found:
        line, end = f"<!-- {kind}: {next(iter(names))} -->", f"<!-- end of {kind} -->"
        raise UsageError(f"{page}: has no line {line} with {end} below it; add them")
    if unknown := [name for name in found if name not in names]:
        raise UsageError(f"{page}: {kind} has no part {unknown[0]!r}; it has {', '.join(names)}")
    return text


def fill(page: Path, kind: str, parts: Mapping[str, Sequence[str]]) -> None:
    """Put parts between the lines ``<!-- KIND: NAME -->`` and ``<!-- end of KIND -->`` of a page; raises as `check`."""
    text = check(page, kind, parts)

    def written(match: re.Match[str]) -> str:
        lines = [_linked(line, page) for line in parts[match[2]]]
        return "\n".join([match[1], *lines, "", match[3]])

    write_text(page, _place(kind).sub(written, text))


def _place(kind: str) -> re.Pattern[str]:
    kind = re.escape(kind)
    return re.compile(rf"(<!-- {kind}: ([\w-]+) -->\n).*?(<!-- end of {kind} -->)", re.DOTALL)


def _linked(line: str, page: Path) -> str:
    if not line.startswith(PICTURE):
        return line
    file, _, words = line.removeprefix(PICTURE).partition("|")
    return f"![{words}]({Path(os.path.relpath(file, page.resolve().parent)).as_posix()})"
