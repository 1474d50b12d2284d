"""Searches: read, refused, run, ended early, broken off and gone on with."""

import json
import math
import signal
import subprocess
import sys

import pytest

pytest.importorskip("optuna", reason="searching needs optuna: pip install 'hush[search]'")

from hush.cli import run as run_cli
from hush.errors import HushError, RecipeError
from hush.judging.search import Trial, best_trial, check_search, read_search, run_search, shipped_searches
from hush.judging.trials import make_trials_page, trial_table
from hush.learning.config import read_recipe

SMALL = """
title = "A small one"
trials = 3
[base]
network = "dncnn(width=4, depth=3, batch_norm=false)"
degradation = "gaussian(sigma=50)"
precision = "f32"
validate_every = 2
data = { set = "tiles(size=32)", batch = 4, patch = 16, validation_pictures = 2 }
optimiser = { name = "adamw", warmup = 1 }
length = { steps = 4 }
[space]
optimiser.rate = { low = 1e-4, high = 1e-2, log = true }
data.batch = { low = 2, high = 4 }
loss = ["mse", "l1"]
"""


def write(folder, text=SMALL):
    path = folder / "small.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", shipped_searches())
@pytest.mark.parametrize("setting", ["full", "smoke"])
def test_shipped_searches_are_right_but_for_the_data(name, setting):
    search = read_search(name, setting=setting, overrides=["data.set=tiles", "data.root="])
    check_search(search)
    assert search.title
    assert search.needs


def test_a_search_tries_keeps_and_goes_on(tmp_path):
    out = tmp_path / "out"
    *reports, last = run_search(read_search(write(tmp_path)), out, device="cpu")
    ended = [report.trial for report in reports if report.trial]
    assert [trial.number for trial in ended] == [0, 1, 2] == [trial.number for trial in last.trials]
    for trial in last.trials:
        assert 1e-4 <= trial.values["optimiser.rate"] <= 1e-2
        assert trial.values["data.batch"] in (2, 3, 4)
        assert trial.values["loss"] in ("mse", "l1")
        assert list(trial.curve) == [2, 4]
    assert last.trial == best_trial(last.trials)
    recipe = read_recipe(out / "best.json")
    assert recipe.optimiser.rate == last.trial.values["optimiser.rate"]
    assert recipe.loss == last.trial.values["loss"]
    more = list(run_search(read_search(write(tmp_path), overrides=["trials=4"]), out, device="cpu"))
    assert {report.number for report in more if report.training} == {3}
    assert len(more[-1].trials) == 4
    assert len({json.dumps(dict(trial.values)) for trial in more[-1].trials}) == 4, "what is drawn is not drawn again"
    again = list(run_search(read_search(write(tmp_path), overrides=["trials=4"]), out, device="cpu"))
    assert len(again) == 1
    assert again[0].trials == more[-1].trials
    other = read_search(write(tmp_path, SMALL.replace('["mse", "l1"]', '["mse"]')))
    assert other.identity != read_search(write(tmp_path)).identity


