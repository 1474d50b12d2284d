"""Files of several pictures: every page, plane and frame comes back, with what the file says of it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageSequence

from conftest import shared_data
from hush.errors import PictureError
from hush.imaging.files import Pages, Picture, read, read_pages, write, write_pages
from hush.imaging.formats import FORMATS, png, tiff
from hush.imaging.formats.tags import directories

RNG = np.random.default_rng(0)
DURATIONS = [40, 80, 120, 50, 60]


def copied(source: Path, target: Path | None = None, **changes: Any) -> tuple[list[Picture], list[Picture], Pages]:
    """Read a file, write it again, and return both files' pictures."""
    target = target or source.with_name(f"copy-{source.name}")
    pages = read_pages(source)
    write_pages(target, (replace(page, **changes) for page in pages), pages, overwrite=True)
    again = read_pages(target)
    assert len(again) == len(pages) == sum(1 for _ in pages)
    return list(pages), list(again), again


def same(before: list[Picture], after: list[Picture]) -> None:
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(other.pixels, one.pixels)
        assert (other.duration, other.metadata, other.kind) == (one.duration, one.metadata, one.kind)


def frames(alpha: bool = False) -> list[Image.Image]:
    """Return five frames of few colours, in which something small moves."""
    still = RNG.integers(0, 4, (30, 40, 3), dtype=np.uint8) // 2 * 200
    moving = []
    for i in range(len(DURATIONS)):
        frame = still.copy()
        frame[i * 4 : i * 4 + 6, 5:15] = [250, i * 20, 3]
        seen = np.full((30, 40, 1), 255, np.uint8)
        seen[:4, i * 3 : i * 3 + 3] = 0
        moving.append(Image.fromarray(np.dstack([frame * (seen > 0), seen]) if alpha else frame))
    return moving


def seen(path: Path) -> Iterator[np.ndarray]:
    """Yield the frames as Pillow shows them."""
    with Image.open(path) as judge:
        for frame in ImageSequence.Iterator(judge):
            yield np.asarray(frame.convert("RGBA"))


# Pages and planes


def test_a_tiff_keeps_each_page_with_its_tags_and_coding(tmp_path: Path) -> None:
    source = tmp_path / "x.tif"
    kinds = [
        (RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8), {"photometric": "rgb", "description": "first"}),
        (RNG.integers(0, 65_536, (33, 17), dtype=np.uint16), {"compression": "zlib", "predictor": True}),
        (RNG.random((64, 48), dtype=np.float32), {"tile": (16, 32), "description": "third", "software": "s"}),
        (RNG.random((9, 9)) < 0.5, {"subfiletype": 4}),
        (RNG.integers(0, 256, (100, 8, 3), dtype=np.uint8), {"photometric": "rgb", "rowsperstrip": 7}),
    ]
    for big in (False, True):
        with tifffile.TiffWriter(source, bigtiff=big, byteorder=">" if big else "<") as file:
            for pixels, options in kinds:
                file.write(pixels, metadata=None, resolution=(300, 200), **options)
        before, after, _ = copied(source)
        same(before, after)
        assert [page.mask for page in after] == [False, False, False, True, False]
        with tifffile.TiffFile(source) as one, tifffile.TiffFile(tmp_path / "copy-x.tif") as other:
            assert other.is_bigtiff == big
            for a, b in zip(one.pages, other.pages, strict=True):
                np.testing.assert_array_equal(a.asarray(), b.asarray())
                for name in ("compression", "predictor", "tile", "rowsperstrip", "description", "software",
                             "subfiletype", "resolution"):  # fmt: skip
                    assert getattr(a, name) == getattr(b, name), name


def test_a_tiff_of_one_page_keeps_its_rows_per_strip(tmp_path: Path) -> None:
    for rows, dtype in ((5, np.uint8), (40, np.uint16), (3, np.float16), (11, np.float64)):
        tifffile.imwrite(tmp_path / "x.tif", np.ones((40, 9), dtype), rowsperstrip=rows, metadata=None)
        copied(tmp_path / "x.tif")
        with tifffile.TiffFile(tmp_path / "copy-x.tif") as judge:
            assert (judge.pages[0].rowsperstrip, judge.pages[0].compression) == (rows, 1)


