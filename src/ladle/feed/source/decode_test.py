from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from ladle.core.errors import ArgumentError, DataError
from ladle.feed.source.decode import Pixels, decode


def smooth(height: int, width: int, seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def png(width: int, height: int, rows: bytes) -> bytes:
    """A PNG of grey pixels, made by hand: chunks as https://www.w3.org/TR/png-3/ has them."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "PPM", "TIFF"])
def test_pixels_are_those_of_pillow(format, mode):
    data = encoded(smooth(13, 17), format)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert(mode)).reshape(13, 17, -1)
    np.testing.assert_array_equal(decode(data, mode), expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "PA"])
def test_any_way_to_hold_pixels_becomes_colour(mode):
    image = smooth(6, 5).convert("P").convert("PA") if mode == "PA" else smooth(6, 5).convert(mode)
    format = "JPEG" if mode in ("CMYK", "YCbCr") else "GIF" if mode == "PA" else "PNG"
    rows = decode(encoded(image.convert("P") if mode == "PA" else image, format))
    assert (rows.shape, rows.dtype) == ((6, 5, 3), np.uint8)


def test_sixteen_bits_keep_the_upper_eight():
    grey = Image.fromarray(np.array([[0, 256, 65535]], np.uint16))
    assert decode(encoded(grey, "PNG"), "L").ravel().tolist() == [0, 1, 255]


def test_pixels_without_a_range_are_refused():
    with pytest.raises(DataError, match="have 8 or 16 bits a channel; got 'F'"):
        decode(encoded(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF"))


def test_a_palette_with_transparency_is_read_without_a_warning():
    image = smooth(5, 5).convert("P")
    assert decode(encoded(image, "PNG", transparency=bytes(range(256)))).shape == (5, 5, 3)


@pytest.mark.parametrize("turn", range(1, 9))
def test_the_turn_of_the_camera_is_applied(turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    data = encoded(smooth(4, 7), "PNG", exif=exif)
    from PIL import ImageOps

    np.testing.assert_array_equal(decode(data), np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_broken_note_of_the_camera_leaves_the_pixels():
    data = encoded(smooth(4, 7), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert decode(data).shape == (4, 7, 3)


@pytest.mark.parametrize("size", [(3, 5), (13, 17), (40, 20)])
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_sizes_are_those_asked_for(size, format):
    data = encoded(smooth(13, 17), format)
    rows = decode(data, size=size)
    resized = Image.open(io.BytesIO(data)).resize(size[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(rows, np.asarray(resized))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_large_jpeg_is_decoded_small_and_looks_the_same(mode):
    data = encoded(smooth(512, 640), "JPEG", quality=95)
    slow = Image.open(io.BytesIO(data)).convert(mode).resize((40, 32), Image.Resampling.BILINEAR)
    expected = np.asarray(slow, np.float64).reshape(32, 40, -1)
    assert np.abs(decode(data, mode, (32, 40)) - expected).mean() < 2


def test_a_large_jpeg_that_is_turned_keeps_what_it_needs():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = smooth(400, 1600)
    data = encoded(image, "JPEG", quality=95, exif=exif)
    turned = Image.open(io.BytesIO(data)).transpose(Image.Transpose.ROTATE_270)
    expected = np.asarray(turned.resize((100, 20), Image.Resampling.BILINEAR), np.float64)
    assert np.abs(decode(data, size=(20, 100)) - expected).mean() < 2


def test_a_bomb_is_refused_before_it_is_unpacked():
    """108 MB of colours in 35 kB; and any cap that is asked for."""
    rows = zlib.compress(bytes(6_001) * 6_000, 9)
    bomb = png(6_000, 6_000, rows)
    assert len(bomb) < 36_000
    with pytest.raises(DataError, match="image must have at most 33,554,432 pixels; got '6000 x 6000 from") as caught:
        decode(bomb)
    assert "max_pixels=36000000 for data you trust" in str(caught.value)
    with pytest.raises(DataError, match="have at most 10 pixels; got '4 x 3"):
        decode(png(4, 3, zlib.compress(bytes(15))), max_pixels=10)


@pytest.mark.parametrize("side", [65_000, 5_000])
def test_a_jpeg_that_lies_about_its_size_is_refused(side):
    data = bytearray(encoded(smooth(16, 16), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", side, side)
    # Below the cap it would be a grey picture: the decoder fills up what is missing.
    with pytest.raises(DataError, match="at most 33,554,432 pixels" if side == 65_000 else "cannot hold the 5000 x"):
        decode(bytes(data))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "PPM", "TIFF"])
def test_no_part_of_an_image_passes_for_a_whole_one(format):
    data = encoded(smooth(31, 29), format)
    for length in range(0, int(len(data) * 0.9), max(1, len(data) // 40)):
        with pytest.raises(DataError, match="image must be whole and readable"):
            decode(data[:length])


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_noise_in_a_file_gives_pixels_or_an_error_of_ours(format, recwarn):
    data, draw = encoded(smooth(16, 16), format), np.random.default_rng(0)
    for _ in range(150):
        noisy = bytearray(data)
        for at in draw.integers(0, len(data), 3):
            noisy[at] = draw.integers(256)
        with suppress(DataError):
            assert decode(bytes(noisy), max_pixels=2**16).dtype == np.uint8


@pytest.mark.parametrize("data", [b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0"], ids=["empty", "text", "program"])
def test_other_formats_are_refused(data):
    with pytest.raises(DataError, match="image must be whole and readable"):
        decode(data)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mode": "RGBA"}, "mode must be 'RGB' or 'L'; got 'RGBA'"),
        ({"size": 224}, "size must be .height, width.; got 224"),
        ({"size": (0, 5)}, "size must be .height, width.; got .0, 5."),
    ],
    ids=["mode", "number", "zero"],
)
def test_settings_that_make_no_image_are_refused(settings, said):
    with pytest.raises(ArgumentError, match=said):
        Pixels(**settings)


def test_without_pillow_the_remedy_is_named():
    code = (
        "import sys; sys.modules['PIL'] = None\n"
        "from ladle.feed.source.decode import Pixels\n"
        "try: Pixels()\n"
        "except Exception as error: print(error)"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Pillow must be installed" in child.stdout
    assert "pip install 'ladle[images]'" in child.stdout
