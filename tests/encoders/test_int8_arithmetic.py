"""The word for how a processor multiplies in eight bits."""

from __future__ import annotations

from pathlib import Path

import pytest

from gnn.encoders.int8_arithmetic import int8_arithmetic


def word_of(folder: Path, line: str) -> str:
    listing = folder / "cpuinfo"
    listing.write_text(f"processor\t: 0\n{line}\nbugs\t\t: spectre_v1\n", encoding="utf-8")
    return int8_arithmetic(listing)


@pytest.mark.parametrize(
    "without, having",
    [
        ("flags\t\t: fpu avx2 sse4_2", "flags\t\t: fpu avx2 avx_vnni sse4_2"),
        ("Features\t: fp asimd", "Features\t: fp asimd asimddp"),
    ],
)
def test_processors_with_and_without_int8_products_differ(without: str, having: str, tmp_path: Path) -> None:
    assert word_of(tmp_path, without) != word_of(tmp_path, having)


def test_what_has_nothing_to_do_with_int8_makes_no_difference(tmp_path: Path) -> None:
    assert word_of(tmp_path, "flags\t\t: fpu avx2") == word_of(tmp_path, "flags\t\t: avx2 aes rdrand")


def test_a_system_that_lists_nothing_has_a_word_too(tmp_path: Path) -> None:
    assert int8_arithmetic(tmp_path / "missing")