@pytest.mark.parametrize("rows", [1, 3, 15, 33])
@pytest.mark.parametrize("pages", [1, 2])
def test_the_last_strip_of_a_tiff_is_written(rows: int, pages: int, tmp_path: Path) -> None:
    """libvips 8.18 leaves it out if it is of one row and the others of an odd number."""
    for height in (rows + 1, 2 * rows + 1, 3 * rows + 1, 3 * rows + 2):
        pixels = RNG.integers(1, 256, (pages, height, 9, 3), dtype=np.uint8)
        tifffile.imwrite(tmp_path / "x.tif", pixels, rowsperstrip=rows, photometric="rgb", metadata=None)
        before, after, _ = copied(tmp_path / "x.tif")
        same(before, after)
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "copy-x.tif").reshape(pixels.shape), pixels)


def test_a_tiff_that_lost_a_strip_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.tif").write_bytes(b"of before")
    monkeypatch.setattr(tiff, "save_options", lambda *_: {"compression": "none", "keep": "none", "tile_height": 3})
    with pytest.raises(PictureError, match=r"x\.tif: libvips left out a part of this TIFF"):
        write(tmp_path / "x.tif", Picture(np.ones((7, 9), np.uint8)), overwrite=True)
    assert (tmp_path / "x.tif").read_bytes() == b"of before"


def test_the_levels_of_a_pyramid_stay_sub_images(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (256, 192, 3), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "x.ome.tif") as file:
        options = {"photometric": "rgb", "tile": (64, 64)}
        for _ in range(2):
            file.write(pixels, subifds=2, metadata={"axes": "YXS"}, **options)
            file.write(pixels[::2, ::2], subfiletype=1, **options)
            file.write(pixels[::4, ::4], subfiletype=1, **options)
    before, after, _ = copied(tmp_path / "x.ome.tif")
    assert len(before) == 6
    same(before, after)
    with tifffile.TiffFile(tmp_path / "copy-x.ome.tif") as judge:
        assert [level.shape[:2] for level in judge.series[1].levels] == [(256, 192), (128, 96), (64, 48)]
        np.testing.assert_array_equal(judge.series[0].levels[1].asarray(), pixels[::2, ::2])


@pytest.mark.parametrize("order", ["<", ">"])
def test_imagej_keeps_its_axes_unit_labels_and_every_plane(order: Any, tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "x.tif", RNG.integers(0, 999, (2, 5, 3, 40, 60), dtype=np.uint16), imagej=True, byteorder=order,
        resolution=(1 / 0.3, 1 / 0.3),
        metadata={"axes": "TZCYX", "spacing": 0.5, "unit": "um", "Info": "µ", "Labels": ["a", "b"] * 15,
                  "Ranges": (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)},
    )  # fmt: skip
    copied(tmp_path / "x.tif")
    with tifffile.TiffFile(tmp_path / "x.tif") as one, tifffile.TiffFile(tmp_path / "copy-x.tif") as other:
        np.testing.assert_array_equal(one.asarray(), other.asarray())
        assert one.imagej_metadata == other.imagej_metadata
        assert other.series[0].axes == "TZCYX"
        assert other.series[0].dataoffset is not None  # the planes lie one behind the other, as ImageJ reads them
        assert one.pages[0].resolution == other.pages[0].resolution


@pytest.mark.parametrize("order", ["<", ">"])
def test_planes_that_share_one_directory_are_all_there(order: str, tmp_path: Path) -> None:
    planes = RNG.integers(0, 999, (5, 41, 61), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", planes, imagej=True, byteorder=order)
    data = bytearray((tmp_path / "x.tif").read_bytes())
    (at,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, at)
    struct.pack_into(order + "I", data, at + 2 + 12 * entries, 0)  # what ImageJ itself writes beyond 4 GB
    (tmp_path / "x.tif").write_bytes(data)
    assert len(directories(bytes(data), limit=9)[0]) == 1
    _, after, _ = copied(tmp_path / "x.tif")
    np.testing.assert_array_equal([page.pixels for page in after], planes)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "copy-x.tif"), planes)
    (tmp_path / "x.tif").write_bytes(data[: len(data) // 2])
    with pytest.raises(PictureError, match="x"):
        list(read_pages(tmp_path / "x.tif"))


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (32, 32)}, {"bigtiff": True}])
def test_ome_keeps_its_xml_and_pixel_size(options: dict[str, Any], tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "x.ome.tif", RNG.integers(0, 4096, (3, 2, 40, 60), dtype=np.uint16), ome=True,
        metadata={"axes": "ZCYX", "PhysicalSizeX": 0.3, "SignificantBits": 12}, **options,
    )  # fmt: skip
    copied(tmp_path / "x.ome.tif")
    with tifffile.TiffFile(tmp_path / "x.ome.tif") as one, tifffile.TiffFile(tmp_path / "copy-x.ome.tif") as other:
        assert one.ome_metadata == other.ome_metadata
        assert other.series[0].axes == "ZCYX"
        np.testing.assert_array_equal(one.asarray(), other.asarray())


