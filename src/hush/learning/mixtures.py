"""Data sets mixed: clean pictures that a recipe makes noisy, and pairs that are noisy as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hush.errors import UsageError
from hush.learning.datasets import DataSet, Item, open_dataset


def mixture(
    root: str | Path, *, clean: str = "folder@clean", pairs: str = "pairs@pairs", share: float = 0.2
) -> DataSet:
    """Mix clean pictures, which the recipe's degradation makes noisy, with pairs, which are left as noisy as they are.

    Both are given as ``SPEC@FOLDER``, the folder below ``root`` or absolute:
    ``mixture(clean='folder@photos', pairs='sidd@SIDD_Medium/Data', share=0.3)``. Several pairs are joined by ``;``.
    Names of items begin with their folder.

    Args:
        root: folder of all.
        clean: data set of clean pictures.
        pairs: data sets of pairs.
        share: of the patches that are cut from pairs; those that are fewer are seen more often.

    Raises UsageError for a share outside 0 to 1, pictures among the pairs that have no noisy view, or a part without
    its folder.
    """
    if not 0 < share < 1:
        raise UsageError(f"mixture: share = {share}; it is the share of the pairs, above 0 and below 1")
    parts = [_open(root, clean), *(_open(root, part) for part in pairs.split(";"))]
    whole = parts[0]
    noisy = DataSet(
        [replace(item, finished=True) for part in parts[1:] for item in part.train],
        [replace(item, finished=True) for part in parts[1:] for item in part.test],
    )
    if lonely := [item.name for item in noisy.train if item.noisy is None]:
        raise UsageError(f"mixture: {lonely[0]} has no noisy view; pairs = {pairs!r} must name data sets of pairs")
    return DataSet(_balance(whole.train, noisy.train, share), [*whole.test, *noisy.test])


def _open(root: str | Path, part: str) -> DataSet:
    spec, at, place = part.strip().rpartition("@")
    if not at or not spec:
        raise UsageError(f"mixture: {part!r}; write the data set and its folder as SPEC@FOLDER, such as folder@clean")

    def named(items: Sequence[Item]) -> list[Item]:
        return [replace(item, name=f"{place}/{item.name}") for item in items]

    data = open_dataset(spec, Path(root) / place)
    if not data.train:
        raise UsageError(f"mixture: {part.strip()!r} has no picture to learn from; all of them are held out")
    return DataSet(named(data.train), named(data.test))


def _balance(clean: Sequence[Item], noisy: Sequence[Item], share: float) -> list[Item]:
    """Repeat the items of both parts, whole parts where that is enough, so that the second has its share."""
    wanted = share / (1 - share) * len(clean)  # pairs for each round of the clean ones
    if wanted >= len(noisy):
        return [*clean, *_cycle(noisy, round(wanted))]
    return [*_cycle(clean, round(len(noisy) * (1 - share) / share)), *noisy]


def _cycle(items: Sequence[Item], count: int) -> list[Item]:
    return [items[i % len(items)] for i in range(count)]
