"""What 100 million and 1 billion images take: the tables of docs/scale.md, worked out of measured slopes.

    python -m benchmarks.plan [--machine-cores 64] [--core-hour 0.04] …

Nothing here is measured at that size. Every figure names the page that it was measured for and the words
there; a test looks them up. Bytes and encoding are slope times images. Training and a reindex's memory lie on
the line through what was measured at 100,000 images and at a million. A reindex starts from the million and
grows as its layers did; where HNSW is walked or built, the factor is a ratio of logarithms.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, fields

MEASURED_AT = 100_000
"""Where answers were counted; training and reindexing were measured here and at MILLION."""

MILLION = 1_000_000
SIZES = {"1 million": MILLION, "100 million": 10**8, "1 billion": 10**9}
_HOUR = 3600
_MONTH_HOURS = 730
_GB = 1e9
_GIB = 2**30


@dataclass(frozen=True)
class Slope:
    """One measured figure: `value` of `unit`, which is `times` one of the words `words` in `docs/<page>`."""

    what: str
    value: float
    unit: str
    page: str
    words: str
    times: float = 1.0


def _of_two_cores(what: str, told: float, words: str) -> Slope:
    """Seconds of the machine as core-seconds: at most so many, since not every step keeps both cores busy."""
    return Slope(what, 2 * told, "core-seconds at most", "performance.md", words, times=2.0)


FLOAT = Slope("encoding, float32", 186 / 2, "images/s and core", "performance.md", "| 186 (180) |", 0.5)
INT8 = Slope("encoding, eight bits", 392 / 2, "images/s and core", "performance.md", "| 392 (360) |", 0.5)
_TRAINING = "| training, preset `default`, s | 92 | 160 | 319 |"
TRAINING = _of_two_cores("training, preset `default`, 100,000 images", 160, _TRAINING)
TRAINING_MILLION = _of_two_cores("the same, a million", 319, _TRAINING)
REINDEX = _of_two_cores(
    "full reindex of a million, `auto`, which takes codes", 395,
    "| **full reindex, s** | **13.1** | **119** | **395** |",
)  # fmt: skip
REINDEX_LINKS = _of_two_cores("the same with HNSW", 773, "With HNSW the same million took 773 s")
LAYERS = Slope(
    "how its layers grow with n", 1.19, "exponent", "performance.md",
    "| layer-wise embedding, s | 2.4 | 8.0 | 123 | n^1.19 |",
)  # fmt: skip
_OWN = "| of that its own, GiB | 1.0 | 1.1 | 2.2 | |"
OWN = Slope("memory of its own, 100,000 images", 1.1, "GiB", "performance.md", _OWN)
OWN_MILLION = Slope("the same, a million", 2.2, "GiB", "performance.md", _OWN)
_RESIDENT = "| its peak of resident memory, GiB (at most 6 is the aim) | 1.3 | 1.8 | 5.0 | |"
RESIDENT = Slope("with mapped files, 100,000 images", 1.8, "GiB", "performance.md", _RESIDENT)
RESIDENT_MILLION = Slope("the same, a million", 5.0, "GiB", "performance.md", _RESIDENT)
ANSWERS = Slope(
    "answers at 100,000 images, HNSW, eight clients, clients included", 611 / 2, "answers/s and core",
    "performance.md", "| eight clients, idle | 611 |", 0.5,
)  # fmt: skip
SNAPSHOT = Slope("a snapshot", 14_800, "bytes an image", "operations.md", "all, with the model | 14,800 |")
VECTORS = Slope("`embeddings.npy`", 3_140, "bytes an image", "operations.md", "| `embeddings.npy` | 3,140 |")
INDEX = Slope("`index.faiss`", 272, "bytes an image", "operations.md", "| `index.faiss` | 272 |")
RECORDS = Slope("`records/`", 180, "bytes an image", "operations.md", "| `records/` | 180 |")
CODED_INDEX = Slope(
    "codes of `index.ivfpq.faiss`, in each worker", 205, "bytes an image", "operations.md",
    "217 to 205 bytes an image",
)  # fmt: skip
NEAR_CODES = Slope(
    "codes of `neighbours.faiss`, in each worker", 72, "bytes an image", "operations.md",
    "76 to 72 for the codes of the index of neighbours",
)  # fmt: skip
IDS = Slope(
    "ids and where they are, in each worker", 300, "bytes an image", "operations.md",
    "some 300 bytes an image for its id",
)  # fmt: skip
FEATURES = Slope("features", 5_120, "bytes an image", "operations.md", "5,120 bytes of features")
CATALOGUE = Slope("`catalog.sqlite`", 200, "bytes an image", "operations.md", "200 bytes in `catalog.sqlite`")
CODES = Slope("codes of preset `hash`", 48, "bytes an image", "scale.md", "its codes are 48 bytes an image")

SLOPES = (
    FLOAT, INT8, TRAINING, TRAINING_MILLION, REINDEX, REINDEX_LINKS, LAYERS, OWN, OWN_MILLION, RESIDENT,
    RESIDENT_MILLION, ANSWERS, SNAPSHOT, VECTORS, INDEX, RECORDS, IDS, NEAR_CODES, CODED_INDEX, FEATURES,
    CATALOGUE, CODES,
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
    states_held: float = 3


def growth(images: int, measured_at: int = MEASURED_AT) -> float:
    """How much longer a path through an HNSW index is than where it was measured: ln(n) / ln(measured_at)."""
    return math.log(images) / math.log(measured_at)


def line(small: Slope, large: Slope, images: int) -> float:
    """What lies on the line through a figure of 100,000 images and one of a million."""
    return small.value + (large.value - small.value) * (images - MEASURED_AT) / (MILLION - MEASURED_AT)


def encode_core_seconds(images: int, slope: Slope) -> float:
    """Linear: each picture for itself."""
    return images / slope.value


def training_core_seconds(images: int) -> float:
    """What does not depend on the catalogue, and what does, in a straight line."""
    return line(TRAINING, TRAINING_MILLION, images)


def reindex_core_seconds(images: int) -> float:
    """From the million on as the layers grew up to it: the one large step whose method is the same below."""
    return float(REINDEX.value * (images / MILLION) ** LAYERS.value)


def linking_core_seconds(images: int) -> float:
    """Where `auto` takes HNSW: n log n, by the parts that search and build it."""
    return REINDEX_LINKS.value * images / MILLION * growth(images, MILLION)


def answers_a_core(images: int) -> float:
    """Answers a second and core, where what a search reads is in memory: they fall with log n."""
    return ANSWERS.value / growth(images)


def searched_bytes(images: int) -> float:
    """What searches read with HNSW, so what a replica should have memory for. Linear."""
    return images * (VECTORS.value + INDEX.value + RECORDS.value)


def worker_bytes(images: int, codes: float = 0.0) -> float:
    """What each worker holds for itself of a snapshot. codes: bytes an image of an index that is loaded."""
    return images * (IDS.value + NEAR_CODES.value + codes)


def reindex_bytes(images: int, small: Slope = OWN, large: Slope = OWN_MILLION) -> float:
    """Memory that a reindex cannot do without; of RESIDENT and RESIDENT_MILLION, with the files it maps."""
    return _GIB * line(small, large, images)


def replica_cores(images: int, assumed: Assumed) -> float:
    """Cores that answer what is asked a second."""
    return assumed.answers_a_second / answers_a_core(images)


Figure = tuple[str, str, Callable[[int], str]]


def figures(assumed: Assumed) -> list[Figure]:
    """(what, formula, shown for so many images), a row of the table each."""
    cores, keep, asked = assumed.machine_cores, assumed.kept_snapshots, assumed.answers_a_second
    held = assumed.states_held
    aside = FEATURES.value + CATALOGUE.value + assumed.thumbnail_bytes
    price = f"core-hours · ${assumed.core_hour:g}"
    spent = f"core-hours / hours on {cores:g} cores at best"
    a_core = f"{ANSWERS.value:g} ÷ g"

    def hours(core_seconds: Callable[[int], float]) -> Callable[[int], str]:
        return lambda n: f"{_number(core_seconds(n) / _HOUR)} / {_number(core_seconds(n) / _HOUR / cores)}"

    def a_month(n: int) -> float:
        an_hour = replica_cores(n, assumed) * assumed.core_hour
        memory = searched_bytes(n) + held * worker_bytes(n)
        return _MONTH_HOURS * (an_hour + memory / _GB * assumed.memory_gb_hour)

    def encoding(slope: Slope) -> Callable[[int], float]:
        return lambda n: encode_core_seconds(n, slope)

    def money(core_seconds: Callable[[int], float]) -> Callable[[int], str]:
        return lambda n: _money(core_seconds(n) / _HOUR * assumed.core_hour)

    def on_line(small: Slope, large: Slope, unit: str) -> str:
        per = (large.value - small.value) / (MILLION - MEASURED_AT) * MILLION
        return f"{small.value:g} {unit} + {per:.3g} {unit} · (n - {MEASURED_AT:,}) ÷ {MILLION:,}"

    def linear(slope: float) -> tuple[str, Callable[[int], str]]:
        return f"{slope:,g} n", lambda n: _bytes(slope * n)

    def of_worker(codes: float) -> tuple[str, Callable[[int], str]]:
        per = worker_bytes(1, codes)
        return (
            f"{per:,g} n / {held:g} · {per:,g} n",
            lambda n: f"{_bytes(per * n)} / {_bytes(held * per * n)}",
        )

    return [
        (f"encoding once, float32: {spent}", f"n ÷ {FLOAT.value:g}", hours(encoding(FLOAT))),
        (f"encoding once, eight bits: {spent}", f"n ÷ {INT8.value:g}", hours(encoding(INT8))),
        (
            f"training, preset `default`: {spent}",
            on_line(TRAINING, TRAINING_MILLION, "s"),
            hours(training_core_seconds),
        ),
        (
            f"full reindex, codes: {spent}",
            f"{REINDEX.value:g} s · (n ÷ {MILLION:,})^{LAYERS.value:g}",
            hours(reindex_core_seconds),
        ),
        (
            f"full reindex, HNSW: {spent}",
            f"{REINDEX_LINKS.value:,g} s · n ÷ {MILLION:,} · ln(n) ÷ ln({MILLION:,})",
            hours(linking_core_seconds),
        ),
        (
            "memory of a reindex with codes, its own",
            on_line(OWN, OWN_MILLION, "GiB"),
            lambda n: _bytes(reindex_bytes(n)),
        ),
        (
            "the same with the pages of files",
            on_line(RESIDENT, RESIDENT_MILLION, "GiB"),
            lambda n: _bytes(reindex_bytes(n, RESIDENT, RESIDENT_MILLION)),
        ),
        ("a snapshot", *linear(SNAPSHOT.value)),
        ("beside it on the writer: features, catalogue, thumbnails", *linear(aside)),
        (f"{keep:g} snapshots in the store", *linear(keep * SNAPSHOT.value)),
        ("disk of a replica: one snapshot and the next", *linear(2 * SNAPSHOT.value)),
        ("memory of a replica, HNSW: files that searches read", *linear(searched_bytes(1))),
        ("the same with codes, vectors left on the disk", *linear(RECORDS.value)),
        ("the same with preset `hash`", *linear(CODES.value + RECORDS.value)),
        (
            f"and for each worker, HNSW or preset `hash`: one snapshot / {held:g} held",
            *of_worker(0.0),
        ),
        (f"and for each worker, codes: one snapshot / {held:g} held", *of_worker(CODED_INDEX.value)),
        ("answers a second and core, HNSW", a_core, lambda n: _number(answers_a_core(n))),
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
        ("cost of a full reindex, codes", price, money(reindex_core_seconds)),
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