def test_ome_that_names_its_own_file_names_the_new_one(tmp_path: Path) -> None:
    text = b'<?xml version="1.0"?><OME><TiffData><UUID FileName="x.ome.tif">urn:uuid:1</UUID></TiffData></OME>'
    tifffile.imwrite(tmp_path / "x.ome.tif", np.zeros((8, 8), np.uint8), description=text, metadata=None)
    copied(tmp_path / "x.ome.tif")
    with tifffile.TiffFile(tmp_path / "copy-x.ome.tif") as judge:
        assert judge.pages[0].description == text.decode().replace('"x.ome', '"copy-x.ome')


def test_netpbm_files_may_follow_on_one_another(tmp_path: Path) -> None:
    (tmp_path / "x.pgm").write_bytes(b"P5 2 2 255\nabcdP6 1 1 65535\nuvwxyzP4 9 1\n\xff\x80")
    copied(tmp_path / "x.pgm")
    assert (tmp_path / "copy-x.pgm").read_bytes() == b"P5\n2 2\n255\nabcdP6\n1 1\n65535\nuvwxyzP4\n9 1\n\xff\x80"
    with pytest.raises(PictureError, match="several"):
        read(tmp_path / "x.pgm")


# Frames


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("name", ["gif", "webp", "png"])
def test_animations_keep_every_frame_its_duration_and_the_loop(name: str, alpha: bool, tmp_path: Path) -> None:
    source = tmp_path / f"x.{name}"
    first, *rest = frames(alpha)
    exact = {"webp": {"lossless": True, "exact": True}, "gif": {"disposal": 2}}.get(name, {})
    first.save(source, save_all=True, append_images=rest, duration=DURATIONS, loop=3, **exact)
    before, after, pages = copied(source)
    same(before, after)
    assert pages.frames
    assert pages.loops == (4 if name == "gif" else 3)  # a GIF counts repetitions
    assert [frame.duration for frame in after] == DURATIONS
    for shown, original in zip(seen(tmp_path / f"copy-x.{name}"), (first, *rest), strict=True):
        wanted = np.asarray(original.convert("RGBA"))
        np.testing.assert_array_equal(shown[..., 3], wanted[..., 3])
        np.testing.assert_array_equal(shown[shown[..., 3] > 0], wanted[wanted[..., 3] > 0])


