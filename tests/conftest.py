"""Where the tests find pictures: those that ship, and the larger excerpts where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a worker per core: more threads would only wait for each other

import pytest
from hypothesis import settings

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
