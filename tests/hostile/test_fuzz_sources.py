"""Sources without sense: every row is an item or a named skip, and no file brings an ingestion down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ingest.items import SourceItem
from app.ingest.keywords import embedded_keywords, xmp_keywords
from app.ingest.source import open_source
from app.ingest.sources import lines
from graph_store.errors import BadInput, ImsageError
from graph_store.records import Skip
from tests.hostile.corpus import noise, saved
from tests.hostile.fuzzing import fuzzing

TEXTS = st.sampled_from(
    ["a.png", "", "\0", "\ud800", "../../etc/passwd", "/etc/passwd", "ü" * 300, "x" * 4000, "1e999"]
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, st.text(max_size=12))
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)
TAGS = st.lists(
    TEXTS | st.fixed_dictionaries({"name": TEXTS}, optional={"weight": SCALARS}) | JUNK, max_size=4
)
ROWS = st.fixed_dictionaries(
    {},
    optional={
        "image": TEXTS | JUNK,
        "id": TEXTS | JUNK,
        "tags": TAGS | JUNK,
        "split": st.sampled_from(["train", "test"]) | JUNK,
        "caption": JUNK,
        "more": JUNK,
    },
)


def read(path: Path, format: str) -> list[SourceItem | Skip]:
    """All that a source yields; a file that is none as a whole may be refused, in plain words."""
    try:
        source = open_source(path, format=format)
        found = list(source)
        assert source.count() is not None
    except ImsageError as error:
        assert error.message
        return []
    for each in found:
        assert isinstance(each, SourceItem) or (isinstance(each, Skip) and each.reason)
        if isinstance(each, SourceItem):
            assert each.id.strip() and "\0" not in each.id and each.id.encode()
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sources")


@fuzzing(150)
@given(rows=st.lists(ROWS | JUNK, min_size=1, max_size=4))
def test_every_line_of_jsonl_is_an_item_or_a_named_skip(folder: Path, rows: list[Any]) -> None:
    path = folder / "tags.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert len(read(path, "jsonl")) == len(rows)


@fuzzing(150)
@given(data=st.binary(max_size=300), format=st.sampled_from(["jsonl", "csv", "coco"]))
def test_no_bytes_break_a_source(folder: Path, data: bytes, format: str) -> None:
    path = folder / f"bytes.{format}"
    path.write_bytes(data)
    read(path, format)


CELLS = st.one_of(
    TEXTS, st.text(max_size=12), st.sampled_from(['"', '""', '"a', 'a"b', "\r", "\n", "a,b|c", "-0", "1_0"])
)


@fuzzing(150)
@given(
    header=st.lists(
        st.sampled_from(["image", "id", "tags", "split", "caption", "x", "", "IMAGE"]), max_size=5
    ),
    rows=st.lists(st.lists(CELLS, max_size=6), max_size=5),
)
def test_no_cells_break_a_csv(folder: Path, header: list[str], rows: list[list[str]]) -> None:
    text = "\n".join(",".join(row) for row in [header, *rows])
    path = folder / "rows.csv"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    read(path, "csv")


@fuzzing(150)
@given(
    images=st.lists(
        st.fixed_dictionaries({"id": SCALARS}, optional={"file_name": TEXTS | JUNK}) | JUNK, max_size=3
    ),
    annotations=st.lists(
        st.fixed_dictionaries({}, optional={"image_id": SCALARS, "category_id": SCALARS, "caption": JUNK})
        | JUNK,
        max_size=4,
    ),
    categories=st.lists(st.fixed_dictionaries({"id": SCALARS, "name": JUNK}) | JUNK, max_size=3) | JUNK,
)
def test_no_annotations_break_a_coco_file(
    folder: Path, images: Any, annotations: Any, categories: Any
) -> None:
    path = folder / "instances_x.json"
    document = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(document), encoding="utf-8")
    found = read(path, "coco")
    outside = [each for each in found if isinstance(each, SourceItem) and not _is_below(each, folder)]
    assert outside == []


def _is_below(item: SourceItem, folder: Path) -> bool:
    return item.image is not None and item.image.resolve().is_relative_to(folder.resolve())


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a/../../b.png"])
def test_a_coco_file_name_that_leads_out_of_its_folder_is_skipped(tmp_path: Path, name: str) -> None:
    path = tmp_path / "in" / "x.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"images": [{"id": 1, "file_name": name}], "annotations": []}))
    (skip,) = list(open_source(path, format="coco"))
    assert isinstance(skip, Skip) and "leads out" in skip.reason and skip.item == name


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_a_line_without_end_is_skipped_by_its_number(
    tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", 100)
    long = "x" * 1000
    rows = {
        "jsonl": ['{"image": "a.png"}', f'{{"image": "{long}"}}', '{"image": "b.png"}'],
        "csv": ["image,tags", "a.png,", f"{long},", "b.png,"],
    }[format]
    path = tmp_path / f"rows.{format}"
    path.write_text("\n".join(rows) + "\n")
    first, skip, last = list(open_source(path, format=format))
    assert isinstance(first, SourceItem) and isinstance(last, SourceItem) and last.id == "b.png"
    assert isinstance(skip, Skip) and "longer than 100" in skip.reason
    assert skip.line == rows.index(next(row for row in rows if long in row)) + 1 and last.line == len(rows)


def test_a_header_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", 100)
    path = tmp_path / "rows.csv"
    path.write_text("image," * 100)
    with pytest.raises(BadInput, match="header"):
        list(open_source(path, format="csv"))


MARKUP = st.lists(
    st.sampled_from(
        [
            '<x xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">',
            "</x>",
            "<dc:subject>",
            "</dc:subject>",
            "<rdf:Bag>",
            "</rdf:Bag>",
            "<rdf:li>",
            "</rdf:li>",
            "word",
            "&amp;",
            "&e;",
            "<!DOCTYPE x>",
            "<![CDATA[",
            "]]>",
            "\0",
        ]
    ),
    max_size=14,
)


@fuzzing(150)
@given(markup=MARKUP, encoding=st.sampled_from(["utf-8", "utf-16", "utf-32", "latin-1"]))
def test_no_markup_breaks_the_reading_of_keywords(markup: list[str], encoding: str) -> None:
    assert isinstance(xmp_keywords("".join(markup).encode(encoding)), list)


JPEG = saved(noise(size=(8, 8)), "JPEG")


@fuzzing(150)
@given(
    blocks=st.lists(st.tuples(st.sampled_from([0xE1, 0xE2, 0xED, 0xFE]), st.binary(max_size=80)), max_size=4)
)
def test_no_block_of_a_jpeg_breaks_the_reading_of_keywords(blocks: list[tuple[int, bytes]]) -> None:
    heads = {
        0xE1: b"http://ns.adobe.com/xap/1.0/\0",
        0xE2: b"ICC_PROFILE\0\x01\x01",
        0xED: b"Photoshop 3.0\x008BIM\x04\x04\0\0",
    }
    more = b"".join(
        b"\xff"
        + bytes([kind])
        + (len(heads.get(kind, b"") + body) + 2).to_bytes(2, "big")
        + heads.get(kind, b"")
        + body
        for kind, body in blocks
    )
    assert isinstance(embedded_keywords(JPEG[:2] + more + JPEG[2:]), list)
