"""Studies: read, refused, run, broken off and gone on with, compared picture by picture, reported."""

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from hush.cli import run as run_cli
from hush.errors import HushError, RecipeError, WeightsError
from hush.judging.findings import Findings, RunFindings, protocol_words
from hush.judging.judged import Ensemble, Judged, judge_run, open_judged_items
from hush.judging.leakage import check_leakage
from hush.judging.plans import plan_runs, read_study, shipped_studies
from hush.judging.report import BEGIN, END, difference_tables, make_page, result_tables, save_report
from hush.judging.study import check_study, run_study
from hush.learning.checkpoints import save_state
from hush.learning.config import read_tables
from hush.learning.networks import build_network
from hush.learning.networks.sizes import Size, measure_size
from hush.learning.perceptual import find_features
from hush.learning.runs import read_log
from hush.restoring.weights import UNTOLD

SMALL = """
title = "Two small ones"
comparisons = [["b", "a"]]
[base]
network = "dncnn(width=4, depth=3, batch_norm=false)"
degradation = "gaussian(sigma=50)"
precision = "f32"
data = { set = "tiles(size=32)", batch = 4, patch = 16, validation_pictures = 2 }
optimiser = { name = "adamw", warmup = 1 }
length = { steps = 4 }
[trainings.a]
origin = { parameters = 10, noise = { psnr = 99.0 } }
[trainings.b]
network = "unet(width=4, depth=1)"
start = ""
[evaluations.noise]
degradation = "gaussian(sigma=50)"
pictures = 3
[evaluations.clipped]
degradation = "gaussian(sigma=50)"
clip = true
pictures = 3
origin = "noise"
[settings.long]
length = 1
"""


def write(folder, text=SMALL):
    path = folder / "small.toml"
    path.write_text(text)
    return path


def finish(study, out):
    *_, last = run_study(study, out, device="cpu")
    return last.findings


def shipped():
    for name, path in shipped_studies().items():
        data = [key for key in read_tables(path)["settings"] if key not in ("quick", "smoke")]
        for setting in ("full", "quick", "smoke", *data, *(f"{key},quick" for key in data)):
            yield pytest.param(name, setting, id=f"{name}-{setting}")


@pytest.mark.parametrize(("name", "setting"), list(shipped()))
def test_shipped_studies_are_right_but_for_the_data(name, setting, monkeypatch):
    monkeypatch.setattr("hush.judging.study.fetch", lambda address: None)  # no test asks the network
    if "vgg16" in setting:
        try:
            find_features("vgg16")
        except WeightsError as error:
            pytest.skip(f"{error}")
    study = read_study(name, setting=setting, overrides=["data.set=tiles", "data.root="])
    check_study(study)
    assert plan_runs(study)
    if setting == "smoke":  # the only one whose data are here
        check_leakage(study, {name: open_judged_items(e) for name, e in study.evaluations.items()})
    assert study.title
    assert study.needs
    alone = [run for run in plan_runs(study) if not run.training.ensemble]  # an ensemble shares another's run
    assert len({run.identity for run in alone}) == len(alone) == len({run.identity for run in plan_runs(study)})
    anew = [plan for plan in study.trainings.values() if plan.recipe.method != "classification" and not plan.start]
    steps = {plan.recipe.length.steps for plan in anew}
    assert len(steps) <= 1, "equal steps for all"


@pytest.mark.parametrize("name", ["o2-models", "o2-classifiers", "o2-guidance"])
def test_networks_have_no_more_parameters_than_the_origin_and_hardly_fewer(name):
    study = read_study(name, overrides=["data.set=tiles", "data.root="])
    sizes = check_study(study)
    compared = {key: plan.origin["parameters"] for key, plan in study.trainings.items() if "parameters" in plan.origin}
    assert compared
    for key, origin in compared.items():
        assert 0.95 * origin <= sizes[key].parameters <= origin, key


