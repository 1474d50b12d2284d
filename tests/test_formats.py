"""What single formats carry beside their pixels: previews, trailers, qualities, colours in numbers."""

from __future__ import annotations

import io
import os
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from conftest import HERE
from hush.imaging.files import Metadata, Pages, Picture, read, read_pages, write, write_pages
from hush.imaging.finding import named_by_content, written
from hush.imaging.formats import avif, colour, jpeg, png, previews, recognise, webp
from hush.imaging.formats.boxes import coded_parts
from hush.imaging.formats.codecs import silenced, vips_image
from hush.imaging.formats.conversion import converted
from hush.imaging.formats.pillow import PillowCoding
from hush.imaging.formats.quantisers import av1_quantiser
from hush.imaging.formats.tags import directories

RNG = np.random.default_rng(0)
NOISY = np.clip(RNG.normal(128, 60, (240, 320, 3)), 0, 255).astype(np.uint8)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
CALM = np.broadcast_to(np.uint8([200, 100, 50]), NOISY.shape).copy()


def encoded(pixels: np.ndarray, kind: str = "jpeg", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def exif_with_thumbnail(order: str, thumbnail: bytes) -> bytes:
    """Return EXIF of a camera's name and a thumbnail, written by hand."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    first = struct.pack(order + "HHHI4sI", 1, 0x010F, 2, 4, b"Cam\0", 26)
    at = 26 + 2 + 3 * 12 + 4
    second = struct.pack(order + "H", 3) + b"".join(
        struct.pack(order + "HHI", number, 3 if number == 259 else 4, 1)
        + (struct.pack(order + "HH", value, 0) if number == 259 else struct.pack(order + "I", value))
        for number, value in ((259, 6), (513, at), (514, len(thumbnail)))
    )
    return head + first + second + bytes(4) + thumbnail + b"maker notes behind it"


def thumbnail_of(exif: bytes) -> np.ndarray | None:
    pages, _ = directories(exif, limit=2)
    if len(pages) < 2:
        return None
    (at,), (length,) = pages[1][513].integers(), pages[1][514].integers()
    return np.asarray(Image.open(io.BytesIO(exif[at : at + length])).convert("RGB"))


# Previews


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", ["jpg", "png", "webp", "avif"])
def test_the_thumbnail_shows_the_restored_picture_and_nothing_moves(name: str, order: str, tmp_path: Path) -> None:
    exif = exif_with_thumbnail(order, encoded(np.asarray(Image.fromarray(NOISY).resize((160, 120)))))
    source = Picture(NOISY, metadata=Metadata(exif=exif))
    picture = read(write(tmp_path / f"x.{name}", source))
    written = read(write(tmp_path / f"y.{name}", replace(picture, pixels=CALM))).metadata.exif
    assert written is not None
    shown = thumbnail_of(written)
    assert shown is not None
    assert shown.shape == (120, 160, 3)
    assert np.abs(shown.astype(int) - [200, 100, 50]).max() < 6
    if name != "avif":  # Pillow writes this one's anew
        assert len(written) == len(exif)
        assert written.endswith(b"maker notes behind it")
        assert written[:26] == exif[:26]


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt"])
@pytest.mark.parametrize("keyword", png.EXIF_KEYWORDS)
def test_exif_in_a_text_of_png_travels_and_its_thumbnail_is_made_anew(
    keyword: bytes, kind: bytes, tmp_path: Path
) -> None:
    exif = exif_with_thumbnail("<", encoded(np.asarray(Image.fromarray(NOISY).resize((160, 120)))))
    profile = b"Exif\0\0" + exif
    text = b"\nexif\n%8d\n%s\n" % (len(profile), profile.hex("\n", -36).encode())  # as ImageMagick writes it
    content = keyword + b"\0" + (b"\0" + zlib.compress(text) if kind == b"zTXt" else text)
    header, *rest = png.split(png.write(Picture(NOISY)))
    (tmp_path / "x.png").write_bytes(png.join([header, (kind, content), *rest, (b"IEND", b"")]))
    picture = read(tmp_path / "x.png")
    assert picture.metadata.exif == exif
    assert (kind, content) not in png.split(write(tmp_path / "y.png", replace(picture, pixels=CALM)).read_bytes())
    for name in ("y.png", "y.jpg"):
        written = read(write(tmp_path / name, replace(picture, pixels=CALM), overwrite=True)).metadata.exif
        assert written is not None
        assert len(written) == len(exif)
        shown = thumbnail_of(written)
        assert shown is not None
        assert np.abs(shown.astype(int) - [200, 100, 50]).max() < 6
    if keyword.endswith(b"exif"):  # Pillow knows no other
        with Image.open(tmp_path / "y.png") as judge:
            assert judge.getexif()[0x010F] == "Cam"


def test_a_thumbnail_that_cannot_be_made_anew_is_dropped_and_blanked() -> None:
    small = exif_with_thumbnail("<", b"\xff\xd8 no picture")
    tight = exif_with_thumbnail("<", encoded(np.zeros((120, 160, 3), np.uint8), quality=1))
    for exif, pixels in ((small, CALM), (tight, NOISY), (tight, NOISY.astype(np.float32) / 255)):
        fresh = previews.refreshed(exif, Picture(pixels))
        assert fresh is not None
        assert thumbnail_of(fresh) is None
        assert len(fresh) == len(exif)
    assert b"no picture" not in (previews.refreshed(small, Picture(CALM)) or b"")
    for odd in (b"", b"II*\0", b"II*\0\xff\xff\0\0", small[:30], b"no exif at all"):
        assert previews.refreshed(odd, Picture(CALM)) is not None


def test_a_thumbnail_keeps_the_bars_of_its_camera() -> None:
    exif = exif_with_thumbnail("<", encoded(np.asarray(Image.fromarray(NOISY).resize((160, 120)))))
    wide = previews.refreshed(exif, Picture(CALM[:160]))
    shown = thumbnail_of(wide or b"")
    assert shown is not None
    assert shown[:10].max() < 30 < shown[60].min()


def test_previews_of_photoshop_jfif_and_xmp_go(tmp_path: Path) -> None:
    def resource(number: int, content: bytes) -> bytes:
        return b"8BIM" + struct.pack(">HHI", number, 0, len(content)) + content + bytes(len(content) % 2)

    iptc, preview = resource(1028, b"\x1c\x02x"), resource(1036, b"preview bytes")
    xmp = b"<x:xmpmeta><xmp:Thumbnails><rdf:Alt>stale</rdf:Alt></xmp:Thumbnails><dc:title/></x:xmpmeta>"
    assert previews.without_previews(iptc + preview + iptc) == iptc + iptc
    data = encoded(NOISY)
    segments, at = jpeg.split(data)
    jfif = segments[0][1][:12] + b"\1\1RGB"
    extra = [(0xE0, jfif), (0xE0, b"JFXX\0\x13stale"), (0xED, jpeg.PHOTOSHOP + iptc + preview), (0xE1, jpeg.XMP + xmp)]
    (tmp_path / "x.jpg").write_bytes(jpeg.join([*extra, *segments[1:]]) + data[at:])
    picture = read(tmp_path / "x.jpg")
    assert picture.metadata.photoshop == iptc
    written = write(tmp_path / "y.jpg", picture).read_bytes()
    for gone in (b"stale", b"preview bytes", b"JFXX"):
        assert gone not in written
    assert b"<dc:title/>" in written
    target = write(tmp_path / "y.tif", picture)
    assert read(target).metadata.photoshop == iptc


# JPEG


@pytest.mark.parametrize("jfif", [True, False])
def test_colours_that_a_jpeg_stores_are_those_that_decoders_see(jfif: bool, tmp_path: Path) -> None:
    """Where JFIF and Adobe's segment disagree, libjpeg believes JFIF: what is written must look the same."""
    data = encoded(CALM, keep_rgb=True, quality=95)
    segments, at = jpeg.split(data)
    kept = [segment for segment in segments if jfif or not segment[1].startswith(b"JFIF\0")]
    first = (0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
    kept = [first, *(s for s in kept if not s[1].startswith(b"JFIF\0"))] if jfif else kept
    (tmp_path / "x.jpg").write_bytes(jpeg.join(kept) + data[at:])
    picture = read(tmp_path / "x.jpg")
    write(tmp_path / "y.jpg", picture)
    seen = [np.asarray(Image.open(tmp_path / name).convert("RGB"), float) for name in ("x.jpg", "y.jpg")]
    assert np.abs(seen[0] - picture.pixels).max() <= 1
    assert np.abs(seen[1] - seen[0]).max() <= 3


def with_index(data: bytes, order: str, kinds: tuple[int, ...], sizes: tuple[int, ...]) -> bytes:
    """Put an index of several pictures (CIPA DC-007) into a JPEG; the others are to follow on it."""
    segments, at = jpeg.split(data)

    def put(places: list[int], length: int) -> bytes:
        head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
        head += struct.pack(order + "H", 3) + struct.pack(order + "HHI4s", 0xB000, 7, 4, b"0100")
        head += struct.pack(order + "HHII", 0xB001, 4, 1, len(sizes) + 1)
        head += struct.pack(order + "HHIII", 0xB002, 7, 16 * (len(sizes) + 1), 50, 0)
        entries = zip((0x20030000, *kinds), (length, *sizes), (0, *places), strict=True)
        index = jpeg.MULTI_PICTURE + head + b"".join(struct.pack(order + "IIII", *entry, 0) for entry in entries)
        return jpeg.join([segments[0], (0xE2, index), *segments[1:]]) + data[at:]

    first = put([0] * len(sizes), 0)
    origin = first.index(jpeg.MULTI_PICTURE) + 4
    return put([len(first) - origin + sum(sizes[:i]) for i in range(len(sizes))], len(first))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("progressive", [False, True])
def test_what_follows_a_jpeg_stays_and_its_index_points_there(order: str, progressive: bool, tmp_path: Path) -> None:
    """A gain map behind the picture, as in Ultra HDR, and a video behind that, as in motion photos."""
    gain_map, video = encoded(CALM[:60, :80]), b"\0\0\0\x18ftypmp42" + bytes(99)
    primary = with_index(encoded(NOISY, quality=60, progressive=progressive), order, (0,), (len(gain_map),))
    (tmp_path / "x.jpg").write_bytes(primary + gain_map + video)
    picture = read(tmp_path / "x.jpg")
    target = write(tmp_path / "y.jpg", replace(picture, pixels=CALM))
    written = target.read_bytes()
    assert len(written) < len(primary)
    assert written.endswith(gain_map + video)
    for path in (tmp_path / "x.jpg", target):
        with Image.open(path) as judge:
            assert (judge.format, judge.n_frames) == ("MPO", 2)
            judge.seek(1)
            assert judge.size == (80, 60)
            assert np.abs(np.asarray(judge).astype(int) - [200, 100, 50]).max() < 4
    again = read(target).coding
    assert replace(again, segments=()) == replace(picture.coding, segments=())
    assert b"ftyp" not in write(tmp_path / "z.png", picture).read_bytes()


def test_large_previews_behind_a_jpeg_are_dropped_with_their_index(tmp_path: Path) -> None:
    preview = encoded(NOISY)
    (tmp_path / "x.jpg").write_bytes(with_index(preview, "<", (0x010002,), (len(preview),)) + preview)
    written = write(tmp_path / "y.jpg", read(tmp_path / "x.jpg")).read_bytes()
    assert jpeg.MULTI_PICTURE not in written
    assert written.count(b"\xff\xd8\xff") == 1


@pytest.mark.parametrize("blocks", [1, 7, 40])
def test_restart_intervals_stay(blocks: int, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(encoded(NOISY, restart_marker_blocks=blocks))
    picture = read(tmp_path / "x.jpg")
    assert picture.coding.restart == blocks
    assert picture.coding.trailer == b""
    assert read(write(tmp_path / "y.jpg", picture)).coding == picture.coding


# AVIF, WebP, BMP


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("channels", [3, 4])
def test_avif_of_ten_and_twelve_bits_stays_so(bits: int, channels: int, tmp_path: Path) -> None:
    rows, columns = np.mgrid[0:64, 0:96]
    pixels = np.stack([rows * 300 + columns * (100 + 90 * i) for i in range(channels)], axis=2).astype(np.uint16)
    exif = exif_with_thumbnail("<", encoded(CALM[:8, :8]))
    said = Metadata(icc=PROFILE, exif=exif, xmp=b"<x/>")
    source = Picture(pixels, format="avif", metadata=said, coding=PillowCoding("avif", subsampling="4:4:4", bits=bits))
    picture = read(write(tmp_path / "x.avif", source))
    again = read(write(tmp_path / "y.avif", picture))
    for one in (picture, again):
        assert (one.kind, one.pixels.dtype, one.size) == (source.kind, np.uint16, (64, 96))
        assert np.abs(one.pixels.astype(int) - pixels).mean() < 200
        assert (one.metadata.icc, one.metadata.xmp, one.coding.bits) == (PROFILE, b"<x/>", bits)
        assert directories(one.metadata.exif or b"")[0][0][0x010F].value == b"Cam\0"
    assert again.coding == picture.coding


def test_an_avif_that_states_wide_gamut_in_numbers_hands_on_a_profile(tmp_path: Path) -> None:
    data = encoded(NOISY, "avif")
    at = data.index(b"colrnclx") + 8
    (tmp_path / "x.avif").write_bytes(data[:at] + struct.pack(">HH", 12, 13) + data[at + 4 :])
    picture = read(tmp_path / "x.avif")
    assert picture.metadata.icc == colour.profile(colour.PRIMARIES[12], colour.CURVES[13], signal=bytes([12, 13, 0, 1]))
    assert read(write(tmp_path / "y.avif", picture)).metadata.icc == picture.metadata.icc


@pytest.mark.parametrize("method", [0, 4])
@pytest.mark.parametrize("quality", [5, 30, 60, 75, 90, 100])
def test_the_quality_of_a_webp_is_found_or_a_better_one(quality: int, method: int, tmp_path: Path) -> None:
    (tmp_path / "x.webp").write_bytes(encoded(NOISY, "webp", quality=quality, method=method))
    found = read(tmp_path / "x.webp").coding.quality
    assert quality <= found
    assert found <= quality + 45
    assert webp.estimate_quality(b"cut") == webp.QUALITY


@pytest.mark.parametrize("quality", [1, 10, 33, 50, 62, 75, 90, 97, 100])
@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
def test_an_avif_is_written_as_finely_as_it_was(quality: int, subsampling: str, tmp_path: Path) -> None:
    source, target = tmp_path / "x.avif", tmp_path / "y.avif"
    source.write_bytes(encoded(NOISY, "avif", quality=quality, subsampling=subsampling))
    picture = read(source)
    assert quality - 1 <= picture.coding.quality <= quality
    write(target, picture)
    assert quantiser(target) <= quantiser(source)


def quantiser(path: Path) -> int:
    """Return AV1's step, 0 to 255."""
    (part,) = coded_parts(path.read_bytes())
    found = av1_quantiser(part.data)
    assert found is not None
    return found


def test_a_deep_avif_is_written_as_finely_as_it_was(tmp_path: Path) -> None:
    source, target = tmp_path / "x.avif", tmp_path / "y.avif"
    source.write_bytes(vips_image(NOISY[:64, :64]).heifsave_buffer(compression="av1", bitdepth=10, Q=71, effort=3))
    write(target, read(source))
    assert 0 < quantiser(target) <= quantiser(source)


@pytest.mark.parametrize("tiles", [{"tile_rows": 1, "tile_cols": 1}, {"tile_rows": 2, "tile_cols": 0}])
def test_the_header_of_a_picture_in_av1_is_read_past_its_tiles(tiles: dict[str, int], tmp_path: Path) -> None:
    large = np.tile(NOISY, (4, 4, 1))
    options = {"quality": 50, "speed": 10, "autotiling": False, **tiles}
    (tmp_path / "x.avif").write_bytes(encoded(large, "avif", **options))
    (tmp_path / "y.avif").write_bytes(encoded(NOISY, "avif", quality=50))
    assert quantiser(tmp_path / "x.avif") == quantiser(tmp_path / "y.avif")


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


@pytest.mark.parametrize("place", ["mdat", "idat"])
def test_the_tiles_of_a_grid_are_found(place: str) -> None:
    """As telephones write them: the picture that is shown is a grid, and holds no bytes of AV1 itself."""
    coded = [coded_parts(encoded(NOISY, "avif", quality=q))[0] for q in (50, 80)]
    kinds = [b"grid", b"av01", b"av01"]
    infos = [box(b"infe", struct.pack(">IHH4sB", 2 << 24, i + 1, 0, kind, 0)) for i, kind in enumerate(kinds)]
    content = bytes(8) + b"".join(part.data for part in coded)
    begins = [0, 8, 8 + len(coded[0].data), len(content)]

    def meta(start: int) -> bytes:
        places = b"".join(
            struct.pack(">HHHHII", i + 1, place == "idat", 0, 1, start + begins[i], begins[i + 1] - begins[i])
            for i in range(3)
        )
        parts = box(b"pitm", struct.pack(">IH", 0, 1)) + box(b"iinf", struct.pack(">IH", 0, 3) + b"".join(infos))
        parts += box(b"iloc", struct.pack(">IBBH", 1 << 24, 0x44, 0, 3) + places)
        parts += box(b"iref", bytes(4) + box(b"dimg", struct.pack(">HHHH", 1, 2, 2, 3)))
        whose = struct.pack(">II", 0, 2) + b"".join(struct.pack(">HBB", i, 1, 0x81) for i in (2, 3))
        parts += box(b"iprp", box(b"ipco", box(b"av1C", coded[0].config)) + box(b"ipma", whose))
        return box(b"meta", bytes(4) + parts + (box(b"idat", content) if place == "idat" else b""))

    head = box(b"ftyp", b"avif\0\0\0\0mif1")
    start = 0 if place == "idat" else len(head) + len(meta(0)) + 8
    data = head + meta(start) + (box(b"mdat", content) if place == "mdat" else b"")
    assert [part.data for part in coded_parts(data)] == [part.data for part in coded]
    assert avif.quality_of(data) == 80  # the finest counts


def test_places_without_end_are_not_followed() -> None:
    """Each of 65,535 items announces as many places, in no more bytes than a small file has."""
    data = bytearray(encoded(NOISY, "avif", quality=50))
    at = data.index(b"iloc") + 4
    for sizes in (b"\x44\0", b"\0\0", b"\x10\0"):
        data[at + 4 : at + 8] = sizes + b"\xff\xff"
        data[at + 8 : at + 60] = b"\xff" * 52
        assert coded_parts(bytes(data)) == []  # at once


def test_boxes_that_lead_nowhere_leave_the_quality_unknown(tmp_path: Path) -> None:
    data = encoded(NOISY, "avif", quality=50)
    for name in (b"iloc", b"pitm", b"iinf", b"ipma", b"av01"):
        broken = data.replace(name, b"what", 1)
        assert coded_parts(broken) == []
        assert avif.quality_of(broken) == avif.QUALITY
    for cut in range(0, len(data), 37):
        assert 1 <= avif.quality_of(data[:cut]) <= 100


def test_a_bmp_keeps_its_alpha(tmp_path: Path) -> None:
    pixels = np.dstack([NOISY, NOISY[..., 0]])
    target = write(tmp_path / "x.bmp", Picture(pixels, metadata=Metadata(dpi=(300.0, 300.0))))
    with Image.open(target) as judge:
        np.testing.assert_array_equal(np.asarray(judge.convert("RGBA")), pixels)
        assert judge.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    picture = read(target)
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert write(tmp_path / "y.bmp", picture).read_bytes() == target.read_bytes()


# Colours in numbers

P3 = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
SRGB = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)


def described(pixels: np.ndarray, *chunks: png.Chunk) -> bytes:
    header, *rest = png.split(png.write(Picture(pixels)))
    return png.join([header, *chunks, *rest, (b"IEND", b"")])


@pytest.mark.parametrize(
    ("chunks", "known"),
    [
        ([(b"gAMA", struct.pack(">I", 45455)), (b"cHRM", P3)], True),
        ([(b"gAMA", struct.pack(">I", 100_000))], True),
        ([(b"cICP", bytes([12, 13, 0, 1]))], True),
        ([(b"cICP", bytes([9, 16, 0, 1]))], True),
        ([(b"gAMA", struct.pack(">I", 45455)), (b"cHRM", SRGB)], False),
        ([(b"gAMA", struct.pack(">I", 100_000)), (b"sRGB", b"\0")], False),
        ([(b"cICP", bytes([1, 13, 0, 1]))], False),
        ([], False),
    ],
)
def test_a_png_that_states_its_colours_in_numbers_hands_on_a_profile(
    chunks: list[png.Chunk], known: bool, tmp_path: Path
) -> None:
    for pixels in (NOISY, NOISY[..., 0]):
        (tmp_path / "x.png").write_bytes(described(pixels, *chunks))
        picture = read(tmp_path / "x.png")
        assert (picture.metadata.icc is not None) == known
        assert png.split(write(tmp_path / "y.png", picture, overwrite=True).read_bytes())[1 : 1 + len(chunks)] == chunks
        target = write(tmp_path / "y.tif", picture, overwrite=True)
        assert read(target).metadata.icc == picture.metadata.icc
        if known:
            space = ImageCms.ImageCmsProfile(io.BytesIO(picture.metadata.icc)).profile.xcolor_space
            assert space == ("RGB " if pixels.ndim == 3 else "GRAY")


def test_a_profile_made_of_numbers_is_what_another_programme_makes_of_them() -> None:
    """The profile of sRGB made here changes no pixel on the way to Little CMS's own sRGB; one of P3 does."""
    own = ImageCms.createProfile("sRGB")
    image = Image.fromarray(NOISY)
    for code, curve, most in ((1, 13, 1), (12, 13, 255)):
        made = ImageCms.ImageCmsProfile(io.BytesIO(colour.profile(colour.PRIMARIES[code], colour.CURVES[curve])))
        moved = np.asarray(ImageCms.profileToProfile(image, made, own)).astype(int)
        change = np.abs(moved - NOISY).max()
        assert change <= most
        if code == 12:
            assert change > 5
            gray = np.repeat(NOISY[..., :1], 3, axis=2)
            again = np.asarray(ImageCms.profileToProfile(Image.fromarray(gray), made, own)).astype(int)
            assert np.abs(again - gray).max() <= 1  # white stays white


# GIF


def frames_of(path: Path) -> list[np.ndarray]:
    return [page.pixels.astype(float) for page in read_pages(path)]


def test_the_colours_of_an_animation_do_not_flicker_and_follow_a_cut(tmp_path: Path) -> None:
    """A palette chosen anew for each frame would add a quarter to what differs between these."""
    scene = np.asarray(Image.open(HERE / "data" / "coffee.png").convert("RGB").resize((160, 120)), float)
    other = np.asarray(Image.open(HERE / "data" / "mountains.jpg").convert("RGB").resize((160, 120)), float)
    true = [np.clip(s + RNG.normal(0, 2, s.shape), 0, 255).astype(np.uint8) for s in [scene] * 4 + [other] * 2]
    like = Pages("gif", 6, lambda: iter(()), frames=True, coding=())
    write_pages(tmp_path / "x.gif", [Picture(frame, duration=40) for frame in true], like)
    written = frames_of(tmp_path / "x.gif")
    for i in range(3):
        differs = np.abs(true[i + 1].astype(float) - true[i]).mean()
        assert np.abs(written[i + 1] - written[i]).mean() < 1.1 * differs
    errors = [np.sqrt(np.square(a - b).mean()) for a, b in zip(written, true, strict=True)]
    assert max(errors) < 5


@pytest.mark.parametrize("narrow", [True, False])
def test_each_pixel_of_a_gif_gets_the_nearest_colour_of_its_palette(narrow: bool, tmp_path: Path) -> None:
    """A clear sky has few colours, close to one another; all of its palette must serve."""
    if narrow:
        slope = np.linspace(0, 14, 160 * 120).reshape(120, 160, 1)
        pixels = np.rint(np.array([90, 140, 200]) + slope * [1, 0.8, 0.5] + RNG.normal(0, 0.7, (120, 160, 3)))
    else:
        pixels = np.asarray(Image.open(HERE / "data" / "coffee.png").convert("RGB").resize((160, 120)), float)
    write(tmp_path / "x.gif", Picture(pixels.astype(np.uint8)))
    with Image.open(tmp_path / "x.gif") as image:
        palette = np.asarray(image.getpalette(), float).reshape(-1, 3)
    written = read(tmp_path / "x.gif").pixels.astype(float)
    distances = np.square(pixels[:, :, None] - palette).sum(3).min(2)  # (H, W)
    error, least = np.square(pixels - written).sum(2).mean(), distances.mean()
    assert error == least if narrow else error < least + 1


def test_two_threads_that_silence_their_libraries_leave_stderr_where_it_was() -> None:
    before = os.fstat(2)
    inside = threading.Event()

    def other() -> None:
        with silenced():
            inside.set()

    with silenced():
        thread = threading.Thread(target=other)
        thread.start()
        inside.wait(0.2)  # without a lock the other would keep what this one has put there
    thread.join()
    after = os.fstat(2)
    assert inside.is_set()
    assert (after.st_dev, after.st_ino, after.st_rdev) == (before.st_dev, before.st_ino, before.st_rdev)


def several_pictures(*behind: tuple[int, bytes]) -> bytes:
    """Return a JPEG with an index (CIPA DC-007) of what follows it: attribute and bytes of each."""
    primary = jpeg.write(Picture(CALM))
    base = 2 + 4 + 4  # what places count from: behind the name of the segment

    def segment(rows: list[tuple[int, int, int]]) -> bytes:
        entries = b"".join(struct.pack("<IIIHH", *row, 0, 0) for row in rows)
        head = b"MPF\0II*\0\x08\0\0\0" + struct.pack("<H", 3)
        head += struct.pack("<HHI4s", 0xB000, 7, 4, b"0100") + struct.pack("<HHII", 0xB001, 4, 1, len(rows))
        content = head + struct.pack("<HHIII", 0xB002, 7, len(entries), 50, 0) + entries
        return b"\xff\xe2" + struct.pack(">H", len(content) + 2) + content

    at = len(primary) + len(segment([(0, 0, 0)] * (1 + len(behind))))
    rows = [(0x030000, at, 0)]
    for kind, content in behind:
        rows.append((kind, len(content), at - base))
        at += len(content)
    return primary[:2] + segment(rows) + primary[2:] + b"".join(content for _, content in behind)


def test_a_gain_map_and_a_video_stay_though_a_large_preview_follows_too() -> None:
    small = jpeg.write(Picture(CALM[:16, :16]))
    gain, preview, video = (0, small), (0x010002, small + b"x"), b"\0\0\0\x18ftypmp42" + b"V" * 99
    alone = jpeg.write(jpeg.read(several_pictures(preview)))
    assert b"MPF" not in alone
    assert not alone.endswith(preview[1])
    for data, kept in (
        (several_pictures(gain), gain[1]),
        (several_pictures(gain, preview), gain[1] + preview[1]),
        (several_pictures(preview) + video, video),
    ):
        assert jpeg.write(jpeg.read(data)).endswith(kept)
        assert b"MPF" in jpeg.write(jpeg.read(data))


def test_warnings_are_as_before_when_threads_have_decoded() -> None:
    data = webp.write(Picture(CALM[:32, :32]))
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: webp.read(data), range(60)))
    assert warnings.filters == before


@pytest.mark.parametrize(
    "head", [b"FUJIFILMCCD-RAW 0201", b"II*\0\x10\0\0\0CR\x02\0", b"IIRO\x08\0\0\0", b"IIU\0\x18\0\0\0"]
)
def test_camera_raw_without_a_name_is_told_by_its_first_bytes(head: bytes, tmp_path: Path) -> None:
    (tmp_path / "nameless").write_bytes(head + bytes(64))
    assert recognise(head + bytes(64), "") == "raw"
    assert written(named_by_content(tmp_path / "nameless")).suffix == ".tif"


def test_what_is_to_be_turned_is_turned_in_an_openexr() -> None:
    exif = b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"
    picture = Picture(np.zeros((4, 6, 3), np.float32), format="tiff", metadata=Metadata(exif=exif))
    assert converted(picture, "exr").size == (6, 4)
    assert converted(picture, "tiff").size == (4, 6)
