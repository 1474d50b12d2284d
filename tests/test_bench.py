"""The bench: peers are named, figures are those of an evaluation, what was measured is kept, and nothing is faked."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from conftest import HERE, shared_data
from hush.cli import run
from hush.errors import HushError, UsageError
from hush.judging.bench import peers as peers_module
from hush.judging.bench.peers import OUTSIDE, Missing, Peer, line_up
from hush.judging.bench.report import Bench, _with_figures, parts, table
from hush.judging.bench.store import Store, digest
from hush.judging.bench.timing import Times, megapixel, time_peers
from tiny import darkening_numbers, write_tiny

pytest.importorskip("torch")

from hush.judging.bench.benching import Plan, bench, find_sets
from hush.judging.bench.workers import Worker
from hush.judging.evaluation import evaluate
from hush.judging.markdown import fill

NLM = next(peer for peer in OUTSIDE if peer.name.startswith("NLM, scikit"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two colour pictures and a gray one, and weights that darken."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "photos").mkdir()
    for name in ("cat.png", "coffee.png", "camera.png"):
        PillowImage.open(HERE / "data" / name).crop((40, 40, 104, 96)).save(folder / "photos" / name)
    write_tiny(folder / "own.onnx", numbers=darkening_numbers())
    return folder


def plan_of(place: Path, **options: Any) -> Plan:
    chosen = {"data": (str(place / "photos"),), "weights": (str(place / "own.onnx"),), "degradations": ("gaussian",)}
    return Plan(**{**chosen, "out": place / "out", "threads": 1, "rounds": 2, **options})


@pytest.fixture(scope="module")
def measured(place: Path) -> Bench:
    """A bench of own weights, one classical method, and one peer that is not there."""
    nobody = Peer("Nobody", "Nobody", opener="nowhere:Nobody")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peers_module, "OUTSIDE", (NLM, nobody))
        return bench(plan_of(place))


def own(place: Path) -> str:
    return str(place / "own.onnx")


def test_figures_are_those_of_an_evaluation(measured: Bench, place: Path) -> None:
    [gray, *colour] = sorted(measured.sets, key=lambda entry: entry["channels"])
    assert (gray["pictures"], [entry["pictures"] for entry in colour]) == (1, [2])
    (place / "colour").mkdir()
    for name in ("cat.png", "coffee.png"):
        (place / "colour" / name).write_bytes((place / "photos" / name).read_bytes())
    names = {own(place): own(place), "NLM, scikit-image": "classical:nlm", "noisy input": "identity"}
    expected = evaluate(list(names.values()), str(place / "colour"), degradations="gaussian", threads=1)
    rows = {(row["weights"], row["image"]): row for row in measured.report.rows}
    assert len(rows) == 9
    for row in expected.rows:
        name = next(mine for mine, theirs in names.items() if theirs == row["weights"])
        assert rows[name, row["image"]]["psnr"] == pytest.approx(row["psnr"], abs=1e-4)
        assert rows[name, row["image"]]["ssim"] == pytest.approx(row["ssim"], abs=1e-5)
    assert measured.report.differences[0]["baseline"] == own(place)


def test_every_peer_is_timed_but_the_input(measured: Bench, place: Path) -> None:
    assert {(entry["channels"], entry["peer"]) for entry in measured.times} == {
        (channels, name) for channels in (1, 3) for name in (own(place), "NLM, scikit-image")
    }
    for entry in measured.times:
        low, high = entry["quartiles"]
        assert 0 < low <= entry["seconds_per_megapixel"] <= high
        assert entry["runs"] == 2 * (2 if entry["channels"] == 3 else 1)
        assert entry["memory"] is None or entry["memory"] > 20 * 2**20
        assert (entry["times_reference"] == 1) == entry["ours"]


def test_who_is_missing_is_named_with_the_reason(measured: Bench) -> None:
    reasons = {entry["name"]: entry["reason"] for entry in measured.missing}
    assert [entry["name"] for entry in measured.missing].count("Nobody") == 1
    assert "no module 'nowhere'" in reasons["Nobody"]
    assert "no folder of peers" in reasons["FFDNet"]
    assert not {"Nobody", "FFDNet"} & {row["weights"] for row in measured.report.rows}


def test_a_second_bench_takes_figures_from_the_first(
    measured: Bench, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = place / "out" / "figures.jsonl"
    lines = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    marked, cut = [line for line in lines if line["peer"] == own(place) and line.get("picture")][:2]
    marked["figures"]["psnr"] = 99.0
    lines.remove(cut)
    kept.write_text("".join(json.dumps(line) + "\n" for line in lines) + json.dumps(cut)[:50], encoding="utf-8")
    monkeypatch.setattr(peers_module, "OUTSIDE", ())
    again = bench(plan_of(place, rounds=1))
    psnr = {row["image"]: row["psnr"] for row in again.report.rows if row["weights"] == own(place)}
    before = {row["image"]: row["psnr"] for row in measured.report.rows if row["weights"] == own(place)}
    assert psnr[marked["picture"]] == 99
    assert psnr[cut["picture"]] == pytest.approx(before[cut["picture"]])


def test_json_csv_table_and_plot(measured: Bench, place: Path) -> None:
    measured.save(place / "saved")
    read = Bench.from_json(place / "saved" / "bench.json")
    assert (read.sets, read.times, read.missing) == (measured.sets, measured.times, measured.missing)
    assert read.report.summary == measured.report.summary
    assert len((place / "saved" / "rows.csv").read_text(encoding="utf-8").splitlines()) == 1 + 9
    heads, rows = table(measured, 3)
    assert heads[1] == "photos, colour, gaussian"
    assert [row[0] for row in rows if "hush" in row[0]] == [f"**hush `{own(place)}`**"]
    assert run(["bench", "--from", str(place / "saved" / "bench.json"), "--plot", str(place / "a.svg")]) == 0
    assert run(["bench", "--from", str(place / "saved" / "bench.json"), "--plot", str(place / "b.svg")]) == 0
    assert (place / "a.svg").read_bytes() == (place / "b.svg").read_bytes() != b""
    with pytest.raises(UsageError, match=r"is no bench\.json"):
        Bench.from_json(place / "own.onnx")


def test_pages_are_filled_between_markers(measured: Bench, tmp_path: Path) -> None:
    page = tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    page.write_text(
        "# Mine\n\n<!-- bench: colour -->\nstale\n<!-- end of bench -->\n\nwords\n\n"
        "<!-- bench: plot -->\n<!-- end of bench -->\n<!-- bench: missing -->\n<!-- end of bench -->\n",
        encoding="utf-8",
    )
    for _ in range(2):  # filling again changes nothing
        fill(page, "bench", parts(measured, tmp_path / "docs" / "images" / "plot.svg"))
        text = page.read_text(encoding="utf-8")
    assert text.startswith("# Mine\n\n<!-- bench: colour -->\n\n| PSNR")
    assert "stale" not in text
    assert "\nwords\n" in text
    assert "](images/plot.svg)" in text
    assert "- Nobody: nowhere:Nobody: no module" in text
    page.write_text("<!-- bench: colours -->\n<!-- end of bench -->", encoding="utf-8")
    with pytest.raises(UsageError, match="no part 'colours'"):
        fill(page, "bench", parts(measured))
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(UsageError, match="add them"):
        fill(page, "bench", parts(measured))


def test_who_is_ahead_is_said(measured: Bench, place: Path) -> None:
    def with_seconds(mine: float, others: float) -> Bench:
        seconds = [{**entry, "seconds_per_megapixel": mine if entry["ours"] else others} for entry in measured.times]
        return replace(measured, times=seconds)

    assert with_seconds(1.0, 2.0).ahead() == [], "whoever is slower is not ahead, however good"
    behind = with_seconds(2.0, 1.0)
    assert {(entry["weights"], entry["peer"]) for entry in behind.ahead()} == {(own(place), "NLM, scikit-image")}
    assert "NLM, scikit-image is as good as" in parts(behind)["ahead"][0]


def test_slow_peers_restore_some_of_the_pictures_and_are_compared_on_these(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(5):
        crop = PillowImage.open(HERE / "data" / "coffee.png").crop((8 * number, 0, 8 * number + 40, 40))
        crop.save(tmp_path / "photos" / f"{number}.png")
    slow = Peer("slow", "slow", {"by": 0.01}, "shifting:shifted", slow=True)
    monkeypatch.setattr(peers_module, "OUTSIDE", (slow,))
    found = bench(plan_of(place, data=(str(tmp_path / "photos"),), out=tmp_path / "out", rounds=1, slow_pictures=3))
    rows = {
        name: {r["image"]: r["psnr"] for r in found.report.rows if r["weights"] == name}
        for name in (own(place), "slow")
    }
    assert (len(rows[own(place)]), list(rows["slow"])) == (5, ["0.png", "2.png", "4.png"])
    steps = [psnr - rows[own(place)][image] for image, psnr in rows["slow"].items()]
    expected = np.mean(list(rows[own(place)].values())) + np.mean(steps)
    shown = found.figures(found.cells(3)[0])["slow"]
    assert shown["psnr"] == pytest.approx(expected)
    assert f"≈ {expected:.2f}" in "".join(parts(found)["colour"])
    assert "≈: slow restored 3 of the 5 of photos" in "".join(parts(found)["protocol"])
    assert "minus slow, photos at gaussian, on 3 of the 5 pictures: " in "".join(parts(found)["differences"])
    assert (shown["psnr_interval"], shown["part"]) == (None, True)
    everything = bench(
        plan_of(place, data=(str(tmp_path / "photos"),), out=tmp_path / "out", rounds=1, slow_pictures=0)
    )
    assert sum(row["weights"] == "slow" for row in everything.report.rows) == 5
    with pytest.raises(UsageError, match="slow_pictures is -1"):
        bench(plan_of(place, slow_pictures=-1))


def test_settings_that_give_the_same_pictures_are_judged_once(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def setting(name: str, family: str, by: float) -> Peer:
        return Peer(name, family, {"by": by, "asked": str(tmp_path / name)}, "shifting:shifted")

    settings = (
        setting("a", "one", 0.0),
        setting("b", "one", 1e-6),
        setting("c", "one", 0.01),
        setting("d", "one", math.nan),
        setting("e", "two", 0.0),
    )
    monkeypatch.setattr(peers_module, "OUTSIDE", settings)
    found = bench(plan_of(place, degradations=("gaussian(sigma=15)", "gaussian"), out=tmp_path / "out", rounds=1))
    asked = {name: (tmp_path / name).read_text(encoding="utf-8").count("asked") for name in "abcde"}
    assert asked["a"] == asked["c"] == asked["d"] == asked["b"] + 3, "two colour pictures and a gray one, at sigma 15"
    assert asked["e"] == asked["a"]
    assert [(entry["channels"], entry["peer"], entry["judged"]) for entry in found.alike] == [
        (3, "b", "a"),
        (1, "b", "a"),
    ]
    psnr = {row["weights"]: row["psnr"] for row in found.report.rows if row["image"] == "cat.png"}
    assert psnr["b"] == psnr["a"]
    assert psnr["c"] != psnr["a"]
    assert math.isnan(psnr["d"])
    written = parts(found)
    assert "b did as well as a on each of the timed colour pictures" in "".join(written["protocol"])
    assert not any("minus b," in line for line in written["differences"])


def test_gray_and_colour_of_one_folder_are_told_apart(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_colour = Peer("colour", "colour", {"by": 0.01}, "shifting:shifted", channels=(3,))
    monkeypatch.setattr(peers_module, "OUTSIDE", (only_colour,))
    found = bench(plan_of(place, out=tmp_path / "out", rounds=1))
    assert [(e["data"], e["pictures"]) for e in found.sets] == [("photos, colour", 2), ("photos, gray", 1)]
    assert "colour" in found.figures(found.cells(3)[0])
    assert "colour" not in found.figures(found.cells(1)[0])
    assert "≈" not in "".join(line for part in parts(found).values() for line in part)


def test_pages_are_looked_at_before_the_work(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "page.md").write_text("nothing", encoding="utf-8")
    words = ["bench", "--data", str(place / "photos"), "--out", str(tmp_path / "out")]
    assert run([*words, "--write", str(tmp_path / "page.md")]) != 0
    assert "add them" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- parts


def test_times_are_taken_in_turns() -> None:
    calls: list[tuple[str, int]] = []

    def restore(name: str, seconds: float) -> Any:
        def work(image: np.ndarray, sigma: float | None) -> tuple[np.ndarray, float]:
            calls.append((name, image.shape[0]))
            if name == "ill":
                raise HushError("it broke")
            return image, seconds

        return work

    pictures = [(np.zeros((10, 100, 3), np.float32), 25.0), (np.zeros((20, 100, 3), np.float32), 25.0)]
    given = {
        "a": (Peer("a", "a"), restore("a", 0.002)),
        "slow": (Peer("slow", "slow", slow=True), restore("slow", 0.1)),
        "ill": (Peer("ill", "ill"), restore("ill", 1)),
    }
    times, failed = time_peers(given, pictures, rounds=2)
    assert failed == {"ill": "it broke"}
    warmed, slow_once, again = [("a", 10)] * 2, [("slow", 10)], [("a", 20)] * 2
    assert calls == [*warmed, *slow_once, ("ill", 10), *again, ("slow", 20), ("a", 10), ("a", 20)]
    assert set(times) == {"a", "slow"}
    assert times["a"].runs == pytest.approx({(0, 0): 2.0, (0, 1): 1.0, (1, 0): 2.0, (1, 1): 1.0})
    summary = times["slow"].summary(times["a"])
    assert (summary["seconds_per_megapixel"], summary["runs"]) == (pytest.approx(75), 2)
    assert summary["times_reference"] == pytest.approx(50), "ratios are within a round and picture"
    assert Times({(0, 0): 3.0}).summary(None)["times_reference"] is None


def test_a_megapixel_is_made_of_any_picture() -> None:
    small = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    assert megapixel(small).shape == (1000, 1000, 3)
    assert set(megapixel(small).ravel()) == set(small.ravel())
    large = np.random.default_rng(0).random((1200, 1001, 1), np.float32)
    np.testing.assert_array_equal(megapixel(large), large[:1000, :1000])


def test_known_sets_stand_for_their_root(tmp_path: Path) -> None:
    for name in ("test/Kodak24", "test/CBSD68", "peers", "other"):
        (tmp_path / name).mkdir(parents=True)
    root, other = str(tmp_path), str(tmp_path / "other")
    found, beside = find_sets([root, other])
    assert [Path(name).name for name in found] == ["CBSD68", "Kodak24", "other"]
    assert beside == tmp_path / "peers"
    assert find_sets([other]) == ([other], None)
    with pytest.raises(UsageError, match="two data sets are named 'CBSD68'"):
        find_sets([root, str(tmp_path / "test" / "CBSD68")])


def test_what_a_figure_depends_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "numbers.npz"
    file.write_bytes(b"1")
    peer = replace(NLM, options={"weights": str(file)}, file=file)
    marks = {peer.fingerprint()}
    marks.add(replace(peer, options={"weights": str(tmp_path / "others.npz")}).fingerprint())
    marks.add(replace(peer, modules=("hush.names",)).fingerprint())
    file.write_bytes(b"2")
    marks.add(peer.fingerprint())
    monkeypatch.setattr(peers_module, "version", lambda name: "99")
    marks.add(peer.fingerprint())
    assert len(marks) == 5
    assert str(tmp_path) not in "".join(marks), "the cache may be moved"


def test_the_line_up_names_tiers_that_do_not_ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(peers_module.FAMILIES, "gaussian", {"fast": "none", "balanced": "gaussian", "best": "gaussian"})
    found, missing = line_up(["gaussian"], None, tmp_path, slow=False)
    assert [peer.name for peer in found if peer.ours] == ["gaussian"]
    assert Missing("none", "these weights do not ship with this version of hush") in missing
    assert any(entry.name == "BM3D" for entry in missing)
    with pytest.raises(HushError, match="no such file"):
        line_up([str(tmp_path / "mine.onnx")], None, tmp_path)


def test_published_numbers_run_in_openvino_and_torch(tmp_path: Path) -> None:
    folder = tmp_path / "peers"  # of one file, as each takes seconds to trace
    folder.mkdir()
    (folder / "ffdnet_color.npz").symlink_to(shared_data("peers", "ffdnet_color.npz"))
    found, _ = line_up(["gaussian"], folder, tmp_path)
    chosen = [peer for peer in found if peer.family == "FFDNet"]
    assert {peer.options["precision"] for peer in chosen} == {"fast", "exact"}
    noisy = np.random.default_rng(0).random((24, 30, 3), np.float32)
    restored = {}
    for peer in chosen:
        if peer.options["precision"] == "exact":
            worker = Worker(peer, 1)
            restored[worker.description.split()[0]] = worker.restore(noisy, 25.0)[0]
            worker.close()
    assert set(restored) == {"OpenVINO", "torch"}
    np.testing.assert_allclose(*restored.values(), atol=2e-3)  # the file holds fp16


def test_a_process_that_dies_is_an_error() -> None:
    worker = Worker(Peer("identity", "identity", {"weights": "identity"}), 1)
    assert worker.description == "identity"
    worker._process.kill()
    with pytest.raises(HushError, match="its process ended"):
        worker.restore(np.zeros((4, 4, 3), np.float32), None)
    worker._process.join()  # now there is nobody to send to either
    with pytest.raises(HushError, match="its process ended"):
        worker.restore(np.zeros((4, 4, 3), np.float32), None)
    worker.close()


def test_a_peer_that_fails_keeps_its_process() -> None:
    worker = Worker(Peer("nlm", "nlm", {"weights": "classical:nlm"}), 1)
    with pytest.raises(HushError, match="Error"):
        worker.restore(np.zeros(3, np.float32), 25.0)
    assert worker.restore(np.zeros((40, 40, 3), np.float32), 25.0)[0].shape == (40, 40, 3)
    worker.close()


def test_the_store_survives_a_cut_and_knows_arrays_apart(tmp_path: Path) -> None:
    store = Store(tmp_path / "new" / "figures.jsonl")
    array = np.arange(6.0)
    store.put(digest("a", array), {"psnr": math.inf}, peer="a")
    with open(tmp_path / "new" / "figures.jsonl", "a", encoding="utf-8") as file:
        file.write('{"key": "x", "fig')
    again = Store(tmp_path / "new" / "figures.jsonl")
    assert again.get(digest("a", array)) == {"psnr": math.inf}
    assert again.get("x") is None
    assert len({digest("a", array), digest("a", array.reshape(2, 3)), digest("b", array), digest("a", array + 1)}) == 4


def test_what_is_not_finite_comes_back_so() -> None:
    equal = _with_figures({"name": "a", "psnr": None, "psnr_input": 20.0, "ssim": 1.0, "seconds": None})
    assert equal == {"name": "a", "psnr": math.inf, "psnr_input": 20.0, "ssim": 1.0, "seconds": None}
    broken = _with_figures({"psnr": None, "psnr_input": 20.0, "ssim": None})
    assert math.isnan(broken["psnr"])
    assert math.isnan(broken["ssim"])
    assert broken["psnr_input"] == 20
