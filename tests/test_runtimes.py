"""Every runtime gives the same answer to the same batch, and says what it is."""

from __future__ import annotations

import locale
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hush.errors import MissingExtra, UsageError, WeightsError
from hush.restoring import runtimes as module
from hush.restoring import weights as weights_module
from hush.restoring.runtimes import RUNTIMES, Limits, OpenVINORuntime, open_runtime, side_by_side
from hush.restoring.weights import Weights, WeightsEntry, open_weights
from tiny import darkening_numbers, random_numbers, write_tiny

SIZES = [(1, 1, 1), (1, 1, 7), (2, 5, 3), (1, 17, 33), (3, 40, 24)]  # N, H, W


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    return open_weights(write_tiny(tmp_path_factory.mktemp("runtimes") / "tiny.onnx"))


def test_the_locale_is_the_one_before_when_the_last_has_compiled() -> None:
    before, kept = locale.setlocale(locale.LC_ALL), module.KeptLocale()
    try:
        first, second = ExitStack(), ExitStack()
        first.enter_context(kept)
        locale.setlocale(locale.LC_CTYPE, "C")
        second.enter_context(kept)
        first.close()
        assert locale.setlocale(locale.LC_CTYPE) == "C", "the second has not done yet"
        second.close()
        assert locale.setlocale(locale.LC_ALL) == before
    finally:
        locale.setlocale(locale.LC_ALL, before)


