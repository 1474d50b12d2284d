"""The server: pictures go in and come out over HTTP, and nothing of them stays."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
import tifffile
from PIL import Image
from starlette.testclient import TestClient

from conftest import HERE
from hush.cli import run
from hush.imaging.files import Picture, read, write
from hush.imaging.formats.picture import Metadata
from hush.imaging.viewing import preview
from hush.restoring.denoising import DenoiseOptions, denoise_file
from hush.web.app import RESULT, create_app
from tiny import write_tiny

CAT = HERE / "data" / "cat.png"


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the server keeps what it is sent."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


@pytest.fixture
def client(dark: str, scratch: Path) -> Iterator[TestClient]:
    app = create_app(DenoiseOptions(weights=dark), max_upload=2**20)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client
    assert list(scratch.iterdir()) == []


def test_a_picture_comes_back_as_the_command_restores_it(client: TestClient, dark: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (40, 60, 3), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", description="a note")
    answer = client.post("/api/denoise?sigma=40&strength=0.5&name=a.tif", content=(tmp_path / "a.tif").read_bytes())
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/tiff"
    assert answer.headers["content-disposition"] == 'attachment; filename="a-hush.tif"'
    (tmp_path / "served.tif").write_bytes(answer.content)
    options = DenoiseOptions(40, 0.5, weights=dark)
    expected = read(denoise_file(tmp_path / "a.tif", tmp_path / "expected.tif", options).target).pixels
    served = read(tmp_path / "served.tif")
    assert served.pixels.dtype == np.uint16
    assert np.array_equal(served.pixels, expected)
    assert not np.array_equal(expected, values)
    told = json.loads(answer.headers[RESULT])
    assert told["size"] == [60, 40]
    assert told["sigma"] == 40
    assert told["remarks"] == []
    assert told["weights"] == "own"  # where they lie is not told


def test_the_content_tells_the_format_and_another_may_be_asked_for(client: TestClient) -> None:
    nameless = client.post("/api/denoise?strength=0", content=CAT.read_bytes())
    assert nameless.content == CAT.read_bytes()
    assert "picture-hush" in nameless.headers["content-disposition"]
    other = client.post("/api/denoise?as=webp&name=../../no%20cat.png", content=CAT.read_bytes())
    assert other.content[:4] == b"RIFF"
    assert "no%20cat-hush.webp" in other.headers["content-disposition"]


@pytest.mark.parametrize(
    ("query", "content", "status", "words"),
    [
        ("strenth=1", b"x", 400, "there is no option 'strenth' (did you mean 'strength'?)"),
        ("strength=2", b"x", 400, "strength is 2.0; it must be a number from 0 to 1"),
        ("strength=a", b"x", 400, "strength is 'a'; it must be a number"),
        ("sigma=x", b"x", 400, "sigma is 'x'; it must be auto or a number"),
        ("range=x", b"x", 400, "range is 'x'"),
        ("weights=/etc/passwd", b"x", 400, "weights is '/etc/passwd'; it must be one of auto, gaussian"),
        ("as=exe", b"x", 400, "as is 'exe'; it must be a suffix of pictures"),
        ("", b"", 400, "the request has no body"),
        ("name=a.jpg", b"no picture at all", 422, "a.jpg: no picture (it begins with"),
        ("", b"no picture at all", 422, "the picture: no picture (it begins with"),
        ("", bytes(2**20 + 1), 413, "the picture has more than 1,048,576 bytes"),
    ],
)
def test_mistakes_are_told_in_one_line(client: TestClient, query: str, content: bytes, status: int, words: str) -> None:
    answer = client.post(f"/api/denoise?{query}", content=content)
    assert answer.status_code == status
    assert answer.json()["error"].startswith(words)
    assert "hush-" not in answer.json()["error"]  # the name of its temporary folder


def test_a_body_of_unknown_length_ends_at_the_limit(client: TestClient) -> None:
    answer = client.post("/api/denoise", content=(bytes(2**18) for _ in range(5)))
    assert answer.status_code == 413


def test_what_a_format_does_not_hold_is_told(client: TestClient, tmp_path: Path) -> None:
    write(tmp_path / "a.png", Picture(np.full((8, 8, 4), 128, np.uint8)))
    answer = client.post("/api/denoise?as=jpg&name=a.png", content=(tmp_path / "a.png").read_bytes())
    assert answer.status_code == 422
    assert "alpha" in answer.json()["error"]


def test_other_sites_and_other_names_are_refused(client: TestClient) -> None:
    crossing = client.post("/api/denoise", content=CAT.read_bytes(), headers={"sec-fetch-site": "cross-site"})
    assert crossing.status_code == 400
    assert crossing.json()["error"] == "pages of other sites may not use this server"
    for origin, status in [("http://evil.example", 400), ("null", 400), ("http://localhost", 200)]:  # http elsewhere
        assert client.post("/api/estimate", content=CAT.read_bytes(), headers={"origin": origin}).status_code == status
    for host, status in [("evil.example", 400), ("localhost:80", 200), ("127.0.0.1:8000", 200), ("[::1]:8000", 200)]:
        assert client.get("/api", headers={"host": host}).status_code == status
    assert client.get("/api/denoise").headers["allow"] == "POST"
    assert client.get("/nowhere").json() == {"error": "Not Found"}
    assert client.get("/static/app.py").status_code == 404


def test_the_page_asks_for_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "style=" not in page.text  # the policy forbids it
    found = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(found) >= 5
    for address in found:
        assert address == "data:," or client.get("/" + address).status_code == 200
    assert "http" not in page.text


def test_what_there_is(client: TestClient) -> None:
    about = client.get("/api").json()
    assert {"auto", "photo", "gaussian"} < set(about["weights"])
    assert about["options"]["strength"] == 1
    assert about["options"]["weights"] == "own"  # where they lie is not told
    assert client.get("/api/progress/none").json() == {"done": 0, "total": 0}


def test_noise_is_estimated(client: TestClient, tmp_path: Path) -> None:
    values = np.clip(np.random.default_rng(0).normal(128, 20, (96, 128)), 0, 255).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    found = client.post("/api/estimate", content=(tmp_path / "a.png").read_bytes()).json()
    assert found["sigma"] == pytest.approx(20, rel=0.1)
    assert found["verdict"] == "strong"
    assert client.post("/api/estimate?sigma=3", content=b"x").status_code == 400


def test_previews_are_upright_and_as_bright_as_the_picture(client: TestClient, tmp_path: Path) -> None:
    values = np.zeros((20, 30), np.uint16)
    values[:, :15] = 4095
    exif = b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
    write(tmp_path / "a.png", Picture(values, metadata=Metadata(exif=exif)))
    answer = client.post("/api/preview?name=a.png", content=(tmp_path / "a.png").read_bytes())
    assert answer.headers["content-type"] == "image/jpeg"
    (tmp_path / "a.jpg").write_bytes(answer.content)
    shown = read(tmp_path / "a.jpg").pixels.astype(int)
    assert shown.shape == (30, 20)
    assert shown[:14].min() > 250
    assert shown[16:].max() < 5


def test_two_previews_may_have_the_same_white(client: TestClient, tmp_path: Path) -> None:
    values = np.full((2, 20, 30), 1000, np.uint16)
    values[0, 0, 0] = 3000  # of the noisy one
    shown = []
    white = "auto"
    for page in values:
        tifffile.imwrite(tmp_path / "a.tif", page)
        answer = client.post(f"/api/preview?range={white}", content=(tmp_path / "a.tif").read_bytes())
        white = answer.headers["X-Hush-Range"]
        (tmp_path / "a.jpg").write_bytes(answer.content)
        shown.append(read(tmp_path / "a.jpg").pixels[-1, -1])
    assert white == "0.0,4095.0"
    assert shown[0] == shown[1] == round(255 * 1000 / 4095)


def test_previews_of_large_pictures_are_smaller(tmp_path: Path) -> None:
    for shape in ((8000, 8000), (3, 150_000)):
        (tmp_path / "a.jpg").write_bytes(preview(Picture(np.zeros(shape, np.uint8))))
        with Image.open(tmp_path / "a.jpg") as shown:
            assert max(shown.size) <= 65_000
            assert shown.width * shown.height <= 24_000_000


def test_what_is_too_large_to_be_shown_is_estimated(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hush.restoring.large.allowed", lambda limit: 0)
    answer = client.post("/api/preview?name=cat.png", content=CAT.read_bytes())
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("cat.png: too large to be shown")
    assert client.post("/api/estimate?name=cat.png", content=CAT.read_bytes()).json()["verdict"] == "clean"


def test_a_limit_of_memory_holds_for_estimates_too(dark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = []
    monkeypatch.setattr(
        "hush.restoring.estimating.in_parts", lambda *paths_and_options: limits.append(paths_and_options[2].max_memory)
    )
    with TestClient(create_app(DenoiseOptions(weights=dark, max_memory=2**29)), base_url="http://localhost") as client:
        assert client.post("/api/estimate?name=cat.png", content=CAT.read_bytes()).status_code == 200
    assert limits == [2**29]


@pytest.mark.parametrize(
    ("pixels", "cmyk", "colour"),
    [
        (np.full((9, 9, 4), (255, 0, 0, 0), np.uint8), False, (255, 255, 255)),
        (np.full((9, 9, 4), (255, 0, 0, 0), np.uint8), True, (0, 255, 255)),
        (np.full((9, 9, 4), (0, 0, 0, 255), np.uint8), True, (0, 0, 0)),
        (np.full((9, 9, 2), (0, 32768), np.uint16), False, (127, 127, 127)),
        (np.full((9, 9), True), False, (255, 255, 255)),
    ],
)
def test_previews_show_inks_and_alpha(pixels: np.ndarray, cmyk: bool, colour: tuple[int, ...], tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(preview(Picture(pixels, cmyk=cmyk)))
    with Image.open(tmp_path / "a.jpg") as shown:
        assert np.allclose(shown.convert("RGB").getpixel((4, 4)), colour, atol=3)


def test_previews_do_not_multiply_alpha_into_colours_that_have_it(tmp_path: Path) -> None:
    pixels = np.full((9, 9, 4), (128, 0, 0, 128), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["assocalpha"])
    (tmp_path / "a.jpg").write_bytes(preview(read(tmp_path / "a.tif")))
    with Image.open(tmp_path / "a.jpg") as shown:
        assert np.allclose(shown.getpixel((4, 4)), (255, 127, 127), atol=3)


def test_one_picture_is_restored_at_a_time_and_told_of(
    dark: str, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hush.web import app as module

    at_work: list[int] = []
    most = 0
    told: list[dict[str, int]] = []
    original = module.denoise_file
    lock = threading.Lock()

    def slow(*arguments: object, progress: object, **options: object) -> object:
        nonlocal most
        with lock:
            at_work.append(1)
            most = max(most, len(at_work))
        progress(1, 4)  # type: ignore[operator]
        told.append(max((client.get(f"/api/progress/{i}").json() for i in range(3)), key=lambda job: job["total"]))
        time.sleep(0.1)
        at_work.pop()
        return original(*arguments, progress=progress, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "denoise_file", slow)
    with TestClient(create_app(DenoiseOptions(weights=dark)), base_url="http://localhost") as client:
        threads = [
            threading.Thread(target=client.post, args=[f"/api/denoise?job={i}"], kwargs={"content": CAT.read_bytes()})
            for i in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.get("/api/progress/0").json() == {"done": 0, "total": 0}
    assert most == 1
    assert told == [{"done": 1, "total": 4}] * 3


def test_what_is_at_work_stops_when_the_server_ends(dark: str, scratch: Path) -> None:
    app = create_app(DenoiseOptions(weights=dark, tile=48))
    with TestClient(app, base_url="http://localhost") as client:
        app.state.end()
        answer = client.post("/api/denoise?sigma=30", content=CAT.read_bytes())
    assert answer.status_code == 499
    assert list(scratch.iterdir()) == []


def test_where_own_weights_lie_is_not_told(tmp_path: Path, scratch: Path) -> None:
    weights = write_tiny(tmp_path / "mine.onnx")
    blind = write_tiny(tmp_path / "blind.onnx", sigma_map=False)
    with TestClient(create_app(DenoiseOptions(weights=blind)), base_url="http://localhost") as client:
        answer = client.post("/api/denoise?sigma=30", content=CAT.read_bytes())
        told = json.loads(answer.headers["X-Hush-Result"])
    assert (told["weights"], told["remarks"]) == ("own", ["own takes no noise level, so --sigma makes no difference"])
    with TestClient(create_app(DenoiseOptions(weights=weights)), base_url="http://localhost") as client:
        weights.unlink()
        answer = client.post("/api/denoise?sigma=30", content=CAT.read_bytes())
    assert answer.json()["error"].startswith("own: no such file")
    assert list(scratch.iterdir()) == []


def test_weights_that_cannot_be_run_are_told_before_it_serves(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "--port", "0", "--weights", "fhoto"]) == 2
    assert "fhoto" in capsys.readouterr().err


@pytest.mark.parametrize("waiting", [True, False])
def test_who_goes_leaves_nothing(waiting: bool, dark: str, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spoken to without a client, which would not go: before its turn has come, and while the answer is sent."""
    from hush.web import app as module

    app = create_app(DenoiseOptions(weights=dark))
    begun = threading.Event()

    def slow(*arguments: object, progress: Callable[[int, int], None], **options: object) -> None:
        begun.set()
        for _ in range(600):
            time.sleep(0.05)
            progress(0, 9)

    async def ask(stay: bool) -> None:
        sent = iter([{"type": "http.request", "body": CAT.read_bytes(), "more_body": False}])

        async def receive() -> Any:
            if (message := next(sent, None)) is not None:
                return message
            while stay and not gone:
                await anyio.sleep(0.05)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            raise OSError("who asked has gone")

        headers = [(b"host", b"localhost")]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/api/denoise",
            "query_string": b"sigma=9",
            "headers": headers,
        }
        with suppress(OSError):
            await app(
                scope | {"query_string": b"sigma=9", "asgi": {"version": "3.0", "spec_version": "2.4"}}, receive, send
            )

    gone: list[bool] = []

    async def both() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(ask, True)
            while not begun.is_set():
                await anyio.sleep(0.05)
            with anyio.fail_after(5):  # long before the one at work is done
                await ask(False)
            assert len(list(scratch.iterdir())) == 1
            gone.append(True)

    if waiting:
        monkeypatch.setattr(module, "denoise_file", slow)
        anyio.run(both)
    else:
        anyio.run(ask, True)
    assert list(scratch.iterdir()) == []


def test_the_command_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "hush", "serve", "--port", "0", "--weights", "identity"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as server:
        assert server.stdout is not None
        address = re.search(r"http://localhost:\d+", server.stdout.readline())
        assert address is not None
        request = urllib.request.Request(f"{address[0]}/api/denoise", CAT.read_bytes())
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.read() == CAT.read_bytes()
        server.send_signal(signal.SIGINT)
        _, complaints = server.communicate(timeout=30)
    assert server.returncode == 0
    assert complaints == ""


def test_a_port_that_is_taken_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["serve", "--port", str(port)]) == 2
    assert capsys.readouterr().err == (
        f"hush: 127.0.0.1:{port}: cannot listen there (Address already in use). Another --port, or 0 for a free one\n"
    )


def test_without_the_extra_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert run(["serve"]) == 1
    assert "pip install 'hush[web]'" in capsys.readouterr().err