def test_the_matched_unet_is_as_large_as_guided_unet_and_classifier_together():
    sizes = check_study(read_study("o2-guidance", overrides=["data.set=tiles", "data.root="]))
    matched, guided = sizes["matched"], sizes["resnet-guided"]
    assert matched.parameters == pytest.approx(guided.parameters + guided.fixed, rel=0.005)
    assert matched.kmacs == pytest.approx(guided.kmacs, rel=0.02)
    assert sizes["unguided"].parameters == guided.parameters == sizes["label"].parameters


@pytest.mark.parametrize(("spec", "kmacs"), [("drunet", 2118), ("ffdnet", 213), ("dncnn", 667)])
def test_arithmetic_is_counted_as_it_is_published(spec, kmacs):
    assert measure_size(spec, build_network).kmacs == pytest.approx(kmacs, rel=0.01)


def test_settings_and_overrides_reach_what_they_name(tmp_path):
    path = write(tmp_path, SMALL.replace("[settings.long]\nlength = 1", "[settings.long]\nbase.length.steps = 90\n"))
    assert read_study(path).trainings["a"].recipe.length.steps == 4
    assert read_study(path, setting="long").trainings["b"].recipe.length.steps == 90
    study = read_study(
        path, overrides=["length.steps=7", "trainings.b.length.steps=8", "seeds=[3, 4]", "only=b", "weights=best"]
    )
    assert list(study.trainings) == ["b"]
    assert study.trainings["b"].recipe.length.steps == 8
    assert [run.recipe.seed for run in plan_runs(study)] == [3, 4]
    assert study.comparisons == ()
    assert study.weights == "best"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('network = "unet(', 'network = "onet(', r"trainings\.b.*onet.*did you mean 'unet'"),
        ('start = ""', 'method = "supervized"', "did you mean 'supervised'"),
        ('set = "tiles(size=32)"', 'set = "stl11"', "stl11"),
        ('set = "tiles(size=32)"', 'set = "stl10"', "needs a folder"),
        ('precision = "f32"', 'degradation_ = "x"', "degradation_"),
        ('start = ""', 'degradation = "gauss(sigma=1)"', "gauss"),
        ('start = ""', 'loss = "l7"', "l7"),
        ('start = ""', 'start = "nobody"', "nobody"),
        ('start = ""', "seeds = [0.5]", "whole numbers"),
        ('start = ""', 'evaluations = ["nois"]', "did you mean 'noise'"),
        ('["b", "a"]', '["b", "c"]', "no 'c'"),
        ("origin = { parameters", "origin = { parameter", "did you mean 'parameters'"),
        ("length = { steps = 4 }", "", "no end"),
        ("clip = true", "clip = true\nsoft = 1", "soft"),
        ('title = "Two', 'titel = "Two', "did you mean 'title'"),
        ('start = ""', "method = \"adversarial(critic='patch_discriminatr')\"", "did you mean 'patch_discriminator'"),
        ('start = ""', 'method = "adversarial(objective=hinj)"', "hinj"),
        ('start = ""', 'method = "distillation(teacher=gausian)"', "did you mean 'gaussian'"),
        ('start = ""', 'method = "supervised(frozen=true)"\ndata.gray = 0.5', "frozen noise"),
        ('start = ""', "optimiser = { accumulate = 3 }", "cannot be divided into 3"),
        ('[["b", "a"]]', "3", "comparisons is 3"),
        (
            'data = { set = "tiles(size=32)", batch = 4, patch = 16, validation_pictures = 2 }',
            "data = 3",
            "base.data is 3",
        ),
        ('title = "Two', 'metrics = "psnrr"\ntitle = "Two', "'psnrr'"),
        ('title = "Two', 'only = "b"\ntitle = "Two', "b starts from a, which is not among them; add it"),
    ],
)
def test_mistakes_are_refused_before_any_training(tmp_path, old, new, message):
    assert old in SMALL
    text = SMALL.replace('start = ""', 'start = "a"') if "starts from" in message else SMALL
    path = write(tmp_path, text.replace(old, new, 1))
    with pytest.raises(HushError, match=message):
        finish(read_study(path), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_pictures_that_are_judged_are_not_learnt_from_nor_chosen_by(photos, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(12):
        shutil.copy(photos[0], folder / f"{i:02d}.png")
    text = SMALL.replace("tiles(size=32)", "folder").replace(
        "batch = 4", f"root = '{folder}', batch = 4, validation = 4"
    )

    def check(*overrides):
        study = read_study(write(tmp_path, text), overrides=overrides)
        check_leakage(study, {name: open_judged_items(e) for name, e in study.evaluations.items()})

    check()
    with pytest.raises(
        RecipeError, match=r"trainings\.a: learns from 2 of 3 pictures that evaluations\.noise .*: 03\."
    ):
        check("trainings.a.data.validation=6")
    with pytest.raises(RecipeError, match=r"trainings\.b: learns from 2 of 3"):  # by what it starts from
        check("trainings.a.data.validation=6", "trainings.a.evaluations=['clipped']", "trainings.b.start=a",
              "evaluations.clipped.data.validation=6", "trainings.b.evaluations=['noise']")  # fmt: skip
    with pytest.raises(RecipeError, match=r"weights = 'best' are chosen by 2 of 3 .* Set data\.validation"):
        check("weights=best")


def test_a_start_further_down_is_refused(tmp_path):
    path = write(tmp_path, SMALL.replace("origin = { parameters", 'start = "b"\norigin = { parameters'))
    with pytest.raises(RecipeError, match="move it up"):
        finish(read_study(path), tmp_path / "out")


def test_a_finished_study_is_not_trained_again_and_a_changed_one_only_in_part(tmp_path):
    path = write(tmp_path)
    first = finish(read_study(path), tmp_path / "out")
    stages = [report.stage for report in run_study(read_study(path), tmp_path / "out")]
    assert "training" not in stages
    changed = list(run_study(read_study(path, overrides=["trainings.b.loss=mse"]), tmp_path / "out"))
    assert {report.name for report in changed if report.stage == "training"} == {"b"}
    assert changed[-1].findings.summary[0] == first.summary[0]
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 3


def test_a_killed_study_goes_on(tmp_path):
    path = write(
        tmp_path,
        SMALL.replace("steps = 4", "steps = 150").replace("[trainings.a]", "[trainings.a]\nvalidate_every = 10"),
    )
    command = [sys.executable, "-m", "hush", "study", str(path), "--out", str(tmp_path / "out"), "--device", "cpu"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in child.stdout:
        if "step 40 " in line:
            child.send_signal(signal.SIGKILL)
            break
    assert child.wait() == -signal.SIGKILL
    (broken,) = (tmp_path / "out" / "runs").iterdir()
    assert not (broken / "last.safetensors").exists()
    reports = list(run_study(read_study(path), tmp_path / "out", device="cpu"))
    assert reports[0].training.step > 40
    steps = [entry["step"] for entry in read_log(broken)]
    assert steps == sorted(set(steps))
    assert steps[-1] == 150
    assert {entry["training"] for entry in reports[-1].findings.summary} == {"a", "b"}


def test_trainings_start_from_each_other(tmp_path):
    text = SMALL.replace('network = "unet(width=4, depth=1)"\nstart = ""', 'start = "a"\noptimiser = { rate = 0.0 }')
    findings = finish(read_study(write(tmp_path, text)), tmp_path / "out")
    psnrs = {(e["training"], e["evaluation"]): e["psnr"] for e in findings.summary}
    assert psnrs["a", "noise"] == pytest.approx(psnrs["b", "noise"], abs=0.01)
    changed = read_study(write(tmp_path, text), overrides=["trainings.a.loss=mse"])
    before, after = plan_runs(read_study(write(tmp_path, text)))[1], plan_runs(changed)[1]
    assert before.identity != after.identity, "what it starts from is part of a run"


def test_a_training_that_starts_from_another_goes_on_where_it_was_broken_off(tmp_path):
    text = SMALL.replace('network = "unet(width=4, depth=1)"\nstart = ""', 'start = "a"\nlength.steps = 6')
    study = read_study(write(tmp_path, text), overrides=["validate_every=2"])
    broken = run_study(study, tmp_path / "out", device="cpu")
    for report in broken:
        if (
            "b" in str(report)
            and report.training
            and report.training.step == 2
            and len(list((tmp_path / "out" / "runs").iterdir())) == 2
        ):
            break
    broken.close()
    steps = [report.training.step for report in run_study(study, tmp_path / "out", device="cpu") if report.training]
    assert min(steps) > 2


def test_pictures_are_judged_alike_in_whatever_precision(tmp_path):
    """The noise of cameras is made in float32, though the network may compute in bf16."""
    given = []
    for precision in ("f32", "bf16"):
        text = SMALL.replace("gaussian(sigma=50)", "camera(stops=3)").replace('"f32"', f'"{precision}"')
        study = read_study(write(tmp_path, text), overrides=["only=a", "length.steps=1"])
        given.append([entry["psnr_input"] for entry in finish(study, tmp_path / precision).summary])
    assert given[0] == given[1]


def test_an_ensemble_is_judged_but_not_trained_again(tmp_path):
    text = SMALL.replace('network = "unet(width=4, depth=1)"\nstart = ""', "ensemble = true")
    reports = list(run_study(read_study(write(tmp_path, text)), tmp_path / "out", device="cpu"))
    assert {report.name for report in reports if report.stage == "training"} == {"a"}
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 1
    psnrs = {entry["training"]: entry["psnr"] for entry in reports[-1].findings.summary}
    assert psnrs["a"] != psnrs["b"]
    assert psnrs["a"] == pytest.approx(psnrs["b"], abs=1)


def test_an_ensemble_turns_what_it_tells_and_turns_back_what_it_gets():
    noisy, sigma_map = torch.rand(2, 3, 5, 7), torch.rand(2, 1, 5, 7)
    same = Ensemble(lambda batch, sigma_map, label: batch * sigma_map)
    torch.testing.assert_close(same(noisy, sigma_map=sigma_map), noisy * sigma_map)
    down = Ensemble(lambda batch, sigma_map, label: batch.roll(1, -2))
    expected = sum(noisy.roll(shift, side) for shift in (1, -1) for side in (-1, -2)) / 4
    torch.testing.assert_close(down(noisy), expected)


def test_judging_clips_where_told_and_is_the_same_twice(tmp_path):
    study = read_study(write(tmp_path))
    findings = finish(study, tmp_path / "out")
    found = findings.runs[0]
    items = {name: open_judged_items(e) for name, e in study.evaluations.items()}
    assert len(items["noise"]) == 3
    rows = {name: found.judged[name].rows for name in items}
    assert [row["image"] for row in rows["noise"]] == [item.name for item in items["noise"]]
    # what is measured of the input is clamped anyway; what is restored is not the same
    assert rows["noise"][0]["psnr_input"] == rows["clipped"][0]["psnr_input"]
    assert rows["noise"][0]["psnr"] != rows["clipped"][0]["psnr"]
    for path in (found.folder / "judged").iterdir():
        path.unlink()
    again = judge_run(found.folder, "last", found.run.recipe, study.evaluations["noise"], items["noise"], "cpu")
    assert again.rows == rows["noise"]


def test_changed_pictures_are_judged_again_and_changed_starts_are_other_runs(photos, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(3):
        shutil.copy(photos[0], folder / f"{i}.png")
    place = ["data.set=folder(held_out=true)", f"data.root={folder}"]
    study = read_study(write(tmp_path), overrides=place)
    run = tmp_path / "run"
    run.mkdir()
    network = build_network("dncnn(width=4, depth=3)")
    card = {"name": "a", "network": "dncnn(width=4, depth=3)", "channels": 3, "sigma_map": False, "overlap": 8}
    save_state(run / "last.safetensors", {"card": {**card, "multiple": 1}, "numbers": network.state_dict()})
    evaluation, recipe = study.evaluations["noise"], study.trainings["a"].recipe

    def judge():
        return judge_run(run, "last", recipe, evaluation, open_judged_items(evaluation), "cpu").rows

    first = judge()
    assert judge() == first
    Image.fromarray(np.full((40, 40, 3), 128, np.uint8)).save(folder / "1.png")
    assert judge() != first
    assert len(list((run / "judged").iterdir())) == 2
    start = tmp_path / "start.safetensors"
    identities = set()
    for content in (b"one", b"two"):
        start.write_bytes(content)
        begun = read_study(tmp_path / "small.toml", overrides=[f"trainings.a.start={start}"])
        identities.add(plan_runs(begun)[0].identity)
    assert len(identities) == 2


def test_blind_weights_are_told_nothing_and_others_the_true_level(tmp_path, monkeypatch):
    network = "drunet(widths=[4], blocks=1)"
    text = SMALL.replace("dncnn(width=4, depth=3, batch_norm=false)", network)
    study = read_study(write(tmp_path, text), overrides=["trainings.a.untold=0.5", "trainings.b.network=" + network])
    told = []

    def restored(restore, views, device, judges):
        told.append(float(views.sigma_map.max()))
        return [({"psnr": 20.0, "psnr_input": 10.0}, [])] * len(views.clean)

    monkeypatch.setattr("hush.judging.judged._restored", restored)
    card = {"name": "a", "network": network, "channels": 3, "sigma_map": True, "overlap": 8, "multiple": 1}
    save_state(tmp_path / "last.safetensors", {"card": card, "numbers": build_network(network).state_dict()})
    evaluation = study.evaluations["noise"]
    for plan in study.trainings.values():
        judge_run(tmp_path, "last", plan.recipe, evaluation, open_judged_items(evaluation), "cpu")
    assert told == pytest.approx([UNTOLD, 50 / 255])
    assert any("told to: b. It is the true sigma" in sentence for sentence in protocol_words(study))
    assert not any("told to" in sentence for sentence in protocol_words(read_study(write(tmp_path))))


def rows_of(values, given=10.0):
    return [
        {"image": f"{i}", "scene": f"{i}", "psnr": value, "psnr_input": given, "ssim": 0.5, "ssim_input": 0.1}
        for i, value in enumerate(values)
    ]


@pytest.fixture
def findings(tmp_path, monkeypatch):
    """Two trainings with two seeds each; b is 1 dB better on every picture, a is worse than its input."""
    study = read_study(write(tmp_path), overrides=["seeds=[0, 1]"])
    runs = plan_runs(study)
    base = np.random.default_rng(0).normal(9, 2, 40)
    judged = []
    for run in runs:
        shift = (1.0 if run.training.name == "b" else 0.0) + 0.2 * run.recipe.seed
        one = Judged(rows_of((base + shift).tolist()), {})
        judged.append(
            RunFindings(
                run,
                tmp_path / run.folder,
                Size(1000, 50 * (run.training.name == "b"), 2.5),
                dict.fromkeys(study.evaluations, one),
            )
        )
    card = {
        "recipe": {},
        "training": {"hours": 1.5, "hardware": "a machine", "hush": "0", "torch": "2", "commit": "c0ffee"},
    }
    monkeypatch.setattr(Findings, "cards", [card] * len(runs))
    return Findings(study, judged)


def test_differences_are_paired(findings):
    (first, second) = findings.differences
    assert first["psnr"] == pytest.approx(1.0)
    low, high = first["psnr_interval"]
    assert low == pytest.approx(1.0)  # the pictures differ by 2 dB, the pairs not at all
    assert high == pytest.approx(1.0)
    assert first["psnr_seeds"] == pytest.approx([1.0, 1.0])
    assert second["evaluation"] == "clipped"


def test_differences_are_paired_where_pictures_of_several_folders_are_called_alike(findings):
    study, (first, second) = findings.study, findings.runs[:2]
    rows = [
        {"image": "x.png", "scene": f"{n}", "psnr": 20.0 + n, "psnr_input": 10.0, "ssim": 0.5, "ssim_input": 0.1}
        for n in (0, 5)
    ]
    same = [replace(run, judged=dict.fromkeys(run.judged, Judged(rows, {}))) for run in (first, second)]
    for entry in Findings(study, same).differences:
        assert entry["difference"] == 0
        assert list(entry["interval"]) == [0, 0]


def test_infinite_figures_differ_by_nothing_or_are_left_out(findings):
    values = [([np.inf, 31.0, np.inf], "a"), ([np.inf, 30.0, 40.0], "b")]
    runs = [
        replace(found, judged={"noise": Judged(rows_of(psnrs, 20.0), {})})
        for psnrs, name in values
        for found in findings.of(name)
    ]
    (difference,) = Findings(findings.study, runs).differences
    assert difference["psnr"] == pytest.approx(-0.5)  # b minus a
    assert difference["psnr_seeds"] == pytest.approx([-0.5, -0.5])
    assert (difference["psnr_n"], difference["n"]) == (2, 3)
    (table,) = difference_tables(Findings(findings.study, runs))
    assert any("(2 of 3)" in cell for cell in table.rows[0])


def test_the_summary_stands_beside_the_origin_and_warns(findings):
    entry = findings.summary[0]
    assert entry["psnr_seeds"][1] - entry["psnr_seeds"][0] == pytest.approx(0.2)
    assert entry["psnr"] == pytest.approx(np.mean(entry["psnr_seeds"]))
    assert entry["origin"] == {"psnr": 99.0, "parameters": 10}
    assert entry["reached"] == {"psnr": False, "parameters": False}
    assert entry["warning"].startswith("WORSE THAN THE INPUT")
    assert entry["gain"] == pytest.approx(entry["psnr"] - entry["psnr_input"])
    assert entry["gain_interval"][0] < entry["gain"] < entry["gain_interval"][1]
    assert any(warning.startswith("a, clipped: WORSE") for warning in findings.warnings)
    content = json.loads(findings.to_json())
    assert content["warnings"] == findings.warnings
    assert content["hours"] == 6.0
    assert "root" not in json.dumps(content["evaluations"])


def test_the_report_shows_everything_and_keeps_what_is_written_around_it(findings, tmp_path):
    page = make_page(findings, "hush study small").html()
    for word in ('class="warning"', "99.00 (missed)", "1,000 + 50", "Two small ones", "hush study small", "Protocol"):
        assert word in page, word
    target = save_report(findings, tmp_path, command="hush study small")
    assert target.exists()
    note = tmp_path / "small.md"
    text = note.read_text()
    assert "| noisy input |" in text
    assert "commit c0ffee" in text
    note.write_text(text.replace(BEGIN, f"A thought.\n\n{BEGIN}") + "\nAnother.\n")
    save_report(findings, tmp_path, command="hush study small --again")
    text = note.read_text()
    assert text.count(BEGIN) == text.count(END) == 1
    assert "A thought." in text
    assert text.endswith("Another.\n")
    assert "--again" in text


def test_tables_have_a_cell_for_each_header(findings):
    for table in (*result_tables(findings), *difference_tables(findings)):
        assert {len(row) for row in table.rows} == {len(table.headers)}


def test_metrics_without_a_title_stand_in_the_tables_under_their_name(findings):
    names = ("mse", "examples.my_parts:largest_error")
    rows = [{**row, **dict.fromkeys((*names, *(f"{name}_input" for name in names)), 0.25)} for row in rows_of([9.0])]
    runs = [replace(found, judged={"noise": Judged(rows, {})}) for found in findings.runs]
    found = Findings(replace(findings.study, metrics=names), runs)
    (results,), (differences,) = result_tables(found), difference_tables(found)
    for table in (results, differences):
        assert [header for header in table.headers if header.startswith(names)] == [f"{name} [95 %]" for name in names]
        assert {len(row) for row in table.rows} == {len(table.headers)}
    assert "0.2500" in results.rows[0]


def test_a_restorer_that_is_not_finite_is_named(findings):
    broken = replace(findings.runs[0], judged={"noise": Judged(rows_of([float("nan")] * 3), {})})
    entry = Findings(findings.study, [broken]).summary[0]
    assert entry["warning"] == "RESTORED IS NOT FINITE"


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_studies())
def test_the_smoke_form_of_every_study_runs(name, tmp_path, capsys):
    assert run_cli(["study", name, "--setting", "smoke", "--out", str(tmp_path), "--device", "cpu"]) == 0
    out = capsys.readouterr()
    assert "finished" in out.out
    content = json.loads((tmp_path / f"{name}.json").read_text())
    study = read_study(name, setting="smoke")
    assert {entry["training"] for entry in content["summary"]} == set(study.trainings)
    assert content["differences"]
    page = (tmp_path / f"{name}.html").read_text()
    assert "http" not in page.split("<main>")[1].split("<script>")[0]
    if content["warnings"]:  # two steps restore nothing
        assert "WORSE THAN THE INPUT" in out.err
        assert "WORSE THAN THE INPUT" in page


def test_unaligned_views_are_looked_at_and_not_measured_against_each_other(tmp_path):
    text = SMALL.replace("clip = true", "aligned = false").replace('origin = "noise"', "")
    findings = finish(read_study(write(tmp_path, text)), tmp_path / "out")
    entry = next(e for e in findings.summary if e["evaluation"] == "clipped")
    assert "psnr" not in entry
    assert min(entry["sharpness"], entry["sharpness_input"]) > 0
    titles = [table.headers for table in result_tables(findings)]
    assert any("sharpness [95 %]" in headers for headers in titles)
    assert "does not match the other to the pixel" in make_page(findings).html()


def test_further_metrics_and_only_good_inputs(tmp_path):
    text = SMALL.replace("clip = true", "least_input = 14.5").replace('origin = "noise"', "")
    study = read_study(write(tmp_path, 'metrics = ["lpips"]\n' + text))
    findings = finish(study, tmp_path / "out")
    everything, good = (findings.runs[0].judged[name].rows for name in ("noise", "clipped"))
    assert good == [row for row in everything if row["psnr_input"] >= 14.5]
    assert all(row["lpips"] > 0 for row in everything)
    with pytest.raises(RecipeError, match="none of 3 pictures has 90 dB"):
        finish(read_study(write(tmp_path, text.replace("14.5", "90"))), tmp_path / "out")
    with pytest.raises(HushError, match="did you mean 'lpips'"):
        finish(read_study(write(tmp_path, 'metrics = ["lpip"]\n' + text)), tmp_path / "other")


def test_a_setting_of_a_training_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"no training 'bb' \(did you mean 'b'\?\)\. Known: a, b"):
        read_study(write(tmp_path), overrides=["trainings.bb.loss=mse"])
    with pytest.raises(RecipeError, match="no evaluation 'noize'"):
        read_study(write(tmp_path), overrides=["evaluations.noize.pictures=2"])


def test_a_setting_may_reach_every_evaluation(tmp_path):
    study = read_study(write(tmp_path), overrides=["evaluations.*.pictures=2"])
    assert [e.pictures for e in study.evaluations.values()] == [2, 2]
    assert study.setting == "full"


def test_single_seeds_stand_in_the_table(findings):
    table = result_tables(findings)[0]
    assert table.headers[-1] == "PSNR, dB, single seeds"
    assert table.rows[1][-1].count(",") == 1
