"""Write the table of recipe keys into train.md, from the dataclasses and the strings below their fields.

python docs/recipe_keys.py
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
from pathlib import Path
from typing import get_type_hints

from hush.learning import config

PAGE = Path(__file__).parent / "train.md"
BEGIN, END = "<!-- keys: made by docs/recipe_keys.py -->", "<!-- end of keys -->"


def explanations(kind: type) -> dict[str, str]:
    """Return what stands below each field of a dataclass."""
    (tree,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for statement, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            text = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
            found[statement.target.id] = " ".join(str(text).replace("``", "`").split())
    return found


def rows(kind: type, prefix: str = "") -> list[str]:
    """Return a line per key, those of inner tables with a dot."""
    words, hints = explanations(kind), get_type_hints(kind)
    lines, inner = [], []
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(hints[field.name]):
            inner += rows(hints[field.name], f"{prefix}{field.name}.")
        else:
            default = f'"{field.default}"' if isinstance(field.default, str) else str(field.default).lower()
            lines.append(f"| `{prefix}{field.name}` | `{default}` | {words.get(field.name, '')} |")
    return lines + inner


def table() -> str:
    """Return the table in Markdown."""
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows(config.Recipe)])


def inserted(page: str) -> str:
    """Return the page with the table between its markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(inserted(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
