"""Tiers of quality: each family has three, what does not ship is said, and the best one is a mean over eight views."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from conftest import HERE
from hush import denoise
from hush.cli import run
from hush.errors import UsageError
from hush.restoring import tiers
from hush.restoring.options import DenoiseOptions
from hush.restoring.restorers import open_restorer
from hush.restoring.runtimes import open_runtime
from hush.restoring.tiers import FAMILIES, TIERS, Choice, Ensemble, choose_weights
from hush.restoring.weights import WEIGHTS, Weights, open_weights
from tiny import write_tiny


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """Weights with random numbers: they know left from right."""
    return open_weights(write_tiny(tmp_path_factory.mktemp("tiers") / "own.onnx"))


def noisy(height: int = 20, width: int = 26, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).random((height, width, channels), np.float32)


def test_every_family_has_three_tiers() -> None:
    for family, names in FAMILIES.items():
        assert tuple(names) == TIERS
        assert names["balanced"] == family
        assert names["best"] in WEIGHTS


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tiers_of_a_family(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_weights(family) == choose_weights(family, "balanced") == Choice(family)
    assert choose_weights(family, "best").weights == FAMILIES[family]["best"]
    monkeypatch.setitem(tiers.WEIGHTS, FAMILIES[family]["fast"], WEIGHTS[family])
    assert choose_weights(family, "fast") == Choice(FAMILIES[family]["fast"])
    monkeypatch.delitem(tiers.WEIGHTS, FAMILIES[family]["fast"])
    chosen = choose_weights(family, "fast")
    assert chosen.weights == family
    assert "do not ship" in chosen.word


def test_own_weights_are_their_own_fast_tier() -> None:
    assert choose_weights("mine.onnx", "fast").weights == "mine.onnx"
    assert "has no faster tier" in choose_weights("mine.onnx", "fast").word
    assert choose_weights("mine.onnx", "best") == Choice("mine.onnx", ensemble=True)


@pytest.mark.parametrize("name", ["identity", "classical:nlm"])
def test_what_has_no_weights_has_no_tiers(name: str) -> None:
    assert choose_weights(name) == Choice(name)
    with pytest.raises(UsageError, match="comes in one quality"):
        choose_weights(name, "best")


def test_unknown_tiers_are_named() -> None:
    for attempt in (lambda: choose_weights("gaussian", "good"), lambda: DenoiseOptions(quality="good")):
        with pytest.raises(UsageError, match="fast, balanced or best"):
            attempt()


def test_an_ensemble_is_the_mean_over_turned_and_mirrored_views(weights: Weights) -> None:
    plain = open_runtime(weights, precision="exact")
    batch = noisy().transpose(2, 0, 1)[None]
    sigma_map = np.random.default_rng(1).random((1, 1, 20, 26), np.float32)
    views = []
    for turns in range(4):
        for flipped in (False, True):

            def seen(x: np.ndarray) -> np.ndarray:
                x = np.rot90(x, turns, (2, 3))  # noqa: B023  # used in this round only
                return x[:, :, ::-1] if flipped else x  # noqa: B023

            restored = plain(seen(batch), seen(sigma_map))
            views.append(np.rot90(restored[:, :, ::-1] if flipped else restored, -turns, (2, 3)))
    expected = np.mean(views, axis=0)
    found = Ensemble(plain)(batch, sigma_map)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - plain(batch, sigma_map)).max() > 1e-3


@pytest.mark.parametrize("turn", [lambda x: np.rot90(x), lambda x: x[:, ::-1], lambda x: x[::-1]])
def test_an_ensemble_does_not_know_left_from_right(weights: Weights, turn) -> None:  # type: ignore[no-untyped-def]
    restorer = open_restorer(weights.path, quality="best", precision="exact")
    picture = noisy()
    np.testing.assert_allclose(restorer(turn(picture), 25), turn(restorer(picture, 25)), atol=1e-5)
    assert "mean of 8 views" in restorer.description


def test_a_map_of_the_level_is_turned_with_the_picture(weights: Weights) -> None:
    restorer = open_restorer(weights.path, quality="best", precision="exact")
    levels = 50 * np.random.default_rng(2).random((20, 26), np.float32)
    expected = np.rot90(restorer(noisy(), levels))
    np.testing.assert_allclose(restorer(np.rot90(noisy()), np.rot90(levels)), expected, atol=1e-5)


def test_blind_and_gray_weights_have_a_best_tier_too(tmp_path: Path) -> None:
    blind = write_tiny(tmp_path / "blind.onnx", 1, sigma_map=False)
    assert open_restorer(blind, quality="best")(noisy(channels=1)).shape == (20, 26, 1)


def test_best_by_name_and_by_quality_are_the_same() -> None:
    picture = noisy(48, 40)
    by_name = denoise(picture, 25, weights="gaussian-best", precision="exact")
    np.testing.assert_array_equal(denoise(picture, 25, quality="best", precision="exact"), by_name)
    assert np.abs(denoise(picture, 25, precision="exact") - by_name).max() > 1e-4


def test_the_command_says_that_a_tier_does_not_ship(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(tiers.WEIGHTS, "gaussian-fast", raising=False)
    line = ["denoise", str(HERE / "data" / "camera.png"), "-o", str(tmp_path / "out.png"), "--quality", "fast"]
    assert run([*line, "--sigma", "10", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["target"] == str(tmp_path / "out.png")
    assert "'gaussian-fast' do not ship with this version; 'gaussian' are used" in said.err
    assert run([*line, "--weights", "classical:nlm", "--overwrite"]) == 2
