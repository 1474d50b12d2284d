"""Evaluation: the protocol is the field's, figures are paired and repeatable, intervals are right."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage

from conftest import shared_data
from hush.errors import HushError, PictureError, UsageError
from hush.judging import evaluation, intervals
from hush.judging.evaluation import evaluate
from hush.judging.intervals import bootstrap_interval
from hush.judging.results import Report, compare, summarise

torch = pytest.importorskip("torch")

SUMMARY = {
    *("weights", "data", "degradation", "n", "psnr", "psnr_interval", "ssim", "ssim_interval"),
    *("psnr_input", "ssim_input", "seconds_per_megapixel", "warning"),
}


class Recorder:
    """A restorer that remembers what it was given and answers as it is told."""

    description = "recorder"

    def __init__(
        self, answer: Callable[[NDArray[Any], float | None], NDArray[Any]] = lambda noisy, sigma: noisy
    ) -> None:
        self.answer = answer
        self.given: list[tuple[NDArray[Any], float | None]] = []

    def __call__(self, noisy: NDArray[Any], sigma: float | None) -> NDArray[Any]:
        self.given.append((noisy.copy(), sigma))
        return self.answer(noisy, sigma)


@pytest.fixture
def restorers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Restorers that ``evaluate`` finds by these names."""
    table: dict[str, Any] = {"same": Recorder()}
    monkeypatch.setattr(evaluation, "open_restorer", lambda name, **options: table[name])
    return table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four small clean pictures of two scenes: colour, gray, one with alpha, and an upright one."""
    rng = np.random.default_rng(7)
    shapes = {"a_1": (24, 32, 3), "a_2": (24, 32), "b_1": (24, 32, 4), "b_2": (32, 24, 3)}
    (tmp_path / "clean").mkdir()
    for name, shape in shapes.items():
        PillowImage.fromarray(rng.integers(0, 256, shape, np.uint8)).save(tmp_path / "clean" / f"{name}.png")
    return tmp_path / "clean"


def pixels(path: Path) -> NDArray[np.float32]:
    """Return a picture as (H, W, C) in [0, 1] without alpha."""
    array = np.asarray(PillowImage.open(path), np.float32) / 255
    return array[..., None] if array.ndim == 2 else array[..., :3]


def gray_folder(tmp_path: Path, level: int = 100, count: int = 2) -> str:
    """Make flat gray pictures."""
    for i in range(count):
        PillowImage.fromarray(np.full((20, 30), level, np.uint8)).save(tmp_path / f"flat{i}.png")
    return str(tmp_path)


# ---------------------------------------------------------------- intervals


def test_interval_by_hand() -> None:
    # two pictures, 0 and 1: the means of resamples are 0, 1/2 and 1 with chances 1/4, 1/2 and 1/4
    assert bootstrap_interval([0, 1], ["a", "b"]) == (0, 1)
    assert bootstrap_interval([0, 1], ["a", "b"], share=0.4) == (0.5, 0.5)


def test_interval_of_many_is_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(30, 2, 400)
    low, high = bootstrap_interval(values.tolist(), [str(i) for i in range(400)]) or (0, 0)
    reach = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - reach, abs=0.03 * reach)
    assert high == pytest.approx(values.mean() + reach, abs=0.03 * reach)


def test_interval_holds_the_truth_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 1000)
    rng = np.random.default_rng(2)
    names = [str(i) for i in range(40)]
    found = [bootstrap_interval(rng.normal(0, 1, 40).tolist(), names) or (1, 1) for _ in range(300)]
    assert 0.90 <= np.mean([low <= 0 <= high for low, high in found]) <= 0.98


def test_interval_counts_scenes_not_pictures() -> None:
    values = [30.0, 31.0, 33.0, 36.0]
    alone = bootstrap_interval(values, list("abcd"))
    assert bootstrap_interval(values * 5, list("abcd") * 5) == pytest.approx(alone)
    wide, narrow = (bootstrap_interval(values * 5, names) for names in (list("abcd") * 5, [str(i) for i in range(20)]))
    assert wide is not None
    assert narrow is not None
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])


def test_interval_weighs_scenes_by_their_pictures() -> None:
    # resamples: a twice (0), b twice (1), or one of each, whose mean over pictures is 1/4
    assert bootstrap_interval([0, 0, 0, 1], ["a", "a", "a", "b"], share=0.4) == (0.25, 0.25)


def test_interval_of_one_scene_is_unknown() -> None:
    assert bootstrap_interval([30.0, 31.0], ["a", "a"]) is None


def test_interval_is_the_same_every_time_and_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    values, names = [1.0, 2.0, 4.0, 8.0], list("abcd")
    whole = bootstrap_interval(values, names)
    assert bootstrap_interval(values, names) == whole
    monkeypatch.setattr(intervals, "AT_ONCE", 1000)
    assert bootstrap_interval(values, names) == whole


# ---------------------------------------------------------------- protocol


def test_noise_is_that_of_the_seed_and_neither_clipped_nor_rounded(restorers: dict[str, Any], folder: Path) -> None:
    evaluate("same", str(folder), degradations="gaussian(sigma=50)", seed=3)
    given = restorers["same"].given[1:]  # the first call is the warm-up
    for number, (path, (noisy, sigma)) in enumerate(zip(sorted(folder.iterdir()), given, strict=True)):
        clean = pixels(path)
        noise = torch.randn((1, *clean.transpose(2, 0, 1).shape), generator=torch.Generator().manual_seed(3 + number))
        expected = clean + noise[0].permute(1, 2, 0).numpy() * 50 / 255
        np.testing.assert_allclose(noisy, expected, atol=1e-6)
        assert noisy.dtype == np.float32
        assert noisy.min() < 0
        assert noisy.max() > 1
        assert sigma == pytest.approx(50)


def test_all_weights_get_the_same_noise(restorers: dict[str, Any], folder: Path) -> None:
    restorers["other"] = Recorder(lambda noisy, sigma: 0.5 * noisy)
    evaluate(["same", "other"], str(folder), degradations=["gaussian(sigma=25)", "poisson(peak=30)"])
    for (one, _), (other, _) in zip(restorers["same"].given, restorers["other"].given, strict=True):
        np.testing.assert_array_equal(one, other)


def test_same_seed_same_report_other_seed_other_noise(restorers: dict[str, Any], folder: Path) -> None:
    def figures(seed: int) -> list[float]:
        return [row["psnr"] for row in evaluate("same", str(folder), degradations="gaussian", seed=seed).rows]

    assert figures(0) == figures(0)
    assert not set(figures(0)) & set(figures(9))


def test_clip_and_quantise(restorers: dict[str, Any], folder: Path) -> None:
    report = evaluate("same", str(folder), degradations="gaussian(sigma=50)", clip=True)
    noisy = restorers["same"].given[-1][0]
    assert (noisy.min(), noisy.max()) == (0, 1)
    assert not np.allclose(noisy * 255, np.rint(noisy * 255), atol=1e-3)
    assert (report.protocol["clipped"], report.protocol["quantised"]) == (True, False)
    report = evaluate("same", str(folder), degradations="gaussian(sigma=50)", quantise=True)
    noisy = restorers["same"].given[-1][0]
    np.testing.assert_allclose(noisy * 255, np.rint(noisy * 255), atol=1e-3)
    assert (report.protocol["clipped"], report.protocol["quantised"]) == (True, True)


def test_restored_is_clamped_and_rounded_before_it_is_measured(restorers: dict[str, Any], tmp_path: Path) -> None:
    data = gray_folder(tmp_path)
    restorers["shifted"] = Recorder(lambda noisy, sigma: np.full_like(noisy, 110.4 / 255))
    restorers["white"] = Recorder(lambda noisy, sigma: np.full_like(noisy, 7.0))
    shifted, white = evaluate(["shifted", "white"], data, degradations="gaussian(sigma=15)").summary
    assert shifted["psnr"] == pytest.approx(20 * math.log10(255 / 10))  # 110 beside 100
    assert white["psnr"] == pytest.approx(20 * math.log10(255 / 155))  # 255 beside 100


def test_figures_agree_with_scikit_image(restorers: dict[str, Any], folder: Path) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    report = evaluate("same", str(folder), degradations="gaussian(sigma=25)", metrics=("psnr", "ssim", "ssim_uniform"))
    row = report.rows[0]
    clean = np.asarray(PillowImage.open(folder / "a_1.png"))
    seen = np.rint(restorers["same"].given[0][0].clip(0, 1) * 255).astype(np.uint8)
    assert row["psnr"] == pytest.approx(metrics.peak_signal_noise_ratio(clean, seen), abs=1e-6)
    assert row["ssim_uniform"] == pytest.approx(metrics.structural_similarity(clean, seen, channel_axis=2), abs=1e-6)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": 2}
    assert row["ssim"] == pytest.approx(metrics.structural_similarity(clean, seen, **options), abs=1e-6)


def test_identity_is_measured_like_the_input(restorers: dict[str, Any], folder: Path) -> None:
    for row in evaluate("same", str(folder), degradations="gaussian(sigma=25)").rows:
        assert (row["psnr"], row["ssim"]) == (row["psnr_input"], row["ssim_input"])


@pytest.mark.parametrize(
    ("sigma", "degradation", "told"),
    [
        ("given", "gaussian(sigma=30) + gaussian(sigma=40)", 50),
        ("given", "gaussian(sigma=30) + clip", 30),
        ("given", "poisson(peak=30)", None),
        ("given", "poisson(peak=30) + gaussian(sigma=2)", None),
        ("auto", "gaussian(sigma=25)", None),
        (17, "gaussian(sigma=25)", 17),
        ("17.5", "poisson(peak=30)", 17.5),
        (0, "gaussian(sigma=25)", 0),
    ],
)
def test_what_the_restorer_is_told(
    restorers: dict[str, Any], folder: Path, sigma: str | float, degradation: str, told: float | None
) -> None:
    report = evaluate("same", str(folder), degradations=degradation, sigma=sigma)
    assert [given for _, given in restorers["same"].given] == pytest.approx([told] * 5)
    assert [row["sigma"] for row in report.rows] == pytest.approx([told] * 4)


def test_a_range_of_sigma_is_told_as_it_was_drawn(restorers: dict[str, Any], tmp_path: Path) -> None:
    evaluate("same", gray_folder(tmp_path, count=4), degradations="gaussian(sigma=5..75)")
    told = {sigma for _, sigma in restorers["same"].given}
    assert len(told) == 4
    for noisy, sigma in restorers["same"].given:
        assert np.std(noisy) * 255 == pytest.approx(sigma, rel=0.15)


def test_protocol_says_what_was_done(restorers: dict[str, Any], folder: Path) -> None:
    protocol = evaluate("same", str(folder), degradations="gaussian", threads=2, limit=2, scenes="^(.)").protocol
    words = " ".join(protocol["words"])
    for part in ("not clipped, not quantised", "seed 0", "11x11", "told the true sigma", "scenes", "first 2 pictures"):
        assert part in words
    assert (protocol["seed"], protocol["clipped"], protocol["quantised"]) == (0, False, False)
    assert (protocol["sigma"], protocol["border"]) == ("given", 0)
    assert protocol["runtime"]["threads"] == 2
    assert protocol["restorers"] == {"same": "recorder"}
    assert protocol["machine"]["processor"]
    assert {"python", "numpy", "torch"} <= set(protocol["versions"])
    assert "quantised to 8 bit" in " ".join(
        evaluate("same", str(folder), degradations="gaussian", quantise=True).protocol["words"]
    )


# ---------------------------------------------------------------- the report


def test_rows_and_summary(restorers: dict[str, Any], folder: Path) -> None:
    restorers["half"] = Recorder(lambda noisy, sigma: 0.5 * noisy)
    chains = ["gaussian(sigma=25)", "poisson(peak=30)"]
    steps: list[tuple[int, int]] = []
    report = evaluate(["same", "half"], [str(folder)], degradations=chains, progress=lambda *step: steps.append(step))
    assert steps == [(i, 16) for i in range(1, 17)]
    assert [(e["degradation"], e["weights"], e["n"]) for e in report.summary] == [
        (chain, name, 4) for chain in chains for name in ("same", "half")
    ]
    assert all(set(entry) == SUMMARY for entry in report.summary)
    assert [row["image"] for row in report.rows[:4]] == ["a_1.png", "a_2.png", "b_1.png", "b_2.png"]
    assert report.rows[0]["megapixels"] == pytest.approx(24 * 32 / 1e6)
    first = report.summary[0]
    assert first["psnr"] == pytest.approx(np.mean([row["psnr"] for row in report.rows[:4]]))
    assert first["psnr_interval"][0] < first["psnr"] < first["psnr_interval"][1]
    assert first["warning"] is None
    assert "WORSE" in report.summary[1]["warning"]
    other = evaluate(["same", "half"], [str(folder)], degradations=chains[:1], metrics="ssim", limit=2)
    assert other.metrics == ("ssim",)
    assert "WORSE THAN THE INPUT: psnr" in other.summary[1]["warning"], "also where nobody asked for PSNR"
    assert "WORSE" in other._repr_html_()


def test_differences_are_paired(restorers: dict[str, Any], folder: Path) -> None:
    restorers["half"] = Recorder(lambda noisy, sigma: 0.5 * noisy)
    report = evaluate(["same", "half"], str(folder), degradations=["gaussian", "speckle"])
    assert [(d["weights"], d["baseline"], d["degradation"], d["n"]) for d in report.differences] == [
        ("half", "same", "gaussian", 4),
        ("half", "same", "speckle", 4),
    ]
    psnr = {(row["weights"], row["image"]): row["psnr"] for row in report.rows if row["degradation"] == "gaussian"}
    steps = [psnr["half", image] - psnr["same", image] for name, image in psnr if name == "same"]
    difference = report.differences[0]
    assert difference["psnr"] == pytest.approx(np.mean(steps))
    assert difference["psnr_interval"] == pytest.approx(bootstrap_interval(steps, list("abcd")))


def test_scenes_widen_intervals(restorers: dict[str, Any], folder: Path) -> None:
    report = evaluate("same", str(folder), degradations="gaussian", scenes=r"^(\w)_")
    assert [row["scene"] for row in report.rows] == ["a", "a", "b", "b"]
    expected = bootstrap_interval([row["psnr"] for row in report.rows], list("aabb"))
    assert report.summary[0]["psnr_interval"] == pytest.approx(expected)
    single = evaluate("same", str(folder), degradations="gaussian", scenes="(png)")
    assert single.summary[0]["psnr_interval"] is None


def test_exact_restoration_is_left_out_and_said(restorers: dict[str, Any], tmp_path: Path) -> None:
    data = gray_folder(tmp_path, count=3)
    answers = iter([100, 100, 110, 100])  # warm-up first
    restorers["some"] = Recorder(lambda noisy, sigma: np.full_like(noisy, next(answers) / 255))
    restorers["perfect"] = Recorder(lambda noisy, sigma: np.full_like(noisy, 100 / 255))
    report = evaluate(["some", "perfect"], data, degradations="gaussian")
    some, perfect = report.summary
    assert some["psnr"] == pytest.approx(20 * math.log10(255 / 10))
    assert "2 of 3 pictures equal" in some["warning"]
    assert perfect["psnr"] == math.inf
    assert perfect["psnr_interval"] is None
    assert perfect["ssim"] == pytest.approx(1)
    assert report.differences[0]["psnr"] == 0  # of the two pictures that are exact in both
    read = json.loads(report.to_json(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert read["summary"][1]["psnr"] is None


def test_nan_is_never_a_good_figure(restorers: dict[str, Any], folder: Path) -> None:
    restorers["broken"] = Recorder(lambda noisy, sigma: np.where(noisy > 1, np.nan, noisy))
    report = evaluate(["same", "broken"], str(folder), degradations="gaussian(sigma=50)")
    assert math.isnan(report.summary[1]["psnr"])
    assert "NOT FINITE in 4 of 4" in report.summary[1]["warning"]
    assert math.isnan(report.differences[0]["psnr"])
    assert report.summary[0]["warning"] is None


def test_json_csv_and_files(restorers: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    report = evaluate("same", str(folder), degradations="gaussian(sigma=25)")
    report.save(json=tmp_path / "r.json", csv=tmp_path / "r.csv")
    written = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert list(written) == ["protocol", "rows", "summary", "differences"]
    assert written["summary"] == report.summary
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text(encoding="utf-8"))))
    assert [float(row["psnr"]) for row in rows] == [row["psnr"] for row in report.rows]
    assert {path.name for path in tmp_path.iterdir()} == {"clean", "r.json", "r.csv"}
    report.save(json=tmp_path / "r.json")  # an earlier report is replaced
    with pytest.raises(HushError, match="cannot be written"):
        report.save(csv=tmp_path / "missing" / "r.csv")
    with pytest.raises(HushError, match="cannot be written"):
        report.save(csv=tmp_path / "clean")


def test_metric_from_outside(restorers: dict[str, Any], folder: Path) -> None:
    name = "hush.imaging.metrics:mse"
    report = evaluate("same", str(folder), degradations="gaussian", metrics=[name, "mse"])
    entry = report.summary[0]
    assert entry[name] == entry["mse"] == entry["mse_input"]
    assert "psnr" not in entry
    assert any("mean squared error" in sentence for sentence in report.protocol["words"])


def test_report_of_rows_alone() -> None:
    row = {"weights": "w", "data": "d", "degradation": "", "image": "i", "scene": "i", "psnr": 30.0, "psnr_input": 31.0}
    report = Report.of({}, ["psnr"], [{**row, "sigma": None, "seconds": None, "megapixels": 1.0}])
    assert report.summary[0]["seconds_per_megapixel"] is None
    assert "30.00 dB, input 31.00 dB" in report.summary[0]["warning"]


def rows_of(weights: str, restored: list[float], given: list[float]) -> list[dict[str, Any]]:
    same = {"weights": weights, "data": "d", "degradation": "", "seconds": None, "megapixels": 1.0}
    return [
        {**same, "image": str(i), "scene": str(i), "psnr": psnr, "psnr_input": psnr_input}
        for i, (psnr, psnr_input) in enumerate(zip(restored, given, strict=True))
    ]


@pytest.mark.parametrize(
    ("restored", "given", "said", "not_said"),
    [
        ([math.inf, math.inf, 30.0], [40.0, 40.0, 29.0], "2 of 3 pictures equal", "WORSE"),  # each is better
        ([45.0, 45.0, 21.0], [math.inf, math.inf, 20.0], "2 of 3 inputs equal the clean", "WORSE"),
        ([45.0, 19.0], [math.inf, 20.0], "WORSE THAN THE INPUT: psnr 19.00 dB, input 20.00 dB, in 1 of 2", "45"),
        ([45.0, 45.0], [math.inf, math.inf], "WORSE THAN THE INPUT: psnr 45.00 dB, input inf", "in 2"),
        ([math.inf, 30.0], [math.inf, 31.0], "WORSE", "inputs equal"),
    ],
)
def test_a_warning_compares_picture_by_picture(
    restored: list[float], given: list[float], said: str, not_said: str
) -> None:
    warning = summarise(rows_of("w", restored, given), ["psnr"])[0]["warning"]
    assert said in warning
    assert not_said not in warning


def test_a_difference_counts_its_pictures() -> None:
    rows = rows_of("base", [30.0, 40.0, math.inf], [20.0] * 3) + rows_of("w", [31.0, math.inf, math.inf], [20.0] * 3)
    (difference,) = compare(rows, ["psnr"])
    assert difference["psnr"] == pytest.approx(0.5)  # of the first, and of the third, which is exact in both
    assert (difference["psnr_n"], difference["n"]) == (2, 3)


# ---------------------------------------------------------------- time


def test_first_call_for_a_size_is_not_timed(
    restorers: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, seen = [0.0], set()

    def slow_at_first(noisy: NDArray[Any], sigma: float | None) -> NDArray[Any]:
        now[0] += 2.0 if noisy.shape in seen else 1000.0
        seen.add(noisy.shape)
        return noisy

    monkeypatch.setattr(evaluation.time, "perf_counter", lambda: now[0])
    restorers["slow"] = Recorder(slow_at_first)
    report = evaluate("slow", str(folder), degradations=["gaussian", "speckle"])
    # a_1 was warmed up, b_1 has the same size without its alpha; a_2 is gray and b_2 upright
    assert [row["seconds"] for row in report.rows] == [2, None, 2, None, 2, 2, 2, 2]
    expected = 2 / (24 * 32 / 1e6)
    assert [entry["seconds_per_megapixel"] for entry in report.summary] == pytest.approx([expected] * 2)


# ---------------------------------------------------------------- data


def test_pairs(restorers: dict[str, Any], folder: Path) -> None:
    noisy = folder.parent / "noisy"
    noisy.mkdir()
    for path in folder.iterdir():
        array = np.asarray(PillowImage.open(path))
        PillowImage.fromarray(np.clip(array, 10, 200)).save(noisy / f"{path.stem}.tif")  # the suffix may differ
    name = f"pairs:{noisy},{folder}"
    report = evaluate("same", name, scenes="^(.)")
    assert [row["image"] for row in report.rows] == ["a_1.png", "a_2.png", "b_1.png", "b_2.png"]
    assert {sigma for _, sigma in restorers["same"].given} == {None}
    entry = report.summary[0]
    assert (entry["data"], entry["degradation"], entry["n"]) == (name, "", 4)
    error = np.mean((np.clip(pixels(folder / "a_1.png") * 255, 10, 200) - pixels(folder / "a_1.png") * 255) ** 2)
    assert report.rows[0]["psnr"] == pytest.approx(10 * math.log10(255**2 / error), abs=1e-3)
    both = evaluate("same", [str(folder), name], degradations="gaussian")
    assert [(e["data"], e["degradation"]) for e in both.summary] == [(str(folder), "gaussian"), (name, "")]


def test_pairs_that_do_not_fit(restorers: dict[str, Any], folder: Path) -> None:
    noisy = folder.parent / "noisy"
    noisy.mkdir()
    for path in folder.iterdir():
        PillowImage.open(path).save(noisy / path.name)
    name = f"pairs:{noisy},{folder}"
    with pytest.raises(UsageError, match="noisy already"):
        evaluate("same", name, degradations="gaussian")
    with pytest.raises(UsageError, match="pairs:NOISY,CLEAN"):
        evaluate("same", f"pairs:{noisy}")
    with pytest.raises(PictureError, match="no folder"):
        evaluate("same", f"pairs:{noisy},{folder}x")
    PillowImage.new("RGB", (5, 6)).save(noisy / "a_1.png")
    with pytest.raises(PictureError, match=r"noisy.a_1.png is 5x6 .*clean.a_1.png is 32x24 "):
        evaluate("same", name)
    PillowImage.new("RGB", (5, 6)).save(noisy / "c.png")
    with pytest.raises(PictureError, match="c in one folder only"):
        evaluate("same", name)
    PillowImage.new("RGB", (5, 6)).save(noisy / "c.tif")
    with pytest.raises(PictureError, match="another suffix"):
        evaluate("same", name)


def test_pictures_below_the_folder_and_limit(restorers: dict[str, Any], folder: Path) -> None:
    (folder / "c").mkdir()
    (folder / "b_2.png").rename(folder / "c" / "b_2.png")
    report = evaluate("same", str(folder), degradations="gaussian")
    assert "c/b_2.png" in [row["image"] for row in report.rows]
    assert len(evaluate("same", str(folder), degradations="gaussian", limit=3).rows) == 3
    pattern = evaluate("same", f"{folder}/**/?_2.png", degradations="gaussian")
    assert [row["image"] for row in pattern.rows] == ["a_2.png", "c/b_2.png"]
    single = evaluate("same", str(folder / "a_1.png"), degradations="gaussian")
    assert [row["image"] for row in single.rows] == ["a_1.png"]
    assert single.summary[0]["psnr_interval"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"degradations": ()}, "need a degradation"),
        ({"degradations": "gausian"}, "did you mean 'gaussian'"),
        ({"degradations": ["gaussian", "gaussian"]}, "given twice"),
        ({"metrics": "psnt"}, "did you mean 'psnr'"),
        ({"metrics": ()}, "no metrics given"),
        ({"weights": ()}, "no weights given"),
        ({"weights": ["same", "same"]}, "given twice"),
        ({"data": ()}, "no data given"),
        ({"sigma": -3}, "from 0 on"),
        ({"sigma": "abc"}, "given, auto or a number"),
        ({"sigma": float("nan")}, "given, auto or a number"),
        ({"limit": 0}, "1 or more"),
        ({"seed": -1}, "positive integer"),
        ({"scenes": "("}, "no regular expression"),
        ({"scenes": "a"}, "0 groups"),
        ({"scenes": "^(a)"}, "finds nothing in the name 'b_1.png'"),
    ],
)
def test_wrong_use_is_said(restorers: dict[str, Any], folder: Path, options: dict[str, Any], message: str) -> None:
    arguments = {"weights": "same", "data": str(folder), "degradations": "gaussian", **options}
    with pytest.raises(UsageError, match=message):
        evaluate(**arguments)
    assert restorers["same"].given == []


def test_folders_without_pictures(restorers: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "missing"):
        with pytest.raises(HushError, match=name):
            evaluate("same", str(tmp_path / name), degradations="gaussian")


def test_pairs_need_no_torch() -> None:
    code = "import sys, hush.judging.evaluation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


# ---------------------------------------------------------------- with real weights


@pytest.mark.slow
def test_published_ffdnet_gives_its_published_figure() -> None:
    peer, pictures = shared_data("peers", "ffdnet_color.npz"), shared_data("test", "CBSD68")
    report = evaluate(f"ffdnet@{peer}", str(pictures), degradations="gaussian(sigma=25)", limit=12)
    # 31.75 over the first 12 and 31.22 over all 68 with numpy's noise; published: 31.21 (Zhang et al. 2018, table VI)
    assert report.summary[0]["psnr"] == pytest.approx(31.75, abs=0.05)
    assert report.summary[0]["psnr_input"] == pytest.approx(20.5, abs=0.5)
