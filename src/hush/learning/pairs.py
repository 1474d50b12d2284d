"""Data sets of pairs: the same scene noisy and clean, or blurred and sharp."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from hush.errors import PictureError, UsageError
from hush.learning.datasets import DataSet, Item, Squeezed, list_pictures, name_some, read_names
from hush.names import nearest

SIDD_FOLDER = re.compile(r"\d{4}_\d{3}_\w+")  # <instance>_<scene>_<phone>_<ISO>_<shutter>_<temperature>_<brightness>
SIDD_FILE = re.compile(r"(?:\d{4}_)?(GT|NOISY)_SRGB_(\w+)\.png", re.IGNORECASE)
CAPTURE = r"^(.+?)(?:_[0-9]+)?[.][^.]+$"  # the name without its last number, which counts the crops of a capture
TRIPLE_MARK = re.compile(r"_[SFM]$", re.IGNORECASE)  # sharp, (de)focus, motion


def pairs(
    root: str | Path,
    *,
    noisy: str = "noisy",
    clean: str = "clean",
    noisy_affix: str = "",
    clean_affix: str = "",
    scenes: str = "",
    size: int = 0,
    held_out: bool = False,
    names: str = "",
) -> DataSet:
    """Pair the pictures of two folders by their relative paths, whatever the file type.

    Args:
        root: folder of both.
        noisy: folder of the noisy pictures, below ``root`` or absolute.
        clean: folder of the clean ones; it may be the same folder where affixes tell them apart.
        noisy_affix: a part of the name that only the noisy pictures have, such as ``_real`` in PolyU's
            ``Canon5D2_chair_1_real.JPG``. Pictures without it are left out.
        clean_affix: likewise, such as ``_mean``.
        scenes: a regular expression; what it finds in the name of a clean picture (its first group, if it has one)
            is the scene. ``pairs(noisy=input_crops, clean=gt_crops, scenes='^[0-9]+')`` reads the SIDD crops that
            NAFNet makes.
        size: squeeze pictures to size x size by averaging areas, which averages noise away too; 0 leaves them.
        held_out: whether all pairs are for judging.
        names: a file, below ``root`` or absolute, that lists the clean pictures to take, one a line; empty for all.

    Raises PictureError for a picture without a partner or a name that is not there, UsageError for a wrong expression
    or a negative size.
    """
    _check_size("pairs", size)
    if noisy == clean and noisy_affix == clean_affix:
        raise UsageError(f"noisy and clean are both {noisy!r}; name two folders, or tell the pictures apart by affixes")
    top, find_scene = Path(root), _scene_finder(scenes)
    views = [
        _find_views(top / noisy, lambda path: _without(noisy_affix, path)),
        _find_views(top / clean, lambda path: _without(clean_affix, path)),
    ]
    items = []
    for given, target in _match((noisy, clean), views):
        name = target.relative_to(top / clean).as_posix()
        items.append(_squeezed(Item(name, target, given, scene=find_scene(name)), size))
    items = take(items, top / names) if names else items
    return DataSet([], items) if held_out else DataSet(items)


def take(items: Sequence[Item], listed: Path) -> list[Item]:
    """Return the items whose names a text file lists, one a line, # for comments.

    Raises PictureError if it cannot be read or names what is not there.
    """
    wanted = read_names(listed)
    if unknown := sorted(wanted - {item.name for item in items}):
        raise PictureError(f"{listed}: not there: {name_some(unknown)}. Pictures are named like {items[0].name}")
    return [item for item in items if item.name in wanted]


def pair_sets(root: str | Path, *, table: str = "SPLIT.tsv", sets: str = "", scenes: str = CAPTURE) -> DataSet:
    """Read several sets of pairs below one folder, and a table that says which pairs may be learnt from.

    Each set is a folder that `sidd` reads (it has a folder Data), or else `pairs` (folders noisy and clean). The table
    has a head ``set name use`` and a line per pair, parted by tabs: the folder of the set, the name of the pair in it
    (a file, or a folder of SIDD), and train or report. What is for reporting is held out.

    Args:
        root: the folder of the sets and of the table.
        table: its name.
        sets: only these, parted by commas; empty: all that the table names.
        scenes: as in `pairs`; by default a picture's name without a number at its end, which counts crops.

    Raises PictureError for a table that cannot be read, or pairs that it names and that are not there, UsageError for
    a set that it does not name.
    """
    top = Path(root)
    uses = _read_table(top / table)
    parts: dict[str, list[Item]] = {"train": [], "report": []}
    for name in [name.strip() for name in sets.split(",")] if sets else list(uses):
        if name not in uses:
            raise UsageError(f"{top / table} names no set {name!r}{nearest(name, uses)}. It names: {', '.join(uses)}")
        data = sidd(top / name) if (top / name / "Data").is_dir() else pairs(top / name, scenes=scenes)
        items = {_pair_name(item): item for item in data.train}
        if missing := [pair for pair in uses[name] if pair not in items]:
            raise PictureError(f"{top / table}: pairs that are not in the folder {name}: {name_some(missing)}")
        for pair, use in uses[name].items():
            item = items[pair]
            parts[use].append(replace(item, name=f"{name}/{item.name}", scene=f"{name}/{item.scene or pair}"))
    return DataSet(parts["train"], parts["report"])


def _pair_name(item: Item) -> str:
    """Return the name by which a table knows a pair: its folder in SIDD, else its file."""
    path = PurePath(item.name)
    return path.parent.name if SIDD_FOLDER.fullmatch(path.parent.name) else path.as_posix()


def _read_table(path: Path) -> dict[str, dict[str, str]]:
    """Read {set: {name: train or report}}."""
    try:
        head, *lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line]
    except (OSError, ValueError) as error:
        what = "no such file" if isinstance(error, FileNotFoundError) else "no table of pairs"
        raise PictureError(
            f"{path}: {what}; it must be text with a header line (set, name, use), separated by tabs"
        ) from error
    uses: dict[str, dict[str, str]] = {}
    for line in lines:
        row = dict(zip(head, line, strict=False))
        if not {"set", "name", "use"} <= row.keys() or row["use"] not in ("train", "report"):
            raise PictureError(
                f"{path}: cannot read {' '.join(line)!r}; a line has set, name, and train or report, separated by tabs"
            )
        uses.setdefault(row["set"], {})[row["name"]] = row["use"]
    return uses


def sidd(root: str | Path, *, size: int = 0, test: str = "", names: str = "") -> DataSet:
    """Read SIDD-Small or SIDD-Medium (sRGB): real smartphone noise, 160 scene instances from 10 scenes.

    The official layout is ``Data/0001_001_S6_00100_00060_3200_L/{GT,NOISY}_SRGB_010.PNG``; SIDD-Medium also has
    frames 011 and puts the instance before the file's name, ``0001_GT_SRGB_010.PNG``. The folder's second number is
    the scene. Crops are read too where they lie in these folders under such names, ``GT_SRGB_010_0000.png``.
    Abdelhamed, Lin and Brown, A High-Quality Denoising Dataset for Smartphone Cameras, CVPR 2018.

    Args:
        root: the folder Data or the one that holds it.
        size: squeeze whole frames to size x size by averaging areas, which averages most of the noise away too.
            0 leaves the frames as they are, 12 to 16 megapixels each: give ``data.cache`` memory for all of them, or
            cut crops beforehand.
        test: scenes that are held out, such as ``'001 005 008'``.
        names: a file, below ``root`` or absolute, that lists the clean frames to take, one a line; empty for all.

    Raises PictureError where no such folders are, a frame has no partner or a name is not there, UsageError for a
    negative size or a scene that is not there.
    """
    _check_size("sidd", size)
    top = Path(root)
    top = top / "Data" if (top / "Data").is_dir() else top
    views: list[dict[str, Path]] = [{}, {}]
    for path in sorted(top.glob("*/*")):
        frame = SIDD_FILE.fullmatch(path.name)
        if frame and SIDD_FOLDER.fullmatch(path.parent.name):
            views[frame[1].upper() == "GT"][f"{path.parent.name}/{frame[2]}"] = path
    if not any(views):
        raise PictureError(f"{top}: no SIDD; its pictures lie as Data/0001_001_S6_00100_00060_3200_L/GT_SRGB_010.PNG")
    items = []
    for noisy, clean in _match(("NOISY", "GT"), views):
        item = Item(clean.relative_to(top).as_posix(), clean, noisy, scene=clean.parent.name.split("_")[1])
        items.append(_squeezed(item, size))
    return _part(take(items, Path(root) / names) if names else items, test.split())


def _check_size(name: str, size: int) -> None:
    if size < 0:
        raise UsageError(f"{name}: size = {size}; it is a side in pixels such as 512, or 0 for whole frames")


def _squeezed(item: Item, size: int) -> Item:
    """Return an item of which both views are squeezed."""
    if not size:
        return item
    assert isinstance(item.clean, Path)
    assert isinstance(item.noisy, Path)
    return replace(item, clean=Squeezed(item.clean, size), noisy=Squeezed(item.noisy, size))


def _part(items: Sequence[Item], scenes: Sequence[str]) -> DataSet:
    """Hold out the items of some scenes."""
    known = sorted({item.scene for item in items})
    if unknown := [scene for scene in scenes if scene not in known]:
        raise UsageError(f"sidd: no scene {unknown[0]!r} to hold out; there are {' '.join(known)}")
    held = [item for item in items if item.scene in scenes]
    return DataSet([item for item in items if item.scene not in scenes], held)


def blur_pairs(
    root: str | Path, *, blurred: str = "blur", sharp: str = "sharp", scenes: str = "", held_out: bool = False
) -> DataSet:
    """Read pixel-aligned pairs of blurred and sharp pictures.

    Either two folders as `pairs` takes them, or GoPro's official layout
    ``{train,test}/GOPR0372_07_00/{blur,sharp}/000047.png`` with a scene per sequence; ``blurred=blur_gamma`` takes its
    other rendering. Nah, Kim and Lee, Deep Multi-scale Convolutional Neural Network for Dynamic Scene Deblurring,
    CVPR 2017. With ``held_out`` two folders are all for judging.

    Raises PictureError where neither is found or a picture has no partner.
    """
    top = Path(root)
    if (top / blurred).is_dir():
        return pairs(top, noisy=blurred, clean=sharp, scenes=scenes, held_out=held_out)
    parts: dict[str, list[Item]] = {"train": [], "test": []}
    for part, items in parts.items():
        for sequence in sorted(path.parent for path in top.glob(f"{part}/*/{blurred}")):
            where = sequence.relative_to(top).as_posix()
            for item in pairs(sequence, noisy=blurred, clean=sharp).train:
                items.append(replace(item, name=f"{where}/{item.name}", scene=sequence.name))
    if not parts["train"]:
        raise PictureError(f"{top}: neither folders {blurred!r} and {sharp!r}, nor train/<sequence>/{blurred} below it")
    return DataSet(parts["train"], parts["test"])


def blur_triples(
    root: str | Path,
    *,
    sharp: str = "sharp",
    defocused: str = "defocused_blurred",
    motion: str = "motion_blurred",
    held_out: bool = False,
) -> DataSet:
    """Read triples of a scene: sharp, out of focus, and blurred by motion.

    The layout of kwentar/blur-dataset on Kaggle: ``sharp/0_IPHONE-SE_S.JPG``,
    ``defocused_blurred/0_IPHONE-SE_F.JPG``, ``motion_blurred/0_IPHONE-SE_M.JPG``. Each triple gives two items, labelled
    by their blur. The views are **not aligned** to the pixel, as the camera moved between the shots: PSNR and SSIM
    against the sharp one mean little, and what learns from them pixel by pixel learns the shifts too. With ``held_out``
    all are for judging.

    Raises PictureError for a picture without its partners.
    """
    top, sides = Path(root), (sharp, defocused, motion)
    views = [_find_views(top / side, _triple) for side in sides]
    items = [
        Item(path.relative_to(top).as_posix(), clean, path, label=label, scene=_triple(clean.relative_to(top / sharp)))
        for clean, *blurred in _match(sides, views)
        for label, path in enumerate(blurred)
    ]
    return DataSet([] if held_out else items, items if held_out else [], classes=(defocused, motion))


def _find_views(top: Path, key: Callable[[PurePath], str | None]) -> dict[str, Path]:
    """Find the pictures below a folder by their key; those whose key is None are left out."""
    found: dict[str, Path] = {}
    for path in list_pictures(top):
        name = key(path.relative_to(top))
        if name is not None and found.setdefault(name, path) != path:
            raise PictureError(f"{top}: {found[name].name} and {path.name} would get the same partner; rename one")
    return found


def _without(affix: str, path: PurePath) -> str | None:
    """Return a path without its suffix and the affix, None where the affix is missing."""
    return (path.parent / path.stem.replace(affix, "", 1)).as_posix() if affix in path.stem else None


def _triple(path: PurePath) -> str:
    return TRIPLE_MARK.sub("", path.with_suffix("").as_posix())


def _match(sides: Sequence[str], views: Sequence[dict[str, Path]]) -> list[tuple[Path, ...]]:
    """Join the views that have the same key, a view per side.

    Raises PictureError, naming them, for pictures that are missing on another side.
    """
    everything = {key: path for view in views for key, path in view.items()}
    lonely = [
        f"{path.parent.name}/{path.name} (none in {side})"
        for side, view in zip(sides, views, strict=True)
        for key, path in everything.items()
        if key not in view
    ]
    if lonely:
        count = f"{len(lonely)} pictures have no partner" if len(lonely) > 1 else "a picture has no partner"
        raise PictureError(f"{count}: {name_some(lonely)}. Pictures are paired by name; add or remove the odd ones")
    return [tuple(view[key] for view in views) for key in views[0]]


def _scene_finder(expression: str) -> Callable[[str], str]:
    """Return what finds a scene in a name."""
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise UsageError(f"scenes = {expression!r} is no regular expression: {error}") from error

    def find_scene(name: str) -> str:
        found = pattern.search(name)
        return (found[found.lastindex or 0] or "") if found else ""

    return find_scene
