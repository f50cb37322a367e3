"""What 100 million and 1 billion images take: the tables of docs/scale.md, worked out of measured slopes.

    python -m benchmarks.plan [--machine-cores 64] [--core-hour 0.04] …

Nothing here is measured at that size. Every slope names the page that it was measured for and the words
there; a test looks them up. Linear figures are slope times images; where something grows with n log n or
log n, as an HNSW index does, the factor is g = ln(n) / ln(100,000).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, fields

MEASURED_AT = 100_000
SIZES = {"100 thousand": MEASURED_AT, "100 million": 10**8, "1 billion": 10**9}
_HOUR = 3600
_MONTH_HOURS = 730
_GB = 1e9


@dataclass(frozen=True)
class Slope:
    """One measured figure: `value` of `unit`, from the words `words` in `docs/<page>`."""

    what: str
    value: float
    unit: str
    page: str
    words: str


FLOAT = Slope("encoding, float32", 186 / 2, "images/s and core", "performance.md", "| 186 (180) |")
INT8 = Slope("encoding, eight bits", 392 / 2, "images/s and core", "performance.md", "| 392 (360) |")
REINDEX = Slope(
    "full reindex of 100,000 images, one core, beside traffic", 270, "core-seconds", "performance.md",
    "The reindex took 270 s beside all that",
)  # fmt: skip
ANSWERS = Slope(
    "answers at 100,000 images, eight clients, clients included", 611 / 2, "answers/s and core",
    "performance.md", "| eight clients, idle | 611 |",
)  # fmt: skip
SNAPSHOT = Slope("a snapshot", 14_800, "bytes an image", "operations.md", "all, with the model | 14,800 |")
VECTORS = Slope("`embeddings.npy`", 3_140, "bytes an image", "operations.md", "| `embeddings.npy` | 3,140 |")
INDEX = Slope("`index.faiss`", 272, "bytes an image", "operations.md", "| `index.faiss` | 272 |")
RECORDS = Slope("`records/`", 180, "bytes an image", "operations.md", "| `records/` | 180 |")
NEIGHBOURS = Slope(
    "`neighbours.faiss`", 1_300, "bytes an image", "operations.md", "| `neighbours.faiss` | 1,300 |"
)
FEATURES = Slope("features", 5_120, "bytes an image", "operations.md", "5,120 bytes of features")
CATALOGUE = Slope("`catalog.sqlite`", 200, "bytes an image", "operations.md", "200 bytes in `catalog.sqlite`")
CODES = Slope("codes of preset `hash`", 32, "bytes an image", "scale.md", "its codes are 32 bytes an image")
BASE = Slope(
    "peak memory of a reindex of 5,996 photos", 1.1, "GiB", "performance.md", "| reindex | 9 | 1.1 GiB |"
)

SLOPES = (
    FLOAT, INT8, REINDEX, ANSWERS, SNAPSHOT, VECTORS, INDEX, RECORDS, NEIGHBOURS, FEATURES, CATALOGUE, CODES,
    BASE,
)  # fmt: skip


@dataclass(frozen=True)
class Assumed:
    """What is not measured but supposed; each is an option of the command. Prices in dollars."""

    machine_cores: float = 64
    answers_a_second: float = 1_000
    thumbnail_bytes: float = 5_000
    network_bytes_a_second: float = 1.25e9
    core_hour: float = 0.04
    memory_gb_hour: float = 0.005
    store_gb_month: float = 0.023
    kept_snapshots: float = 3


def growth(images: int) -> float:
    """How much longer a path through an HNSW index is than at 100,000 images: ln(n) / ln(100,000)."""
    return math.log(images) / math.log(MEASURED_AT)


def encode_core_seconds(images: int, slope: Slope) -> float:
    """Linear: each picture for itself."""
    return images / slope.value


def reindex_core_seconds(images: int) -> float:
    """n log n, by the parts that search and build HNSW indexes; the layers alone are linear."""
    return REINDEX.value * images / MEASURED_AT * growth(images)


def answers_a_core(images: int) -> float:
    """Answers a second and core, where what a search reads is in memory: they fall with log n."""
    return ANSWERS.value / growth(images)


def searched_bytes(images: int) -> float:
    """What every search reads, so what a replica should have memory for. Linear."""
    return images * (VECTORS.value + INDEX.value + RECORDS.value)


def reindex_bytes(images: int) -> float:
    """Memory that a reindex cannot do without: the two indexes that it builds, and what it starts with."""
    return BASE.value * 2**30 + images * (VECTORS.value + INDEX.value + NEIGHBOURS.value)


def replica_cores(images: int, assumed: Assumed) -> float:
    """Cores that answer what is asked a second."""
    return assumed.answers_a_second / answers_a_core(images)


Figure = tuple[str, str, Callable[[int], str]]


def figures(assumed: Assumed) -> list[Figure]:
    """(what, formula, shown for so many images), a row of the table each."""
    cores, keep, asked = assumed.machine_cores, assumed.kept_snapshots, assumed.answers_a_second
    aside = FEATURES.value + CATALOGUE.value + assumed.thumbnail_bytes
    price = f"core-hours · ${assumed.core_hour:g}"
    spent = f"core-hours / hours on {cores:g} cores at best"
    a_core = f"{ANSWERS.value:g} ÷ g"

    def hours(core_seconds: Callable[[int], float]) -> Callable[[int], str]:
        return lambda n: f"{_number(core_seconds(n) / _HOUR)} / {_number(core_seconds(n) / _HOUR / cores)}"

    def a_month(n: int) -> float:
        an_hour = replica_cores(n, assumed) * assumed.core_hour
        return _MONTH_HOURS * (an_hour + searched_bytes(n) / _GB * assumed.memory_gb_hour)

    def encoding(slope: Slope) -> Callable[[int], float]:
        return lambda n: encode_core_seconds(n, slope)

    def money(core_seconds: Callable[[int], float]) -> Callable[[int], str]:
        return lambda n: _money(core_seconds(n) / _HOUR * assumed.core_hour)

    def linear(slope: float) -> tuple[str, Callable[[int], str]]:
        return f"{slope:,g} n", lambda n: _bytes(slope * n)

    return [
        (f"encoding once, float32: {spent}", f"n ÷ {FLOAT.value:g}", hours(encoding(FLOAT))),
        (f"encoding once, eight bits: {spent}", f"n ÷ {INT8.value:g}", hours(encoding(INT8))),
        (
            f"full reindex: {spent}",
            f"{REINDEX.value:g} s · n ÷ {MEASURED_AT:,} · g",
            hours(reindex_core_seconds),
        ),
        (
            "memory of a reindex, at least",
            f"{BASE.value:g} GiB + {VECTORS.value + INDEX.value + NEIGHBOURS.value:,g} n",
            lambda n: _bytes(reindex_bytes(n)),
        ),
        ("a snapshot", *linear(SNAPSHOT.value)),
        ("beside it on the writer: features, catalogue, thumbnails", *linear(aside)),
        (f"{keep:g} snapshots in the store", *linear(keep * SNAPSHOT.value)),
        ("disk of a replica: one snapshot and the next", *linear(2 * SNAPSHOT.value)),
        ("memory of a replica: what searches read", *linear(searched_bytes(1))),
        ("the same with preset `hash`", *linear(CODES.value + RECORDS.value)),
        ("answers a second and core", a_core, lambda n: _number(answers_a_core(n))),
        (
            f"cores for {asked:,g} answers a second",
            f"{asked:,g} ÷ ({a_core})",
            lambda n: _number(replica_cores(n, assumed)),
        ),
        (
            "hours to fetch a snapshot",
            f"{SNAPSHOT.value:,g} n ÷ {assumed.network_bytes_a_second / _GB:g} GB/s",
            lambda n: _number(SNAPSHOT.value * n / assumed.network_bytes_a_second / _HOUR),
        ),
        ("cost of encoding once, eight bits", price, money(encoding(INT8))),
        ("cost of a full reindex", price, money(reindex_core_seconds)),
        (
            "cost of the store, a month",
            f"GB · ${assumed.store_gb_month:g}",
            lambda n: _money(keep * SNAPSHOT.value * n / _GB * assumed.store_gb_month),
        ),
        (
            f"cost of {asked:,g} answers a second, a month",
            f"{_MONTH_HOURS} h · (cores · ${assumed.core_hour:g} + GB · ${assumed.memory_gb_hour:g})",
            lambda n: _money(a_month(n)),
        ),
    ]


def text(assumed: Assumed | None = None) -> str:
    """Both tables, as the page has them."""
    lines = ["| measured | figure | unit | where |", "|---|---|---|---|"]
    for slope in SLOPES:
        page = f"[{slope.page.removesuffix('.md')}]({slope.page})"
        lines.append(f"| {slope.what} | {slope.value:,g} | {slope.unit} | {page} |")
    lines += ["", f"| extrapolated | formula | {' | '.join(SIZES)} |", f"|---|---|{'---|' * len(SIZES)}"]
    for what, formula, shown in figures(assumed or Assumed()):
        lines.append(f"| {what} | {formula} | {' | '.join(shown(n) for n in SIZES.values())} |")
    return "\n".join(lines)


def _number(value: float) -> str:
    """Three digits that count, no more than an extrapolation has."""
    if value >= 1000 and value != round(value, -1):
        value = float(f"{value:.3g}")
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _bytes(value: float) -> str:
    for unit in ("MB", "GB", "TB"):
        scale = {"MB": 1e6, "GB": 1e9, "TB": 1e12}[unit]
        if value < 1000 * scale or unit == "TB":
            return f"{_number(value / scale)} {unit}"
    raise AssertionError("terabytes take everything")


def _money(dollars: float) -> str:
    return f"${dollars:.2g}" if dollars < 1 else f"${_number(dollars)}"


def main() -> None:
    """Print the tables, with other assumptions where they are given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for field in fields(Assumed):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=float, default=field.default)
    print(text(Assumed(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
