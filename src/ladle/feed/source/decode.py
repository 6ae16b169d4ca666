"""Encoded images made into pixels, with suspicion: a file says how large it is before it may take that much memory.

The only file that knows Pillow. `decode` is a pure function and lets other threads run while it works.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, Literal, get_args

import numpy as np

from ladle.core.errors import ArgumentError, DataError, must
from ladle.core.npy import one_line

Mode = Literal["RGB", "L"]
MAX_PIXELS = 2**25
"""33.5 million pixels, 100 MB as RGB. A file of some kilobytes can claim billions."""

EXTENSIONS = frozenset("bmp gif jpeg jpg pgm png ppm tif tiff webp".split())
"""Names of image files. What a file is, its first bytes say; formats that run programs (EPS) are not among them."""

_SIGNATURES = (
    (b"\xff\xd8\xff", "JpegImagePlugin", "JpegImageFile"),
    (b"\x89PNG\r\n\x1a\n", "PngImagePlugin", "PngImageFile"),
    (b"RIFF", "WebPImagePlugin", "WebPImageFile"),
    (b"GIF8", "GifImagePlugin", "GifImageFile"),
    (b"BM", "BmpImagePlugin", "BmpImageFile"),
    (b"P5", "PpmImagePlugin", "PpmImageFile"),
    (b"P6", "PpmImagePlugin", "PpmImageFile"),
    (b"II*\x00", "TiffImagePlugin", "TiffImageFile"),
    (b"MM\x00*", "TiffImagePlugin", "TiffImageFile"),
)
_JPEG_PIXELS_PER_BYTE = 512
"""At least one bit for each block of 8 x 8 in the Huffman codes of a JPEG (ITU-T T.81, F.1.2). Where the codes end
early, the decoder fills up with grey and says nothing, so a header that lies would pass."""

_ORIENTATION = 0x0112
_TURNED = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
_TURNED |= {6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}


def decode(
    encoded: bytes, mode: Mode = "RGB", size: tuple[int, int] | None = None, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """The pixels of an encoded image (JPEG, PNG, WebP, GIF, BMP, PPM, TIFF): `u8[height, width, channels]`.

    - `mode`: "RGB" (3 channels) or "L" (1 channel, 0.299 R + 0.587 G + 0.114 B). Transparency is dropped; of moving
      pictures the first frame is taken; 16-bit grey keeps its upper eight bits; the camera's turn (EXIF) is applied.
    - `size`: `(height, width)` to resize to (bilinear over all pixels covered); None keeps the image's own. A JPEG
      four times as large or more is decoded at a half, a quarter or an eighth first, which is faster and leaves the
      filter at least twice the wanted size, as Pillow's `thumbnail` does; pixels then differ a little.
    - `max_pixels`: how many pixels the header may claim; checked before anything is decoded.

    Raises `DataError` for a damaged or truncated image, one that claims too many pixels, or another format.

    >>> decode(b"P5 2 1 255 " + bytes([7, 9]), mode="L").tolist()
    [[[7], [9]]]
    """
    try:
        image = _opened(encoded, max_pixels)
        if size is not None and (image.width, image.height) != size[::-1]:
            least = size if "exif" not in image.info else (max(size), max(size))  # It may yet be turned.
            image.draft(mode, (2 * least[1], 2 * least[0]))
        image.load()
        turned = _in_mode(_upright(image), mode)
        if size is not None and (turned.width, turned.height) != size[::-1]:
            turned = turned.resize(size[::-1], _pillow().Image.Resampling.BILINEAR)
        return np.frombuffer(turned.tobytes(), np.uint8).reshape(turned.height, turned.width, -1)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # Which it is depends on the format and on where the file breaks: Pillow names no base.
        raise _unreadable(str(error) or type(error).__name__) from None


@dataclass(frozen=True)
class Pixels:
    """`decode` with its settings, as a value. Raises `ArgumentError` for settings that make no image.

    >>> Pixels("L", size=(1, 1))(b"P5 2 1 255 " + bytes([7, 9])).tolist()
    [[[8]]]
    """

    mode: Mode = "RGB"
    size: tuple[int, int] | None = None
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        _pillow()
        if self.mode not in get_args(Mode):
            raise ArgumentError(must("mode", "be 'RGB' or 'L'", self.mode, "rows are bytes of colour or grey", "'RGB'"))
        if self.size is not None:
            sides = tuple(self.size) if isinstance(self.size, tuple | list) else ()
            if len(sides) != 2 or not all(isinstance(side, int | np.integer) and side >= 1 for side in sides):
                why = "that many rows and columns of pixels are made"
                raise ArgumentError(must("size", "be (height, width)", self.size, why, "size=(224, 224)"))
            object.__setattr__(self, "size", (int(sides[0]), int(sides[1])))

    def __call__(self, encoded: bytes) -> np.ndarray:
        """See `decode`."""
        return decode(encoded, self.mode, self.size, self.max_pixels)


def _opened(encoded: bytes, max_pixels: int) -> Any:
    """The image with its header read and checked, its pixels still packed.

    The class of the format is called directly: `Image.open` would try every format there is, and its warning about
    large images is a setting of the whole process.
    """
    plugins = _pillow()
    for signature, plugin, name in _SIGNATURES:
        if encoded[: len(signature)] == signature:
            image = getattr(getattr(plugins, plugin), name)(io.BytesIO(encoded))
            break
    else:
        raise _unreadable("it starts like no image format that is read here" if len(encoded) else "it is empty")
    if image.width * image.height > max_pixels:
        got = f"{image.width} x {image.height} from {len(encoded):,} bytes"
        why = "a small file may claim more memory than there is"
        remedy = f"max_pixels={image.width * image.height} for data you trust"
        raise DataError(must("image", f"have at most {max_pixels:,} pixels", got, why, remedy))
    if image.format == "JPEG" and image.width * image.height > _JPEG_PIXELS_PER_BYTE * len(encoded):
        raise _unreadable(f"{len(encoded):,} bytes cannot hold the {image.width} x {image.height} pixels it claims")
    return image


def _upright(image: Any) -> Any:
    """The image as the camera was held. A note about it that cannot be read says nothing: the pixels are whole."""
    if "exif" not in image.info:
        return image
    try:
        turn = _TURNED.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return image
    return image.transpose(getattr(_pillow().Image.Transpose, turn)) if turn else image


def _in_mode(image: Any, mode: Mode) -> Any:
    if image.mode == mode:
        return image
    if image.mode.startswith("I;16"):
        # Pillow would clip: every value above 255 would become white.
        return _pillow().Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert(mode)
    if image.mode in ("I", "F"):
        because = f"its pixels are of kind {image.mode!r}, with no fixed range"
        raise DataError(must("image", "have 8 or 16 bits a channel", image.mode, because, "arrays of numbers instead"))
    if "transparency" in image.info and image.mode == "P":
        image = image.convert("RGBA")
    return image.convert(mode)


def _unreadable(because: str) -> DataError:
    remedy = 'a fresh copy of it, or bad="skip" in the feed'
    return DataError(must("image", "be whole and readable", "a damaged one", one_line(because), remedy))


@cache
def _pillow() -> ModuleType:
    """Pillow with the formats read here. Raises `ArgumentError` where it is not installed."""
    try:
        import PIL
        from PIL import (  # noqa: F401
            BmpImagePlugin,
            GifImagePlugin,
            Image,
            JpegImagePlugin,
            PngImagePlugin,
            PpmImagePlugin,
            TiffImagePlugin,
            WebPImagePlugin,
        )
    except ImportError:
        why, remedy = "images are decoded by it", "pip install 'ladle[images]'"
        raise ArgumentError(must("Pillow", "be installed", "no such module", why, remedy)) from None
    return PIL