def test_a_killed_search_goes_on_with_the_broken_trial(tmp_path):
    path = write(tmp_path, SMALL.replace("steps = 4", "steps = 120").replace("trials = 3", "trials = 1"))
    code = f"""
from hush.judging.search import read_search, run_search
for report in run_search(read_search({str(path)!r}), {str(tmp_path / "out")!r}, device="cpu"):
    print(report, flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    for line in child.stdout:
        if "step 40 " in line:
            child.send_signal(signal.SIGKILL)
            break
    assert child.wait() == -signal.SIGKILL
    reports = list(run_search(read_search(path), tmp_path / "out", device="cpu"))
    trained = [report.training for report in reports if report.training]
    assert trained[0].step > 30, "it begins where it was"
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 1
    (trial,) = reports[-1].trials
    assert trial.state == "finished"
    assert list(trial.curve) == list(range(2, 121, 2))


def test_trials_that_fall_behind_end_early(tmp_path, monkeypatch):
    import hush.judging.search as searching

    monkeypatch.setattr(searching, "DRAWN_FIRST", 1)
    text = SMALL.replace("high = 1e-2, log = true", "high = 1e-2").replace("steps = 4", "steps = 12")
    text = text.replace("[space]", "[space]\ndata.patch = [16]").replace("trials = 3", "trials = 6")
    *_, last = run_search(read_search(write(tmp_path, text)), tmp_path / "out", device="cpu")
    early = [trial for trial in last.trials if trial.state == "ended early"]
    assert early
    assert all(max(trial.curve) < 12 for trial in early)
    assert best_trial(last.trials).state == "finished"


def test_a_loss_that_is_not_finite_is_a_failed_trial(tmp_path):
    text = SMALL.replace("low = 1e-4, high = 1e-2, log = true", "low = 1e30, high = 1e31")
    path = write(tmp_path, text.replace("steps = 4", "steps = 20").replace("trials = 3", "trials = 1"))
    *_, last = run_search(read_search(path, overrides=["optimiser.clip=0"]), tmp_path / "o")
    assert [trial.state for trial in last.trials] == ["failed"]
    assert not (tmp_path / "o" / "best.json").exists()


def test_values_that_do_not_go_together_are_a_failed_trial(tmp_path):
    text = SMALL.replace("data.batch = { low = 2, high = 4 }", "optimiser.accumulate = [1, 3]")
    *_, last = run_search(read_search(write(tmp_path, text), overrides=["trials=6"]), tmp_path / "o", device="cpu")
    states = {trial.values["optimiser.accumulate"]: trial.state for trial in last.trials}
    assert len(last.trials) == 6
    assert states[3] == "failed"
    assert states[1] != "failed"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("optimiser.rate =", "optimiser.rat =", "optimiser.rat.*did you mean 'rate'"),
        ("optimiser.rate =", "optimizer.rate =", "no table 'optimizer'"),
        ('["mse", "l1"]', '["mse", "l7"]', "loss = 'l7'.*l7"),
        ('["mse", "l1"]', '["mse", 1]', "takes str"),
        ('["mse", "l1"]', "[]", "give a list"),
        ("low = 2, high = 4", "low = 2, high = 4.5", "takes int"),
        ("low = 2, high = 4", "low = 2, hi = 4", "did you mean 'high'"),
        ("low = 1e-4, high = 1e-2", "low = 0, high = 1e-2", "above 0"),
        ("low = 1e-4, high = 1e-2", "low = 1, high = 1e-2", "low must be below"),
        ("width=4", "widht=4", "widht"),
        ('set = "tiles(size=32)"', 'set = "stl10"', "needs a folder"),
        ("trials = 3", "trials = 0", "at least 1"),
        ("trials = 3", "trails = 3", "did you mean 'trials'"),
    ],
)
def test_mistakes_are_refused_before_any_training(tmp_path, old, new, message):
    assert old in SMALL
    path = write(tmp_path, SMALL.replace(old, new, 1))
    with pytest.raises(HushError, match=message):
        list(run_search(read_search(path), tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_search_without_a_space_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"\[space\]"):
        read_search(write(tmp_path, SMALL.partition("[space]")[0]))


def test_a_search_that_is_led_by_test_pictures_says_so(tmp_path):
    search = read_search(write(tmp_path))
    assert "test pictures" in check_search(search)
    assert "test pictures" in next(run_search(search, tmp_path / "out", device="cpu")).note
    assert "test pictures" in make_trials_page(search, [Trial(0, {}, "failed", None, {})], check_search(search)).html()
    assert not check_search(read_search(tmp_path / "small.toml", overrides=["data.validation=5"]))


def test_the_page_shows_every_trial_and_key(tmp_path):
    search = read_search(write(tmp_path))
    values = {"optimiser.rate": 1e-3, "data.batch": 2, "loss": "l1"}
    trials = [
        Trial(0, values, "finished", 21.25, {2: 20.0, 4: 21.25}),
        Trial(1, {**values, "loss": "mse"}, "ended early", 19.0, {2: 19.0}),
        Trial(2, values, "failed", None, {}),
        Trial(3, values, "finished", 22.5, {2: 22.0, 4: 22.5}),
    ]
    table = trial_table(search, trials)
    assert [row[0] for row in table.rows] == ["3", "0", "1", "2"]
    assert {len(row) for row in table.rows} == {len(table.headers)}
    page = make_trials_page(search, trials).html()
    for word in ("A small one", "22.500", "optimiser.rate", "ended early", "failed"):
        assert word in page
    assert best_trial(trials).number == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_searches())
def test_the_smoke_form_of_every_search_runs(name, tmp_path, capsys):
    assert run_cli(["search", name, "--setting", "smoke", "--out", str(tmp_path), "--device", "cpu"]) == 0
    assert "3 trials" in capsys.readouterr().out
    assert (tmp_path / f"{name}.html").exists()
    assert (tmp_path / "best.json").exists()


def test_the_best_trial_has_a_figure():
    figures = [("finished", math.nan), ("finished", 0.0), ("failed", None), ("ended early", 40.0), ("finished", None)]
    trials = [Trial(number, {}, state, figure, {}) for number, (state, figure) in enumerate(figures)]
    assert best_trial(trials) is trials[1]
    assert best_trial(trials[:1]) is None