def batch(n: int, height: int, width: int, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(height * width)
    noisy = rng.random((n, channels, height, width), np.float32)
    return noisy, rng.random((n, 1, height, width), np.float32)


def expected(noisy: np.ndarray, sigma_map: np.ndarray) -> np.ndarray:
    """Do in NumPy what the tiny network does."""
    numbers = random_numbers(noisy.shape[1])

    def convolve(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        return np.einsum("nchwij,ocij->nohw", windows, kernel.astype(np.float64))

    features = convolve(np.concatenate([noisy, sigma_map], axis=1), numbers["head.weight"])
    return noisy + convolve(features, numbers["tail.weight"])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_runtime_computes_the_network_exactly(runtime: str, weights: Weights) -> None:
    run = open_runtime(weights, runtime=runtime, device="cpu", precision="exact")
    for n, height, width in SIZES:
        noisy, sigma_map = batch(n, height, width)
        restored = run(noisy, sigma_map)
        assert (restored.dtype, restored.shape) == (np.float32, noisy.shape)
        np.testing.assert_allclose(restored, expected(noisy, sigma_map), atol=2e-6)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("precision", ["auto", "fast"])
def test_less_precision_costs_little(runtime: str, precision: str, weights: Weights) -> None:
    run = open_runtime(weights, runtime=runtime, device="cpu", precision=precision)
    noisy, sigma_map = batch(1, 32, 32)
    np.testing.assert_allclose(run(noisy, sigma_map), expected(noisy, sigma_map), atol=0.02)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("precision", ["auto", "fast", "exact"])
def test_the_residual_is_added_in_float32(runtime: str, precision: str, tmp_path: Path) -> None:
    """Even where the rest runs in bf16: otherwise a 16-bit picture would come out with 8 bits."""
    weights = open_weights(write_tiny(tmp_path / "dark.onnx", numbers=darkening_numbers()))
    run = open_runtime(weights, runtime=runtime, device="cpu", precision=precision)
    noisy, sigma_map = batch(1, 24, 24)
    assert np.array_equal(run(noisy, 0 * sigma_map), noisy)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_weights_without_a_level_map(runtime: str, tmp_path: Path) -> None:
    weights = open_weights(write_tiny(tmp_path / "blind.onnx", 1, sigma_map=False))
    run = open_runtime(weights, runtime=runtime, device="cpu")
    assert run.limits == Limits(channels=1, sigma_map=False, overlap=2)
    noisy, sigma_map = batch(1, 9, 9, channels=1)
    assert np.array_equal(run(noisy), run(noisy, sigma_map)), "a map that is not needed is not used"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_runtime_describes_itself(runtime: str, weights: Weights) -> None:
    run = open_runtime(weights, runtime=runtime, device="cpu", precision="exact", threads=1)
    assert run.name == runtime
    assert "1 thread" in run.description
    assert run.description.endswith(("f32", "float32"))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_arrays_of_any_layout_are_taken(runtime: str, weights: Weights) -> None:
    run = open_runtime(weights, runtime=runtime, device="cpu", precision="exact")
    noisy, sigma_map = batch(1, 12, 10)
    strided = np.broadcast_to(np.moveaxis(np.moveaxis(noisy, 1, -1).copy(), -1, 1), noisy.shape)  # channels last
    level = np.broadcast_to(np.float32(0.1), sigma_map.shape)
    np.testing.assert_allclose(run(strided, level), run(noisy, 0 * sigma_map + np.float32(0.1)), atol=1e-6)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_results_stay_after_the_next_call(runtime: str, weights: Weights) -> None:
    run = open_runtime(weights, runtime=runtime, device="cpu")
    noisy, sigma_map = batch(1, 8, 8)
    first = run(noisy, sigma_map)
    kept = first.copy()
    run(1 - noisy, sigma_map)
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_threads_may_share_a_runtime(runtime: str, weights: Weights) -> None:
    run = open_runtime(weights, runtime=runtime, device="cpu", precision="exact")
    batches = [batch(1, 16 + i, 20) for i in range(12)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda pair: run(*pair), batches))
    for pair, restored in zip(batches, together, strict=True):
        np.testing.assert_allclose(restored, expected(*pair), atol=2e-6)


@pytest.mark.parametrize("count", [2, 3])
def test_callers_side_by_side_get_what_one_gets(count: int, weights: Weights) -> None:
    alone = open_runtime(weights, runtime="openvino", precision="exact", threads=count)
    beside = side_by_side(alone, count)
    assert beside is not None
    assert beside.description == alone.description
    batches = [batch(1, 16 + i, 20) for i in range(12)]
    with ThreadPoolExecutor(2 * count) as pool:
        together = list(pool.map(lambda pair: beside(*pair), batches))
    for pair, restored in zip(batches, together, strict=True):
        np.testing.assert_allclose(restored, alone(*pair), atol=1e-6)


def test_a_failed_call_leaves_its_stream_to_the_next(weights: Weights) -> None:
    class Failing:
        def infer(self, *_: object, **__: object) -> None:
            raise RuntimeError("no memory")

    run = OpenVINORuntime(weights, "exact", None)
    idle = run._opened.result()[0]
    working = idle.get()
    idle.put(Failing())
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no memory"):
            run(*batch(1, 8, 8))
    assert isinstance(idle.get_nowait(), Failing)  # else the next call would wait for ever
    idle.put(working)
    np.testing.assert_allclose(run(*batch(1, 8, 8)), expected(*batch(1, 8, 8)), atol=2e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_more_callers_than_threads_are_served(threads: int, weights: Weights) -> None:
    beside = side_by_side(open_runtime(weights, runtime="openvino", precision="exact", threads=threads), 4)
    assert beside is not None
    batches = [batch(1, 16 + i, 20) for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for pair, restored in zip(batches, pool.map(lambda pair: beside(*pair), batches), strict=True):
            np.testing.assert_allclose(restored, expected(*pair), atol=2e-6)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_batch_that_does_not_fit_is_refused(runtime: str, weights: Weights) -> None:
    run = open_runtime(weights, runtime=runtime, device="cpu")
    noisy, sigma_map = batch(1, 8, 8)
    for wrong in [(noisy[:, :1], sigma_map), (noisy[0], sigma_map), (noisy, None), (noisy, sigma_map[..., 1:])]:
        with pytest.raises(UsageError, match="these weights take"):
            run(*wrong)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_damaged_file_is_refused(runtime: str, weights: Weights, tmp_path: Path) -> None:
    content = weights.path.read_bytes()
    damaged = tmp_path / "damaged.onnx"
    place = content.index(b"restored")
    damaged.write_bytes(content[:place] + b"retsored" + content[place + 8 :])  # the output names nothing
    broken = Weights("damaged", damaged, weights.card)
    if runtime == "torch":
        damaged.write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsError, match=r"damaged\.onnx"):
        open_runtime(broken, runtime=runtime, device="cpu")(*batch(1, 8, 8))


def test_torch_refuses_numbers_of_another_network(weights: Weights, tmp_path: Path) -> None:
    other = write_tiny(tmp_path / "other.onnx", card={"network": "drunet(widths=[8], blocks=0, unshuffle=1)"})
    with pytest.raises(
        WeightsError, match=r"other\.onnx: not the numbers of this DRUNet: head.weight is \(4, 4, 3, 3\)"
    ):
        open_runtime(open_weights(other), runtime="torch")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "openvno"}, "did you mean 'openvino'"),
        ({"device": "gpu"}, "auto, cpu, cuda or mps"),
        ({"precision": "half"}, "auto, fast or exact"),
        ({"runtime": "openvino", "device": "cuda"}, "use runtime 'torch'"),
        ({"runtime": "onnx", "device": "mps"}, "use runtime 'torch'"),
        ({"runtime": "no_such_module:open"}, "no module 'no_such_module'"),
    ],
)
def test_options_that_are_not_allowed(options: dict[str, str], message: str, weights: Weights) -> None:
    with pytest.raises(UsageError, match=message):
        open_runtime(weights, **options)


def test_a_device_that_is_missing_is_named(weights: Weights) -> None:
    import torch

    missing = "cuda" if not torch.cuda.is_available() else "mps"
    with pytest.raises(UsageError, match=f"device '{missing}' is not on this machine; allowed here: .*cpu"):
        open_runtime(weights, device=missing)


def test_auto_is_openvino_on_a_processor(weights: Weights) -> None:
    assert open_runtime(weights).name == "openvino"


