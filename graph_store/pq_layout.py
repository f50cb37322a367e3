"""How large the parts of a compressed index are; needs no FAISS, so that a choice can be made without it."""

from __future__ import annotations

import math

BITS = 4
"""Of each code; FAISS's fast scan looks four bits up inside a register."""

_MOST_CODES, _LEAST_NUMBERS = 400, 2
"""A code stands for two numbers of a vector, or for as many as make at most 400 codes of it."""

_BLOCK = 32
"""FAISS keeps the codes of a list in blocks of so many rows; of each list's last one half is empty."""


def lists_for(num: int) -> int:
    """How many inverted lists `num` vectors are divided among."""
    return max(1, math.isqrt(4 * num))


def codes_of(dim: int) -> int:
    """How many codes a vector of `dim` numbers has."""
    return -(-dim // _numbers_of_code(dim))


def padded(dim: int) -> int:
    """The length of a vector with the zeros that make it a whole number of codes; they change no score."""
    return codes_of(dim) * _numbers_of_code(dim)


def compressed_bytes(num: int, dim: int) -> int:
    """About how many bytes a compressed index over `num` vectors of `dim` numbers takes in memory: the codes
    with their rows, half a block and a centre for each list, and what each code stands for. The vectors,
    which stay on the disk, are not counted.
    """
    of_row = codes_of(dim) * BITS // 8 + 8
    of_list = 4 * padded(dim) + _BLOCK // 2 * of_row
    return num * of_row + lists_for(num) * of_list + 4 * (1 << BITS) * padded(dim)


def _numbers_of_code(dim: int) -> int:
    return max(_LEAST_NUMBERS, -(-dim // _MOST_CODES))
