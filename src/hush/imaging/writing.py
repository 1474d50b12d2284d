"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hush.errors import HushError


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """Lend a path beside the target, of the same suffix; what is written there takes the target's place in the end.

    Nothing is left behind if anything fails, which is passed on: OSError from the file system.
    """
    temporary = target.with_name(f".hush-{os.getpid()}-{target.name}")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file; raises HushError if it cannot be written."""
    try:
        with whole(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HushError(
            f"{path}: cannot be written ({error.strerror or error}); name a file in a folder of yours"
        ) from error