def test_a_runtime_of_ones_own(weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_runtime.py").write_text("def open_mine(weights, **options):\n    return options")
    monkeypatch.syspath_prepend(tmp_path)
    options = open_runtime(weights, runtime="my_runtime:open_mine", threads=2)
    assert options == {"device": "auto", "precision": "auto", "threads": 2}


def test_what_is_not_installed_is_named(weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needy_runtime.py").write_text("import a_package_that_nobody_has")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtra, match="a_package_that_nobody_has, which is not installed"):
        open_runtime(weights, runtime="needy_runtime:open")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"pip install 'hush\[onnx\]'"):
        open_runtime(weights, runtime="onnx")


# ---------------------------------------------------------------- OpenVINO's precision and cache


def test_bf16_only_where_it_does_not_show(weights: Weights, tmp_path: Path) -> None:
    import openvino

    preferred = openvino.Core().get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name()
    harmed = open_weights(write_tiny(tmp_path / "harmed.onnx", card={"bf16": False}))
    assert open_runtime(weights, precision="exact").description.endswith("f32")
    assert open_runtime(harmed, precision="auto").description.endswith("f32")
    assert open_runtime(harmed, precision="fast").description.endswith(preferred)
    assert open_runtime(weights).description.endswith("bf16" if preferred == "bf16" else "f32")


@pytest.fixture
def named(weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Weights:
    """Put the tiny weights into the table: only weights with a name are cached."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    monkeypatch.setattr(weights_module, "BUNDLED", tmp_path)
    monkeypatch.setitem(weights_module.WEIGHTS, "tiny", WeightsEntry("tiny.onnx"))
    shutil.copy(weights.path, tmp_path / "tiny.onnx")
    return open_weights("tiny")


def cached(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").rglob("*.blob"))


def test_weights_with_a_name_are_compiled_once(named: Weights, tmp_path: Path) -> None:
    noisy, sigma_map = batch(1, 16, 16)
    first = open_runtime(named)(noisy, sigma_map)
    [blob] = cached(tmp_path)
    written = blob.stat().st_mtime_ns
    assert np.array_equal(open_runtime(named)(noisy, sigma_map), first)
    assert [path.stat().st_mtime_ns for path in cached(tmp_path)] == [written]


def test_own_files_are_not_cached(weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    open_runtime(weights)
    assert not (tmp_path / "cache").exists()


def test_weights_replaced_in_place_are_not_taken_from_the_cache(named: Weights, tmp_path: Path) -> None:
    noisy, sigma_map = batch(1, 16, 16)
    before = open_runtime(named, precision="exact")(noisy, sigma_map)
    write_tiny(named.path, numbers=darkening_numbers())
    after = open_runtime(open_weights("tiny"), precision="exact")(noisy, sigma_map)
    assert not np.allclose(before, after)
    np.testing.assert_allclose(after, noisy - sigma_map / 2, atol=1e-6)
    assert len(cached(tmp_path)) == 1, "what was compiled from the old numbers is dropped"


@pytest.mark.parametrize("content", [b"", b"garbage" * 10])
def test_a_damaged_cache_costs_nothing_but_time(content: bytes, named: Weights, tmp_path: Path) -> None:
    noisy, sigma_map = batch(1, 16, 16)
    first = open_runtime(named)(noisy, sigma_map)
    [blob] = cached(tmp_path)
    blob.chmod(0o644)
    blob.write_bytes(content)
    assert np.array_equal(open_runtime(named)(noisy, sigma_map), first)


def test_a_cache_that_cannot_be_made_costs_nothing_but_time(named: Weights, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    noisy, sigma_map = batch(1, 16, 16)
    assert open_runtime(named)(noisy, sigma_map).shape == noisy.shape


def test_without_a_home_nothing_is_cached(named: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cache_folder", lambda: None)
    open_runtime(named)
    assert cached(tmp_path) == []


def test_openvino_comes_with_its_converter_when_somebody_asks_for_it():
    program = (
        "import sys; from hush.restoring.runtimes import _import_openvino; openvino = _import_openvino(); "
        "assert 'openvino.tools.ovc' not in sys.modules; assert not hasattr(openvino, 'convert_modle'); "
        "print(openvino.convert_model.__module__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "openvino.tools.ovc.convert"


def test_openvino_reports_to_nobody():
    """Importing OpenVINO sends an event over the network unless its telemetry is kept out."""
    program = (
        "import sys; from hush.restoring.runtimes import _import_openvino; _import_openvino(); "
        "print([name for name in sys.modules if name.startswith('openvino_telemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_number_types_are_known_before_two_threads_infer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else both fill OpenVINO's table at their first calls, and may wait for one another for ever."""
    openvino = module._import_openvino()
    asked: list[bool] = []

    def to_dtype() -> None:
        asked.append(module._FIRST_CALL.locked())

    fake = SimpleNamespace(Type=SimpleNamespace(f32=SimpleNamespace(to_dtype=to_dtype)), Core=openvino.Core)
    monkeypatch.setattr(module, "_import_openvino", lambda: fake)
    assert module.open_openvino(open_weights(write_tiny(tmp_path / "tiny.onnx"))).description
    assert asked == [True]
