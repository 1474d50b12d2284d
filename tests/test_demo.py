"""The demo: its photographs, its noise, its page, and what the weights that ship gain on it."""

import re
from pathlib import Path

import numpy as np
import pytest

from hush.cli import run
from hush.imaging.files import read
from hush.restoring.demonstration import (
    MIXED,
    PHOTOGRAPHS,
    SCENES,
    demonstrate,
    gaussian,
    open_scene,
    save_page,
    save_pictures,
    sensor,
)
from hush.restoring.weights import BUNDLED
from tiny import write_tiny

GRAY = np.full((256, 256, 3), 0.5)


def to_linear(image):
    return np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)


def test_photographs_are_small_and_their_sources_are_told():
    sources = (PHOTOGRAPHS / "SOURCES.md").read_text(encoding="utf-8")
    for scene in SCENES:
        height, width, channels = open_scene(scene).shape
        assert 400 < height < 800
        assert 500 <= width < 800
        assert channels == 3
        assert f"`{scene.name}.jpg`" in sources
    assert {p.name for p in PHOTOGRAPHS.glob("*.jpg")} == {f"{scene.name}.jpg" for scene in SCENES}
    assert sum(p.stat().st_size for p in PHOTOGRAPHS.iterdir()) < 1.5e6


def test_gaussian_noise_has_its_sigma():
    noise = gaussian(GRAY, np.random.default_rng(0), sigma=25) - GRAY
    assert noise.std() * 255 == pytest.approx(25, rel=0.01)


@pytest.mark.parametrize("value", [0.1, 0.5, 0.9])
def test_sensor_noise_grows_with_light(value):
    electrons, read_noise = 2000, 5
    scene = np.full((512, 512, 3), value)
    noise = to_linear(sensor(scene, np.random.default_rng(0), electrons=electrons, read_noise=read_noise))
    light = float(to_linear(np.array(value)))
    mixing = ((1 - MIXED) ** 2 + MIXED**2) ** 2  # what is left of the variance when neighbours mix, down and across
    for channel, sites in enumerate((1, 2, 1)):
        expected = (light * electrons + read_noise**2) / electrons**2 / sites * mixing
        assert noise[..., channel].var() == pytest.approx(expected, rel=0.05)
        assert noise[..., channel].mean() == pytest.approx(light, abs=2e-4)


def test_sensor_noise_is_mildly_correlated():
    noise = sensor(GRAY, np.random.default_rng(0), electrons=500) - GRAY
    along = np.corrcoef(noise[:, 1:, 1].ravel(), noise[:, :-1, 1].ravel())[0, 1]
    assert along == pytest.approx(MIXED * (1 - MIXED) / (MIXED**2 + (1 - MIXED) ** 2), abs=0.02)


def test_noise_repeats_by_seed():
    for scene in SCENES:
        image = open_scene(scene)[:64, :64] / 255
        first, second = (scene.add_noise(image, np.random.default_rng(3)) for _ in range(2))
        assert np.array_equal(first, second)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Return the demo's scenes, restored by weights that know nothing."""
    weights = write_tiny(tmp_path_factory.mktemp("weights") / "tiny.onnx")
    return list(demonstrate(str(weights)))


def test_each_scene_is_measured(shown):
    assert [s.scene for s in shown] == list(SCENES)
    for s in shown:
        assert s.clean.shape == s.noisy.shape == s.restored.shape
        assert s.clean.dtype == s.noisy.dtype == s.restored.dtype == np.uint8
        assert 18 < s.psnr[0] < 35
        assert 0 < s.ssim[0] < 1
        assert s.seconds > 0


def test_pictures_are_written_without_loss(shown, tmp_path):
    views = (shown[0].clean, shown[0].noisy, shown[0].restored)
    for path, pixels in zip(save_pictures(shown[0], tmp_path), views, strict=True):
        assert np.array_equal(read(path).pixels, pixels)


def test_the_page_is_whole_in_itself_and_gives_credit(shown, tmp_path):
    page = save_page(shown[:2], tmp_path / "new" / "folder").read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=[\"'](?!data:)", page)
    assert page.count('role="slider"') == 2
    assert all(s.scene.credit.split(",")[0] in page for s in shown[:2])


def test_the_command_prints_a_table_and_writes_everything(tmp_path, monkeypatch, capsys, shown):
    monkeypatch.setattr("hush.restoring.demonstration.demonstrate", lambda weights: iter(shown))
    assert run(["demo", "-o", str(tmp_path / "demo")]) == 0
    out = capsys.readouterr().out
    assert all(scene.name in out for scene in SCENES)
    assert "index.html" in out
    names = {f"{scene.name}-{view}.png" for scene in SCENES for view in ("clean", "noisy", "restored")}
    assert {p.name for p in (tmp_path / "demo").iterdir()} == names | {"index.html"}


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, monkeypatch, capsys, shown):
    monkeypatch.setattr("hush.restoring.demonstration.demonstrate", lambda weights: iter(shown))
    (tmp_path / "file").touch()
    assert run(["demo", "-o", str(tmp_path / "file" / "demo")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_weights_that_ship_gain_decibels_on_every_scene():
    if not Path(BUNDLED / "gaussian.onnx").exists():
        pytest.skip("this checkout has no weights: src/hush/weights/gaussian.onnx is missing")
    for s in demonstrate():
        assert s.psnr[1] - s.psnr[0] > 2.5, s.scene.name
        assert s.ssim[1] > s.ssim[0], s.scene.name
