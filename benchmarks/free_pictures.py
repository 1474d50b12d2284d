"""Make training pictures of the free photographs in Debian's wallpaper packages: sharp, and with whole colours.

    apt-get download gnome-backgrounds ...      # or from the archive: the packages of PACKAGES, of several releases
    for package in *.deb; do dpkg-deb -x $package unpacked/${package%.deb}; done
    python benchmarks/free_pictures.py unpacked --out PICTURES/free --not-of DATA/test HELD_OUT src/hush/demo

Pictures are halved or more, which undoes what JPEG took from colours and edges, and cut into tiles, of which those with
the most detail are kept. A picture that looks like another one, or like one below a folder of ``--not-of``, is left
out; HELD_OUT is a folder with copies of the validation pictures. ``SOURCES.tsv`` names the file of every tile; the
licences stand in the packages' ``usr/share/doc``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hush.imaging.finding import find_pictures

PACKAGES = (
    "breeze-wallpaper",
    "budgie-backgrounds",
    "gnome-backgrounds",
    "grub2-splashimages",
    "kphotoalbum",
    "lomiri-wallpapers-16.04",
    "lomiri-wallpapers-20.04",
    "mate-backgrounds",
    "oxygen-wallpapers",
    "plasma-workspace-wallpapers",
    "ukui-wallpapers",
)
FOLDERS = ("backgrounds", "wallpapers", "images/grub", "kphotoalbum/demo")
TILE = 400  # pixels a side
LEAST_SIDE = 600
LARGEST = 4  # by which pictures are made smaller; those of 8 megapixels and more by more than 2
OVERLAP = 0.1  # of a tile that a side may lack for one more
PER_PICTURE = 6  # that no scene counts for much more than another
LEAST_DETAIL = 3.0  # difference of a pixel to the mean of its neighbours, root mean square, 8-bit scale
SAME = 0.97  # correlation of thumbnails
THUMBNAIL = 24


def thumbnail(image: Image.Image) -> NDArray[np.float32]:
    """Return (THUMBNAIL**2,), mean 0 and norm 1: the product of two is their correlation."""
    small = np.asarray(image.convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX), np.float32).ravel()
    small -= small.mean()
    return small / max(float(np.linalg.norm(small)), 1e-6)


def detail(tile: Image.Image) -> float:
    """Return how far a pixel is from the mean of its four neighbours, root mean square over an 8-bit tile."""
    gray = np.asarray(tile.convert("L"), np.float32)
    around = (gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:]) / 4
    return float(np.sqrt(np.mean((gray[1:-1, 1:-1] - around) ** 2)))


def tiles(image: Image.Image) -> list[Image.Image]:
    """Halve a picture, or make it smaller by up to LARGEST; return its tiles with the most detail, best first."""
    factor = min(LARGEST, max(2, (image.width * image.height / 8e6) ** 0.5 * 2))
    size = (round(image.width / factor), round(image.height / factor))
    image = image.resize(size, Image.Resampling.LANCZOS)
    places = [(left, top) for top in _starts(image.height) for left in _starts(image.width)]
    cut = [
        image.crop((left, top, min(left + TILE, image.width), min(top + TILE, image.height))) for left, top in places
    ]
    ranked = sorted(((detail(tile), number) for number, tile in enumerate(cut)), reverse=True)
    return [cut[number] for amount, number in ranked[:PER_PICTURE] if amount >= LEAST_DETAIL]


def _starts(side: int) -> list[int]:
    count = max(1, round(side / TILE - OVERLAP))
    return [round(i * max(0, side - TILE) / max(1, count - 1)) for i in range(count)]


def candidates(unpacked: Path) -> list[Path]:
    """Return the pictures of PACKAGES, largest files first: the smaller sizes of the same are left out later."""
    packages = [folder for folder in sorted(unpacked.iterdir()) if folder.name.startswith(PACKAGES)]
    found = [path for path in find_pictures(packages, recursive=True) if not path.is_symlink()]
    chosen = [path for path in found if any(f"/{folder}/" in path.as_posix() for folder in FOLDERS)]
    return sorted(chosen, key=lambda path: (-path.stat().st_size, path.name))


def read(path: Path, least_side: int = 0) -> Image.Image | None:
    """Return a picture without its alpha, or None if it is too small. Raises OSError if it cannot be read."""
    with Image.open(path) as image:
        return image.convert("RGB") if min(image.size) >= least_side else None


def main() -> None:
    """Write the tiles, print how many there are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("unpacked", type=Path, help="folder of unpacked packages")
    parser.add_argument("--out", type=Path, required=True, help="folder for tiles and SOURCES.tsv")
    parser.add_argument("--not-of", type=Path, nargs="*", default=[], help="pictures that none may look like")
    arguments = parser.parse_args()
    Image.MAX_IMAGE_PIXELS = None
    arguments.out.mkdir(parents=True, exist_ok=True)
    held_out = find_pictures(arguments.not_of, recursive=True) if arguments.not_of else []
    seen = [thumbnail(image) for path in held_out if (image := read(path))]
    apart, rows, pictures = len(seen), ["tile\tfile"], 0
    for path in candidates(arguments.unpacked):
        try:
            image = read(path, LEAST_SIDE)
        except OSError as error:
            print(f"{path.name}: not read: {error}")
            continue
        if image is None:
            continue
        small = thumbnail(image)
        likeness = [float(small @ other) for other in seen]
        if likeness and max(likeness) > SAME:
            if int(np.argmax(likeness)) < apart:
                print(f"{path.name}: like a picture that is held out")
            continue
        seen.append(small)
        kept = tiles(image)
        pictures += bool(kept)
        for number, tile in enumerate(kept):
            name = f"{path.stem}-{pictures}-{number}.png"
            tile.save(arguments.out / name)
            rows.append(f"{name}\t{path.relative_to(arguments.unpacked)}")
    (arguments.out / "SOURCES.tsv").write_text("\n".join(rows) + "\n")
    print(f"{len(rows) - 1} tiles of {pictures} pictures")


if __name__ == "__main__":
    main()
