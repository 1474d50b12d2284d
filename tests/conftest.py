"""Where the tests find pictures: those that ship, and the larger excerpts where they are at hand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a worker per core: more threads would only wait for each other

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    import torch

settings.register_profile("unhurried", deadline=None)  # a busy machine is no error
settings.load_profile("unhurried")

HERE = Path(__file__).parent


def shared_data(*parts: str) -> Path:
    """Return a path inside the development excerpts, or skip the test where they are missing.

    They are looked for in HUSH_TEST_DATA, then in ../shared/data beside the checkout.
    """
    root = Path(os.environ.get("HUSH_TEST_DATA") or HERE.parent.parent / "shared" / "data")
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"development data {'/'.join(parts) or root.name} is missing; set HUSH_TEST_DATA to its folder")
    return path


@pytest.fixture
def photos() -> list[Path]:
    """Return the small free photographs that ship with the tests."""
    return sorted((HERE / "data").glob("*.png")) + sorted((HERE / "data").glob("*.jpg"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights with random numbers."""
    from tiny import write_tiny

    return str(write_tiny(tmp_path_factory.mktemp("weights") / "tiny.onnx"))


@pytest.fixture(scope="session")
def dark(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights that take half the noise level off, restored = noisy - sigma / 255 / 2, so that it can be read there."""
    from tiny import darkening_numbers, write_tiny

    return str(write_tiny(tmp_path_factory.mktemp("weights") / "tiny.onnx", numbers=darkening_numbers()))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums are the same bit for bit only with the same number of threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rng(seed: int = 0) -> torch.Generator:
    """Return a generator of torch's."""
    import torch

    return torch.Generator().manual_seed(seed)
