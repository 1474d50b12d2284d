"""Figures that were measured before: a bench that was interrupted goes on, and slow peers restore a picture once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hush.errors import HushError

Figures = dict[str, Any]


class Store:
    """Figures by key, in a file of one JSON object a line; a line that a kill has cut off is measured again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:  # before hours of work, not after them
            path.parent.mkdir(parents=True, exist_ok=True)
            open(path, "a", encoding="utf-8").close()
        except OSError as error:
            raise HushError(f"{path}: cannot be written ({error.strerror or error}). Choose another --out") from error
        self._figures: dict[str, Figures] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                entry = json.loads(line)
                self._figures[entry["key"]] = entry["figures"]
            except (ValueError, KeyError, TypeError):
                continue

    def get(self, key: str) -> Figures | None:
        """Return the figures of a key; None where they are not known."""
        return self._figures.get(key)

    def put(self, key: str, figures: Figures, **about: str) -> None:
        """Keep figures; ``about`` is for people who look into the file."""
        self._figures[key] = figures
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps({**about, "figures": figures, "key": key}, ensure_ascii=False) + "\n")


def digest(*parts: NDArray[Any] | str) -> str:
    """Return a checksum of arrays and words."""
    content = hashlib.sha256()
    for part in parts:
        content.update(f"{part}\n".encode() if isinstance(part, str) else f"{part.shape}".encode() + part.tobytes())
    return content.hexdigest()[:32]
