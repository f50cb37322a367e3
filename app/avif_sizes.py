"""How large the pictures in an AVIF are when they are unpacked, whatever the file around them says."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from graph_store.errors import BadInput

_AV1 = b"av01"
_MOST_STEPS = 100_000
"""Boxes, items and parts of pictures that are looked at: a hundred or so in most files."""
_SEQUENCE_HEADER = 1
_SAMPLES = (b"trak", b"mdia", b"minf", b"stbl")


def is_avif(data: bytes) -> bool:
    """Whether it names itself one. Other pictures, such as HEIC, are in the same container."""
    brands = data[8 : int.from_bytes(data[:4], "big")] if data[4:8] == b"ftyp" else b""
    return b"avif" in brands or b"avis" in brands


def avif_sizes(avif: bytes) -> list[tuple[int, int]]:
    """Width and height of each picture in an AVIF: the tiles of a grid, its transparency, a preview.

    They are what AV1 calls a sequence's maximum. The decoder unpacks that much and then scales it to the size
    in the container (`ispe`), which is all that Pillow tells. A frame may still override that maximum,
    against the specification; then only libavif's own limit holds, 16,384 x 16,384.

    Raises BadInput where they cannot be read.
    """
    try:
        sizes = list(_Avif(avif).sizes())
    except (IndexError, struct.error) as error:
        raise BadInput("the AVIF is damaged or cut short") from error
    if not sizes:
        raise BadInput("the AVIF is damaged, or holds no picture")
    return sizes


class _Avif:
    """The container, ISO/IEC 14496-12, as far as pictures are found by it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._view = memoryview(data)
        self._steps = 0
        self._joined = 0

    def sizes(self) -> Iterator[tuple[int, int]]:
        for kind, start, end in self._boxes(0, len(self._data)):
            if kind == b"meta":
                yield from self._item_sizes(start + 4, end)
            if kind == b"moov":
                yield from self._first_frame_sizes(start, end)

    def _step(self) -> None:
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise BadInput("the AVIF is made of too many parts")

    def _boxes(self, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
        """Kind, start and end of the contents of each box between two places."""
        while start + 8 <= end:
            self._step()
            size, kind = struct.unpack_from(">I4s", self._data, start)
            head = 8
            if size == 1:
                (size,) = struct.unpack_from(">Q", self._data, start + head)
                head = 16
            elif size == 0:
                size = end - start
            if size < head:
                return
            yield kind, start + head, min(start + size, end)
            start += size

    def _inside(self, start: int, end: int, *path: bytes) -> Iterator[tuple[int, int]]:
        for kind, inner_start, inner_end in self._boxes(start, end):
            if kind == path[0] and len(path) == 1:
                yield inner_start, inner_end
            elif kind == path[0]:
                yield from self._inside(inner_start, inner_end, *path[1:])

    def _item_sizes(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        pictures = set()
        for listing, listing_end in self._inside(start, end, b"iinf"):
            first = listing + (6 if self._data[listing] == 0 else 8)
            for entry, _ in self._inside(first, listing_end, b"infe"):
                wide = self._data[entry] >= 3
                item, kind = struct.unpack_from(">I2x4s" if wide else ">H2x4s", self._data, entry + 4)
                if kind == _AV1:
                    pictures.add(item)
        kept_inside = next(self._inside(start, end, b"idat"), (end, end))
        for places, places_end in self._inside(start, end, b"iloc"):
            for item, parts in self._places(places, places_end, kept_inside[0]):
                if item in pictures:
                    yield self._size_of(parts)

    def _places(self, start: int, end: int, kept_inside: int) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """Each item's number and the parts, as start and length, that it consists of."""
        bits = _Bits(self._view[start:end])
        version = bits.take(8)
        bits.take(24)
        offset, length, base, index = (8 * bits.take(4) for _ in range(4))
        for _ in range(bits.take(32 if version >= 2 else 16)):
            self._step()
            item = bits.take(32 if version >= 2 else 16)
            method = bits.take(16) & 15 if version else 0
            bits.take(16)
            origin = bits.take(base) + (kept_inside if method == 1 else 0)
            parts = []
            for _ in range(bits.take(16)):
                self._step()
                bits.take(index if version else 0)
                begins = origin + bits.take(offset)
                parts.append((begins, bits.take(length)))
            yield item, parts

    def _first_frame_sizes(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        for table, table_end in self._inside(start, end, *_SAMPLES):
            held = {kind: (at, until) for kind, at, until in self._boxes(table, table_end)}
            if b"stsd" not in held or self._data.find(_AV1, *held[b"stsd"]) < 0:
                continue
            if b"stsz" not in held or (b"stco" in held) == (b"co64" in held):
                raise BadInput("the AVIF is damaged: its frames are not to be found")
            (size,) = struct.unpack_from(">I", self._data, held[b"stsz"][0] + 4)
            if not size:
                (size,) = struct.unpack_from(">I", self._data, held[b"stsz"][0] + 12)
            wide = b"co64" in held
            place = held[b"co64" if wide else b"stco"][0] + 8
            (first,) = struct.unpack_from(">Q" if wide else ">I", self._data, place)
            yield self._size_of([(first, size)])

    def _size_of(self, parts: list[tuple[int, int]]) -> tuple[int, int]:
        pieces = [self._view[start : start + length] for start, length in parts]
        if len(pieces) == 1:
            return self._size_in(pieces[0])
        self._joined += sum(map(len, pieces))
        if self._joined > 2 * len(self._data):
            raise BadInput("the AVIF is damaged: its parts lie over one another")
        return self._size_in(memoryview(b"".join(pieces)))

    def _size_in(self, picture: memoryview) -> tuple[int, int]:
        """The largest size that the blocks (OBU) of a picture announce; AV1 specification, 5.3."""
        at, sizes = 0, []
        while at < len(picture):
            self._step()
            header = picture[at]
            at += 2 if header & 4 else 1
            size = len(picture) - at
            if header & 2:
                size, shift = 0, 0
                while True:
                    size |= (picture[at] & 127) << shift
                    shift, at = shift + 7, at + 1
                    if picture[at - 1] < 128 or shift >= 56:
                        break
            if header >> 3 & 15 == _SEQUENCE_HEADER:
                sizes.append(_announced(picture[at : at + size]))
            at += size
        if not sizes:
            raise BadInput("the AVIF is damaged: one of its pictures has no header")
        return max(sizes, key=lambda sides: sides[0] * sides[1])


class _Bits:
    """Whole numbers of any length, one behind the other, the highest bit first."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def take(self, bits: int) -> int:
        """The next number; raises IndexError behind the end."""
        first, self._at = self._at, self._at + bits
        if self._at > 8 * len(self._data):
            raise IndexError(self._at)
        number = int.from_bytes(self._data[first // 8 : (self._at + 7) // 8], "big")
        return number >> -self._at % 8 & (1 << bits) - 1


def _announced(header: memoryview) -> tuple[int, int]:
    """The largest width and height of a sequence header; AV1 specification, 5.5.1."""
    bits = _Bits(header)
    bits.take(3 + 1)
    if bits.take(1):  # reduced_still_picture_header
        bits.take(5)
    else:
        _pass_over_operating_points(bits)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(width_bits) + 1, bits.take(height_bits) + 1


def _pass_over_operating_points(bits: _Bits) -> None:
    delay_bits = 0
    if bits.take(1):  # timing_info_present_flag
        bits.take(32 + 32)
        if bits.take(1):  # equal_picture_interval, and a number that begins with as many zeros as it has bits
            zeros = 0
            while not bits.take(1):
                zeros += 1
            bits.take(min(zeros, 32) % 32)
        if bits.take(1):  # decoder_model_info_present_flag
            delay_bits = bits.take(5) + 1
            bits.take(32 + 5 + 5)
    display_delay = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if delay_bits and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if display_delay and bits.take(1):
            bits.take(4)
