"""Pictures from outside: decoded to RGB under limits or refused with a plain reason; and their thumbnails."""

from __future__ import annotations

import io
import re
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.image_headers import check_hidden_sizes, is_icon, is_kept_whole
from app.pixel_modes import to_rgb
from app.unpacking import UnpackingRoom
from graph_store.errors import BadInput

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_BYTES = 64 * 2**20
MAX_PIXELS = 80_000_000
"""Largest width x height: 320 MB as RGB, and 1.5 GB while a WebP or a JPEG 2000 is unpacked."""

MAX_RATIO = 1000
"""How many times the other a side may be: some encoders bring the shorter one to their own size."""

WORKING_SIDE = 512
"""A JPEG may be decoded at 1/2, 1/4 or 1/8 size as long as both sides stay at least this long: several times
faster, and still twice what encoders and thumbnails need. Other pictures are made smaller in this way when
they have more than LARGE_PIXELS."""

LARGE_PIXELS = 16_000_000

THUMBNAIL_SIDE = 256
THUMBNAIL_QUALITY = 80
_THUMBNAIL_BYTES = 64 * 2**10

# What people keep pictures in. Pillow knows many more, some of which start other programs (PostScript) or are
# recognised from almost any bytes (TGA).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO")

# What has matched is never given back: the ways to cut a row of comments double with each of them.
_SVG = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*+(?:<\?xml[^>]*+>\s*+)?(?><!--.*?-->\s*+)*+(?:<!DOCTYPE\s+svg|<svg)", re.S
)
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""What the header of a HEIC picture names itself. AVIF, which is read, is in the same container."""

_ORIENTATION_TAG = 0x0112
_QUARTER_TURNED = (5, 6, 7, 8)


@dataclass(frozen=True)
class PictureLimits:
    """How large a picture may be: its file in bytes, and width x height."""

    max_bytes: int = MAX_BYTES
    max_pixels: int = MAX_PIXELS

    def raised_to(self, max_bytes: int, max_pixels: int) -> PictureLimits:
        """The larger of both of each."""
        return PictureLimits(max(self.max_bytes, max_bytes), max(self.max_pixels, max_pixels))


@dataclass(frozen=True)
class Decoded:
    """A picture as it is to be seen.

    `image` is RGB, upright, and may be smaller than the original (see WORKING_SIDE). `width` and `height` are
    the original's in pixels, upright. `format` is what the bytes are, whatever the file was called.
    `plain_webp` says that they are a WebP of this one picture and of nothing about its maker or place.
    """

    image: Image
    width: int
    height: int
    format: str
    plain_webp: bool


def decode(
    data: bytes,
    *,
    max_bytes: int = MAX_BYTES,
    max_pixels: int = MAX_PIXELS,
    room: UnpackingRoom | None = None,
) -> Decoded:
    """The first frame of the picture in `data`, upright, in RGB, transparency over white.

    Where `room` is given, it waits there for its turn to be unpacked.

    Raises BadInput with a reason for anything that is no whole picture, and for one above the limits; the
    size is read from the header, so a decompression bomb is refused before it is unpacked.
    """
    if not data:
        raise BadInput("the file is empty (zero bytes)")
    if len(data) > max_bytes:
        raise BadInput(f"the file has {len(data):,} bytes; at most {max_bytes:,} are allowed")
    if _SVG.match(data[:4096]):
        raise BadInput("it is an SVG drawing, not a picture of pixels; render it to PNG first")
    hidden = check_hidden_sizes(data, max_pixels)
    if room is not None and is_icon(data):
        with room.taking(hidden):
            return _decoded(data, max_pixels, hidden, None)
    return _decoded(data, max_pixels, hidden, room)


def _decoded(data: bytes, max_pixels: int, hidden: int, room: UnpackingRoom | None) -> Decoded:
    """`hidden`: see check_hidden_sizes."""
    opened = _open(data, max_pixels)
    width, height = opened.size
    try:
        opened.draft(None, (WORKING_SIDE, WORKING_SIDE))
        pixels = opened.width * opened.height
        if opened.size != (width, height) and is_kept_whole(data):
            hidden = width * height
        with nullcontext() if room is None else room.taking(max(pixels, hidden)):
            opened.load()
            shrink = max(1, min(opened.size) // WORKING_SIDE) if pixels > LARGE_PIXELS else 1
            image, turned = _upright(to_rgb(opened, shrink), opened)
    except MemoryError as error:
        raise BadInput("the picture is too large for the memory of this machine") from error
    except Exception as error:
        # A decoder fed with hostile bytes may raise nearly anything (OSError, SyntaxError, struct.error, …).
        raise BadInput(
            f"the picture is damaged, cut short or of an unknown kind ({_first_line(error)})"
        ) from error
    if turned:
        width, height = height, width
    return Decoded(image, width, height, str(opened.format), _is_plain_webp(opened, data))


def thumbnail(image: Image, size: int = THUMBNAIL_SIDE) -> bytes:
    """The picture as WebP, at most `size` pixels on its longer side, never enlarged, without metadata."""
    from PIL.Image import Resampling

    small = image.copy()
    small.thumbnail((size, size), Resampling.BICUBIC, reducing_gap=2.0)
    small.info.clear()
    buffer = io.BytesIO()
    # method=0 takes 2.4 ms where the default takes 5.8, for files that are some percent larger.
    small.save(buffer, "WEBP", quality=THUMBNAIL_QUALITY, method=0)
    return buffer.getvalue()


def thumbnail_of(data: bytes, decoded: Decoded, size: int = THUMBNAIL_SIDE) -> bytes:
    """As `thumbnail`; the bytes themselves when they already are such a WebP, which loses nothing."""
    small = max(decoded.width, decoded.height) <= size and len(data) <= _THUMBNAIL_BYTES
    return data if decoded.plain_webp and small else thumbnail(decoded.image, size)


def _open(data: bytes, max_pixels: int) -> Image:
    from PIL import Image, UnidentifiedImageError

    # Pillow's own limit is one of the whole process; as it stands it would hold beside a larger one of ours.
    if Image.MAX_IMAGE_PIXELS is not None and max_pixels > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        opened = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadInput(f"the picture is a decompression bomb: {_first_line(error)}") from error
    except UnidentifiedImageError as error:
        if data[4:8] == b"ftyp" and data[8:12] in _HEIF:
            raise BadInput(
                "it is a HEIC picture, as phones take them, which is not read; convert it to JPEG first"
            ) from error
        raise BadInput("it is not a picture of a known format, or its beginning is damaged") from error
    except Exception as error:  # see decode
        raise BadInput(f"the picture's header is damaged ({_first_line(error)})") from error
    width, height = opened.size
    if width * height > max_pixels:
        raise BadInput(f"the picture is {width} x {height} pixels; at most {max_pixels:,} are allowed")
    if width < 1 or height < 1:
        raise BadInput(f"the picture is {width} x {height} pixels")
    if max(width, height) > MAX_RATIO * min(width, height):
        raise BadInput(
            f"the picture is {width} x {height} pixels; one side may be {MAX_RATIO:,} times the other at most"
        )
    tile = opened.tile[0] if opened.format == "PPM" else None
    if tile is not None and (tile.codec_name, tile.args) == ("ppm", ("RGB", 65_535)):
        # Pillow would go over its values one by one, a million in a second, for the same eight bits of each.
        opened.tile = [tile._replace(codec_name="raw", args=("RGB;16B", 0, 1))]
    return opened


def _is_plain_webp(image: Image, data: bytes) -> bool:
    if image.format != "WEBP":
        return False
    whole = int.from_bytes(data[4:8], "little") + 8 == len(data)
    described = {"exif", "xmp", "icc_profile"} & set(image.info)
    animated = getattr(image, "is_animated", False)
    return image.mode == "RGB" and whole and not described and not animated


def _upright(image: Image, opened: Image) -> tuple[Image, bool]:
    """The picture as it is to be seen, and whether its width has become its height."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        orientation = int(opened.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # broken EXIF says nothing about the pixels, which are whole
        return image, False
    if orientation not in turns:
        return image, False
    return image.transpose(turns[orientation]), orientation in _QUARTER_TURNED


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