def test_planes_behind_one_directory_of_tifffile_are_all_read_and_written(tmp_path: Path) -> None:
    stack = RNG.integers(0, 255, (5, 40, 64), np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", stack, truncate=True, photometric="minisblack")
    pages = read_pages(tmp_path / "x.tif")
    assert len(pages) == 5
    write_pages(tmp_path / "y.tif", pages, pages)
    with tifffile.TiffFile(tmp_path / "y.tif") as written:
        assert len(written.pages) == 5
        np.testing.assert_array_equal(written.asarray(), stack)


def test_colour_planes_behind_one_directory_are_refused(tmp_path: Path) -> None:
    stack = np.zeros((4, 3, 40, 64), np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", stack, photometric="rgb", planarconfig="separate", truncate=True)
    with pytest.raises(PictureError, match="a stack of 4 pictures in colour planes with one directory"):
        read_pages(tmp_path / "x.tif")


@pytest.mark.parametrize("order", "<>")
def test_alpha_that_is_multiplied_into_several_pages_stays_so(tmp_path: Path, order: Any) -> None:
    stack = RNG.integers(0, 200, (3, 40, 64, 4), np.uint8)
    stack[..., :3] = np.minimum(stack[..., :3], stack[..., 3:])
    kind: Any = {"photometric": "rgb", "extrasamples": ["assocalpha"], "metadata": None}
    tifffile.imwrite(tmp_path / "x.tif", stack, byteorder=order, **kind)
    pages = read_pages(tmp_path / "x.tif")
    write_pages(tmp_path / "y.tif", pages, pages)
    for name in ("x.tif", "y.tif"):
        for page, wanted in zip(read_pages(tmp_path / name), stack, strict=True):
            np.testing.assert_array_equal(page.pixels, wanted)


@pytest.mark.parametrize("kind", ["a volume of 16 slices", "a MetaMorph stack of 3 planes"])
def test_planes_of_other_programs_behind_one_directory_are_refused(tmp_path: Path, kind: str) -> None:
    if "volume" in kind:
        volume = np.zeros((16, 64, 64), np.uint8)
        tifffile.imwrite(tmp_path / "x.tif", volume, volumetric=True, tile=(16, 16, 16), photometric="minisblack")
    else:
        planes = [(33629, 5, 3, (1, 1) * 3, True)]
        tifffile.imwrite(tmp_path / "x.tif", np.zeros((64, 64), np.uint8), extratags=planes, metadata=None)
    with pytest.raises(PictureError, match=f"{kind} behind one directory"):
        read_pages(tmp_path / "x.tif")


def test_an_avif_sequence_keeps_its_frames_and_durations(tmp_path: Path) -> None:
    first, *rest = frames()
    first.save(tmp_path / "x.avif", save_all=True, append_images=rest, duration=DURATIONS, quality=95)
    before, after, _ = copied(tmp_path / "x.avif")
    assert [frame.duration for frame in after] == [frame.duration for frame in before] == DURATIONS
    errors = [np.abs(a.pixels.astype(int) - b.pixels).mean() for a, b in zip(before, after, strict=True)]
    assert max(errors) < 12  # hard edges at quality 90


@pytest.mark.parametrize(("orientation", "turn"), [(3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_270)])
def test_a_turned_animation_is_turned_upright_for_avif(tmp_path: Path, orientation: int, turn: Image.Transpose) -> None:
    slope = Image.linear_gradient("L").resize((40, 30))
    first, second = (Image.merge("RGB", (slope, gray, slope)) for gray in (slope, slope.point(lambda v: 255 - v)))
    exif = Image.Exif()
    exif[274] = orientation
    first.save(tmp_path / "x.webp", save_all=True, append_images=[second], duration=80, lossless=True, exif=exif)
    pages = read_pages(tmp_path / "x.webp")
    write_pages(tmp_path / "x.avif", pages, pages)
    with Image.open(tmp_path / "x.avif") as image:
        assert (image.n_frames, image.getexif().get(274, 1)) == (2, 1)
        shown = np.asarray(image.convert("RGB"), int)
    wanted = np.asarray(first.transpose(turn))
    assert shown.shape == wanted.shape
    assert np.abs(shown - wanted).mean() < 4


def test_an_animated_png_of_sixteen_bits_is_composed_in_sixteen_bits(tmp_path: Path) -> None:
    """Checked against a composition done by hand: partial frames, both blendings, all three disposals."""
    whole, part = (RNG.integers(0, 65_536, (6, 8, 4), dtype=np.uint16), RNG.integers(0, 65_536, (2, 3, 4), np.uint16))
    part[0, 0, 3], part[0, 1, 3] = 0, 65_535

    def pixels(array: np.ndarray) -> bytes:
        return b"".join(content for name, content in png.split(png.write(Picture(array))) if name == b"IDAT")

    def control(number: int, array: np.ndarray, left: int, top: int, disposal: int, blending: int) -> png.Chunk:
        size = (array.shape[1], array.shape[0])
        return b"fcTL", struct.pack(">IIIIIHHBB", number, *size, left, top, 1, 30, disposal, blending)

    chunks = [png.split(png.write(Picture(whole)))[0], (b"acTL", struct.pack(">II", 4, 2)), (b"tEXt", b"Title\0quiet"),
              control(0, whole, 0, 0, 0, 0), (b"IDAT", pixels(whole)),
              control(1, part, 2, 1, 2, 1), (b"fdAT", struct.pack(">I", 2) + pixels(part)),
              control(3, part, 5, 4, 1, 0), (b"fdAT", struct.pack(">I", 4) + pixels(part)),
              control(5, part, 0, 0, 0, 0), (b"fdAT", struct.pack(">I", 6) + pixels(part)), (b"IEND", b"")]  # fmt: skip
    (tmp_path / "x.png").write_bytes(png.join(chunks))
    before, after, pages = copied(tmp_path / "x.png")
    same(before, after)
    assert (pages.loops, before[0].coding.delay, after[3].coding.delay) == (2, (1, 30), (1, 30))
    assert (b"tEXt", b"Title\0quiet") in png.split((tmp_path / "copy-x.png").read_bytes())
    np.testing.assert_array_equal(before[0].pixels, whole)
    a, b = (pixels[..., 3:] / 65_535 for pixels in (part, whole[1:3, 2:5]))
    alpha = a + b * (1 - a)
    blended = (part[..., :3] * a + whole[1:3, 2:5, :3] * b * (1 - a)) / alpha
    np.testing.assert_allclose(before[1].pixels[1:3, 2:5, :3], blended, atol=1)
    third = whole.copy()
    third[4:6, 5:8] = part
    np.testing.assert_array_equal(before[2].pixels, third)
    third[4:6, 5:8], third[:2, :3] = 0, part
    np.testing.assert_array_equal(before[3].pixels, third)


def test_the_still_picture_of_an_animated_png_is_no_frame(tmp_path: Path) -> None:
    first, *rest = frames()
    first.save(tmp_path / "x.png", save_all=True, append_images=rest, duration=100, default_image=True)
    before, after, _ = copied(tmp_path / "x.png")
    same(before, after)
    assert [frame.duration for frame in after] == [None, 100, 100, 100, 100]
    pages = read_pages(tmp_path / "x.png")
    write_pages(tmp_path / "y.gif", pages, pages)
    assert len(read_pages(tmp_path / "y.gif")) == 4


@pytest.mark.parametrize(("source", "target"), [("gif", "webp"), ("gif", "png"), ("png", "gif"), ("webp", "tif")])
def test_animations_travel_to_other_formats(source: str, target: str, tmp_path: Path) -> None:
    first, *rest = frames()
    exact = {"lossless": True} if source == "webp" else {}
    first.save(tmp_path / f"x.{source}", save_all=True, append_images=rest, duration=DURATIONS, loop=0, **exact)
    _, after, pages = copied(tmp_path / f"x.{source}", tmp_path / f"y.{target}")
    assert pages.loops == 0
    if target != "tif":
        assert [frame.duration for frame in after] == DURATIONS


def test_what_would_lose_pages_or_make_them_move_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((3, 8, 8), np.uint8), photometric="minisblack")
    pages = read_pages(tmp_path / "x.tif")
    for name, words in (("y.jpg", "3 pages; JPEG holds one"), ("y.png", "as an animation"), ("y.npy", "holds one")):
        with pytest.raises(PictureError, match=words):
            write_pages(tmp_path / name, pages, pages)
    assert [path.name for path in tmp_path.iterdir()] == ["x.tif"]


def test_an_error_on_the_way_names_its_file_and_leaves_nothing(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for dtype in (np.uint8, np.uint8, np.int32):
            file.write(np.zeros((8, 8), dtype), metadata=None)
    pages = read_pages(tmp_path / "x.tif")
    with pytest.raises(PictureError, match=r"^\S*x\.tif: TIFF samples of 32 signed") as caught:
        write_pages(tmp_path / "y.tif", pages, pages)
    assert "\n" not in str(caught.value)

    def stopped() -> Iterator[Picture]:
        yield next(iter(pages))
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        write_pages(tmp_path / "y.tif", stopped(), pages)
    assert [path.name for path in tmp_path.iterdir()] == ["x.tif"]


def test_cut_animations_are_refused_in_one_line(tmp_path: Path) -> None:
    first, *rest = frames()
    for name in ("gif", "webp", "png", "tif"):
        path = tmp_path / f"x.{name}"
        first.save(path, save_all=True, append_images=rest)
        data = path.read_bytes()
        for share in (0.3, 0.6, 0.95):
            path.write_bytes(data[: int(len(data) * share)])
            with pytest.raises(PictureError) as caught:
                list(read_pages(path))
            assert str(caught.value).startswith(f"{path}: ")
            assert "\n" not in str(caught.value)


def test_every_format_of_one_picture_is_read_as_one_page(tmp_path: Path) -> None:
    for name, entry in FORMATS.items():
        if name in ("heif", "raw"):  # extras
            continue
        dtype, kinds = next(iter(entry.holds.items()))
        pixels = np.zeros((5, 4, 3) if kinds[0] == "RGB" else (5, 4), dtype)
        path = tmp_path / f"x{entry.suffixes[0]}"
        path.write_bytes(entry.write(Picture(pixels)))
        pages = read_pages(path)
        assert (len(pages), pages.frames, pages.format) == (1, False, name)
        assert next(iter(pages)).size == (5, 4)


def test_the_odd_stacks_come_back(tmp_path: Path) -> None:
    for name in ("multipage.tiff", "dispose_none.gif"):
        before, after, _ = copied(shared_data("formats", name), tmp_path / name)
        assert len(before) > 1
        same(before, after)
