"""SIDD's validation blocks as they are published: two MATLAB files of 40 x 32 blocks of 256 x 256 pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hush.errors import PictureError, need

FILES = "Validation{}BlocksSrgb"  # of the files and of the arrays in them; Noisy or Gt


@dataclass(frozen=True, eq=False)
class Block:
    """A picture that is a part of a file."""

    name: str
    pixels: NDArray[np.uint8]
    """(H, W, 3)."""

    def __str__(self) -> str:
        return self.name


def read_blocks(folder: Path) -> list[tuple[str, Block, Block]]:
    """Return name, clean and noisy view of SIDD's validation blocks, named ``image/block``, counted from 01.

    Abdelhamed, Lin and Brown, A High-Quality Denoising Dataset for Smartphone Cameras, CVPR 2018. Needs SciPy.

    Args:
        folder: holds ValidationNoisyBlocksSrgb.mat and ValidationGtBlocksSrgb.mat; each has an array (images, blocks,
            H, W, 3) of bytes, 40 x 32 x 256 x 256 x 3 in the benchmark.

    Raises PictureError if the files are missing, hold something else or differ, MissingExtra without SciPy.
    """
    noisy, clean = (_read(folder, view) for view in ("Noisy", "Gt"))
    if noisy.shape != clean.shape:
        raise PictureError(f"{folder}: noisy blocks {noisy.shape}, clean blocks {clean.shape}; they must agree")
    named = []
    for image, block in np.ndindex(*clean.shape[:2]):
        name = f"{image + 1:02d}/{block + 1:02d}"
        views = [Block(f"{folder}: block {name}", blocks[image, block]) for blocks in (clean, noisy)]
        named.append((name, views[0], views[1]))
    return named


def _read(folder: Path, view: str) -> NDArray[np.uint8]:
    key = FILES.format(view)
    path = folder / f"{key}.mat"
    if not path.is_file():
        raise PictureError(f"{path}: no such file; SIDD's validation data are two files named {FILES.format('*')}.mat")
    loadmat = need("scipy.io", "sidd").loadmat
    try:
        blocks: Any = loadmat(path, variable_names=[key]).get(key)
    except (NotImplementedError, ValueError, OSError) as error:  # HDF5 files of MATLAB 7.3 are not implemented
        raise PictureError(f"{path}: cannot be read as a MATLAB file ({error})") from error
    if not isinstance(blocks, np.ndarray) or blocks.dtype != np.uint8 or blocks.ndim != 5 or blocks.shape[-1] != 3:
        came = "nothing" if blocks is None else f"{getattr(blocks, 'shape', type(blocks))} of {blocks.dtype}"
        raise PictureError(f"{path}: {key} is {came}; it must be bytes of shape (images, blocks, H, W, 3)")
    return blocks
