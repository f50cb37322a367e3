from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ingest.items import SourceItem
from app.ingest.source import open_source
from app.ingest.sources import lines
from app.ingest.sources.coco import CocoSource
from app.ingest.sources.csv import CsvSource, parse_row
from app.ingest.sources.folder import FolderSource
from app.ingest.sources.jsonl import JsonlSource, parse_line
from app.ingest.sources.listed_folder import ListedFolder
from graph_store.errors import BadInput, Exhausted, UnknownName, WrongUsage
from graph_store.records import Skip, Tag
from tests.ingest.conftest import Draw, write_rows

PATH = Path("/somewhere/tags.jsonl")


def row(**values: Any) -> SourceItem | Skip:
    return parse_line(orjson.dumps(values), PATH, 7)


def item(found: SourceItem | Skip) -> SourceItem:
    assert isinstance(found, SourceItem), found
    return found


def skip(found: SourceItem | Skip) -> Skip:
    assert isinstance(found, Skip), found
    return found


def names(tags: Iterable[Tag]) -> list[str]:
    return [tag.name for tag in tags]


# -- tags.jsonl


def test_a_full_row_is_read_with_its_weights_and_attributes() -> None:
    found = item(
        row(
            image="a/1.jpg",
            tags=["dog", {"name": "park", "weight": 0.25}, {"name": "sun"}],
            split="test",
            caption="a dog",
            counts={"dog": 2},
            price=3.5,
        )
    )

    assert found.id == "a/1.jpg"
    assert found.image == Path("/somewhere/a/1.jpg")
    assert found.tags == (Tag("dog"), Tag("park", 0.25), Tag("sun"))
    assert (found.split, found.caption, found.line) == ("test", "a dog", 7)
    assert found.attributes == {"counts": {"dog": 2}, "price": 3.5}


def test_the_path_may_be_absolute_and_the_id_its_own() -> None:
    found = item(row(image="/else/where.jpg", id="x"))

    assert (found.id, found.image) == ("x", Path("/else/where.jpg"))
    assert item(row(id=7)).id == "7"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "neither"),
        ({"image": 3}, "not a path"),
        ({"image": ""}, "not a path"),
        ({"image": "a\0b"}, "not a path"),
        ({"image": "a", "id": " "}, "id is empty"),
        ({"image": "a", "id": [1]}, "id is a list"),
        ({"image": "a", "id": "x" * 3000}, "3000 characters"),
        ({"image": "a", "tags": "dog"}, "tags are a string"),
        ({"image": "a", "tags": [3]}, "neither a string"),
        ({"image": "a", "tags": [{"name": "x", "wieght": 1}]}, "neither a string"),
        ({"image": "a", "tags": [{"name": "x", "weight": 0}]}, "not above 0"),
        ({"image": "a", "tags": [{"name": "x", "weight": 1e39}]}, "not between 1e-09 and 1e+09"),
        ({"image": "a", "tags": [{"name": "x", "weight": 1e-50}]}, "not between 1e-09 and 1e+09"),
        ({"image": "a", "tags": [{"name": "x", "weight": True}]}, "true or false"),
        ({"image": "a", "split": "validation"}, "'validation'"),
        ({"image": "a", "caption": ["b"]}, "caption is a list"),
    ],
)
def test_a_bad_row_is_skipped_with_file_line_and_reason(values: dict[str, Any], reason: str) -> None:
    found = skip(row(**values))

    assert (found.source, found.line) == (str(PATH), 7)
    assert reason in found.reason


@pytest.mark.parametrize("number", ["18446744073709551616", "-9223372036854775809", "1" * 300])
def test_a_row_with_a_whole_number_that_cannot_be_stored_as_it_is_is_skipped(number: str) -> None:
    text = f'{{"image": "a", "sku": [{{"n": {number}}}]}}'.encode()
    assert "64 bits" in skip(parse_line(text, PATH, 7)).reason


@pytest.mark.parametrize(
    "text",
    ["18446744073709551615", "-9223372036854775808", '"18446744073709551616"', "18446744073709551616.0"],
)
def test_what_is_no_whole_number_beyond_64_bits_is_kept_as_it_is(text: str) -> None:
    found = item(parse_line(f'{{"image": "a", "sku": {text}}}'.encode(), PATH, 7))
    assert found.attributes == {"sku": json.loads(text)}


@pytest.mark.parametrize(
    "text", [b"{", b"[1]", b'"x"', b"{'a': 1}", b'{"image": NaN}', b"\xff\xfe", b"[" * 5000]
)
def test_a_line_that_is_no_object_is_skipped(text: bytes) -> None:
    assert "the line is not" in skip(parse_line(text, PATH, 1)).reason


def test_a_tag_that_is_too_long_or_empty_costs_only_itself() -> None:
    found = item(row(image="a", tags=["ok", "x" * 301, "y" * 300, "  ", "北京 🐕"]))

    assert names(found.tags) == ["ok", "y" * 300, "北京 🐕"]
    assert ["301 characters" in note.reason or "empty" in note.reason for note in found.dropped] == [
        True,
        True,
    ]


def test_lines_are_numbered_as_an_editor_does_and_empty_ones_are_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "tags.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"image": "a"}\r\n\r\n{"image": "b"}\n  \nnonsense')

    found = list(JsonlSource(path))

    assert [one.line for one in found] == [1, 3, 5]
    assert isinstance(found[2], Skip)
    assert JsonlSource(path).count() == 3


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
keys = st.sampled_from(["image", "id", "tags", "split", "caption", "other"])


@given(st.dictionaries(keys, json_values))
def test_any_json_object_is_an_item_or_a_skip(values: dict[str, Any]) -> None:
    assert isinstance(parse_line(json.dumps(values).encode(), PATH, 1), SourceItem | Skip)


@given(st.binary(min_size=1, max_size=80))
def test_any_line_is_an_item_or_a_skip(text: bytes) -> None:
    assert isinstance(parse_line(text, PATH, 1), SourceItem | Skip)


# -- CSV


def csv(tmp_path: Path, text: str | bytes) -> list[SourceItem | Skip]:
    path = tmp_path / "tags.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(CsvSource(path))


def test_csv_tags_are_split_on_bars_and_commas(tmp_path: Path) -> None:
    first, second = csv(tmp_path, 'image,tags\na.jpg,dog|park\nb.jpg,"cat, sofa|red"\n')

    assert item(first).image == tmp_path / "a.jpg"
    assert names(item(first).tags) == ["dog", "park"]
    assert names(item(second).tags) == ["cat", "sofa", "red"]


def test_other_csv_columns_are_attributes_and_plain_numbers_are_numbers(tmp_path: Path) -> None:
    (found,) = csv(
        tmp_path,
        "\ufeffImage,price,code,year,note,id,split,caption\na.jpg,3.50,007,1999,,x,test,A dog\n",
    )

    assert item(found).attributes == {"price": 3.5, "code": "007", "year": 1999}
    assert (item(found).id, item(found).split, item(found).caption) == ("x", "test", "A dog")


def test_bad_csv_rows_are_skipped_by_line_and_the_rest_is_read(tmp_path: Path) -> None:
    found = csv(
        tmp_path, b'image,caption\na.jpg,x\nb.jpg,x,y,z\n"c"d,x\n\xff.jpg,x\n,x\n\ne.jpg,"two\nlines"\n'
    )

    assert [(one.line, isinstance(one, Skip)) for one in found] == [
        (2, False),
        (3, True),
        (4, True),
        (5, True),
        (6, True),
        (8, False),
    ]
    assert item(found[-1]).caption == "two\nlines"


def told(found: list[SourceItem | Skip]) -> list[tuple[int | None, str]]:
    """The line of each, and the id of an item or what a skip says first of the reason."""
    return [(one.line, one.id if isinstance(one, SourceItem) else one.reason[:24]) for one in found]


UNCLOSED, NOT_CSV = "a quote is not closed on", "the row is not valid CSV"


def test_a_quote_that_is_not_closed_costs_a_csv_its_own_line_alone(tmp_path: Path) -> None:
    rows = "".join(f"{number}.jpg,cat\n" for number in range(20_000))  # longer than a cell may be

    found = csv(tmp_path, f'image,tags\na.jpg,"dog\n{rows}z.jpg,"cow\n')

    assert told(found) == [
        (2, UNCLOSED),
        *((number + 3, f"{number}.jpg") for number in range(20_000)),
        (20_003, NOT_CSV),
    ]
    assert skip(found[0]).item == 'a.jpg,"dog' and "line 2 " in skip(found[0]).reason
    assert names(item(found[1]).tags) == ["cat"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_that_two_stray_quotes_would_make_tags_of_are_read_as_rows(tmp_path: Path, end: str) -> None:
    text = end.join(["image,tags", 'a.jpg,"dog', "b.jpg,cat", 'c.jpg,tree"', "d.jpg,sun", ""])

    found = csv(tmp_path, text)

    assert told(found) == [(2, UNCLOSED), (3, "b.jpg"), (4, "c.jpg"), (5, "d.jpg")]


def test_a_row_that_lacks_its_last_cells_is_not_hidden_in_the_caption_above(
    tmp_path: Path, draw: Draw
) -> None:
    draw("b.jpg")
    text = 'image,caption,year\na.jpg,"two\nb.jpg,cat\nc.jpg,tree"\n'

    assert told(csv(tmp_path, text)) == [(2, UNCLOSED), (3, "b.jpg"), (4, "c.jpg")]


@pytest.mark.parametrize("column", ["caption", "place"])
def test_a_line_break_in_a_caption_or_an_attribute_stays_unless_it_hides_a_picture(
    tmp_path: Path, draw: Draw, column: str
) -> None:
    draw("b.jpg")
    text = f'image,{column}\na.jpg,"two\nlines, b.jpg\nb.jpg"\nc.jpg,"one\nb.jpg,two\nd.jpg,three"\n'

    found = csv(tmp_path, text)

    assert told(found) == [(2, "a.jpg"), (5, UNCLOSED), (6, "b.jpg"), (7, "d.jpg")]
    kept = item(found[0])
    assert (kept.caption or kept.attributes[column]) == "two\nlines, b.jpg\nb.jpg"


def test_a_line_that_is_too_long_inside_a_quote_is_named_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", 40)

    found = csv(tmp_path, f'image,tags\na.jpg,"dog\n{"x" * 60}\nb.jpg,cat\n')

    assert told(found) == [(2, UNCLOSED), (3, NOT_CSV), (4, "b.jpg")]
    assert "longer than" in skip(found[1]).reason


def test_a_header_that_takes_the_first_picture_into_it_is_refused(tmp_path: Path, draw: Draw) -> None:
    draw("a.jpg")
    with pytest.raises(BadInput, match="quote is not closed on the first line"):
        csv(tmp_path, 'image,"tags\na.jpg,dog\nb.jpg,"\n')


def test_empty_columns_at_the_right_edge_of_a_csv_have_no_name_to_be_twice(tmp_path: Path) -> None:
    (found,) = csv(tmp_path, "image,tags,,\na.jpg,dog,,\n")

    assert names(item(found).tags) == ["dog"] and item(found).attributes == {}


def test_a_csv_without_its_header_is_refused_with_the_line_to_write(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="image,tags"):
        csv(tmp_path, "a.jpg,dog\n")
    with pytest.raises(BadInput, match="column"):
        csv(tmp_path, "")
    with pytest.raises(BadInput, match="twice"):
        csv(tmp_path, "image,tags,tags\n")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("first", ["", "sep={}\r\n", '"sep={}"\n'])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_is_read_as_spreadsheets_of_any_language_write_it(
    tmp_path: Path, delimiter: str, first: str, encoding: str
) -> None:
    rows = [["Image", "tags", "size"], ["ä.jpg", "dog|cat", "1"], ["b.jpg", '"a;b"', "2"]]
    text = first.format(delimiter) + "".join(f"{delimiter.join(row)}\r\n" for row in rows)

    one, other = csv(tmp_path, text.encode(encoding))

    assert item(one).image == tmp_path / "ä.jpg" and item(one).attributes == {"size": 1}
    assert names(item(one).tags) == ["dog", "cat"] and names(item(other).tags) == ["a;b"]
    assert item(one).line == (3 if first else 2)


def test_a_csv_in_another_alphabet_is_refused_with_how_to_save_it(tmp_path: Path) -> None:
    for text in ("image,Größe\na.jpg,5\n".encode("latin-1"), "image,tags\na.jpg,x\n".encode("utf-16-le")):
        with pytest.raises(BadInput, match=r"not UTF-8 text.*CSV UTF-8"):
            csv(tmp_path, text)


@pytest.mark.parametrize(
    "row",
    ["a.jpg,do".encode("utf-16-le") + b"\x00\xd8" + "g\n".encode("utf-16-le"), b"x"],
    ids=["half a pair", "cut inside a character"],
)
def test_a_row_of_a_csv_in_damaged_utf16_is_skipped_and_not_altered(tmp_path: Path, row: bytes) -> None:
    good = "image,tags\nb.jpg,dog\n".encode("utf-16")

    one, other = csv(tmp_path, good + row)

    assert names(item(one).tags) == ["dog"]
    assert "not UTF-8 text" in skip(other).reason


def test_an_address_in_place_of_a_path_is_skipped_as_what_it_is(tmp_path: Path) -> None:
    address = "HTTPS://pictures.example/a.jpg"
    (found,) = csv(tmp_path, f"image,tags\n{address},dog\n")

    for one in (found, row(image=address), row(image=address, id="a")):
        assert "the image is an address" in skip(one).reason
    assert (skip(found).item, skip(row(image=address, id="a")).item) == (address, "a")
    assert isinstance(row(image="https.jpg"), SourceItem)


@given(st.lists(st.text(max_size=20), max_size=8))
def test_any_csv_row_is_an_item_or_a_skip(cells: list[str]) -> None:
    header = ["image", "tags", "id", "split", "caption", "other"]
    assert isinstance(parse_row(header, cells, PATH, 2), SourceItem | Skip)


@given(st.binary(max_size=200))
def test_any_bytes_below_a_csv_header_are_items_or_skips(
    tmp_path_factory: pytest.TempPathFactory, body: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(b"image,tags\n" + body)
    assert all(isinstance(one, SourceItem | Skip) for one in CsvSource(path))


# -- COCO

COCO: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "one.jpg"}, {"id": 2, "file_name": "two.jpg"}],
    "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}],
    "annotations": [
        {"id": 10, "image_id": 1, "category_id": 18},
        {"id": 11, "image_id": 1, "category_id": 18},
        {"id": 12, "image_id": 1, "category_id": 3},
    ],
}
CAPTIONS: dict[str, Any] = {
    "images": COCO["images"],
    "annotations": [
        {"id": 1, "image_id": 2, "caption": " A car. "},
        {"id": 2, "image_id": 2, "caption": "B"},
    ],
}


def test_coco_objects_become_tags_and_counts(tmp_path: Path) -> None:
    path = tmp_path / "instances_x.json"
    path.write_text(json.dumps(COCO))

    one, two = map(item, CocoSource(path, tmp_path / "pictures"))

    assert one.id == "one.jpg" and one.image == tmp_path / "pictures" / "one.jpg"
    assert names(one.tags) == ["dog", "car"]
    assert one.attributes == {"coco_id": 1, "counts": {"dog": 2, "car": 1}}
    assert two.tags == () and two.attributes == {"coco_id": 2}


@pytest.mark.parametrize("strange", [[1], {"a": 1}, None, 1.5])
def test_a_coco_image_whose_id_is_no_id_costs_the_others_nothing(tmp_path: Path, strange: object) -> None:
    path = tmp_path / "coco.json"
    images = [*COCO["images"], {"id": strange, "file_name": "strange.jpg"}]
    path.write_text(json.dumps({**COCO, "images": images}))

    one, *_ = list(CocoSource(path))

    assert names(item(one).tags) == ["dog", "car"]


def test_a_coco_captions_file_gives_captions_alone_and_beside_instances(tmp_path: Path) -> None:
    (tmp_path / "instances_x.json").write_text(json.dumps(COCO))
    (tmp_path / "captions_x.json").write_text(json.dumps(CAPTIONS))

    for name in ("captions_x.json", "instances_x.json"):
        two = item(list(CocoSource(tmp_path / name))[1])
        assert two.caption == "A car."
        assert two.attributes["captions"] == ["A car.", "B"]


def test_a_coco_object_with_a_caption_is_a_tag_and_a_caption(tmp_path: Path) -> None:
    path = tmp_path / "coco.json"
    objects = [
        {"id": 1, "image_id": 1, "category_id": 18, "caption": ""},
        {"id": 2, "image_id": 1, "category_id": 3, "caption": "A red car."},
        {"id": 3, "image_id": 2, "category_id": 99, "caption": "Nothing."},
    ]
    path.write_text(json.dumps({**COCO, "annotations": objects}))

    one, two, unknown = CocoSource(path)

    assert names(item(one).tags) == ["dog", "car"] and item(one).caption == "A red car."
    assert item(two).tags == () and item(two).caption == "Nothing."
    assert "'99'" in skip(unknown).reason


def test_coco_captions_of_a_file_without_categories_are_no_skips(tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    told = [{"id": 1, "image_id": 1, "category_id": 0, "caption": "A dog."}]
    path.write_text(json.dumps({**COCO, "categories": [], "annotations": told}))

    one, two = CocoSource(path)

    assert item(one).caption == "A dog." and item(two).tags == ()


def test_coco_annotations_that_fit_nothing_are_skipped_by_number(tmp_path: Path) -> None:
    strange = [
        {"id": 20, "image_id": 9, "category_id": 3},
        {"id": 21, "image_id": 1, "category_id": 99},
        {"id": 22, "image_id": [1], "category_id": 3},
        "text",
    ]
    images = [*COCO["images"], {"id": 3}, {"file_name": "x.jpg"}, 5]
    path = tmp_path / "coco.json"
    path.write_text(json.dumps({**COCO, "images": images, "annotations": [*COCO["annotations"], *strange]}))

    found = list(CocoSource(path))

    assert len(found) == CocoSource(path).count() == 9
    skips = [one for one in found if isinstance(one, Skip)]
    assert len(skips) == 7
    assert any("annotation 21" in one.item and "'99'" in one.reason for one in skips)


def test_a_coco_file_that_would_not_fit_into_memory_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "coco.json"
    with path.open("wb") as file:
        file.truncate(2**31 + 1)  # a hole: no byte of it is written
    with pytest.raises(BadInput, match=r"2,147,483,649 bytes.*tags\.jsonl"):
        CocoSource(path).count()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": [], "annotations": 3}', "nonsense"])
def test_a_json_file_that_is_not_coco_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "coco.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"coco\.json"):
        CocoSource(path).count()


# -- folder


def test_folder_names_and_texts_beside_the_pictures_are_tags(tmp_path: Path, draw: Draw) -> None:
    draw("animals/red fox/1.jpg")
    draw("animals/2.jpg")
    draw("3.jpg")
    (tmp_path / "animals" / "2.txt").write_text("snow, winter\n\n Iceland ", encoding="utf-8")
    (tmp_path / "3.jpg.txt").write_text("\ufeffbeach", encoding="utf-8")

    found = {one.id: names(one.tags) for one in map(item, FolderSource(tmp_path))}

    assert found == {
        "3.jpg": ["beach"],
        "animals/2.jpg": ["animals", "snow", "winter", "Iceland"],
        "animals/red fox/1.jpg": ["animals", "red fox"],
    }
    assert FolderSource(tmp_path).count() == 3


def test_a_text_whose_ending_is_in_capitals_holds_tags_too(tmp_path: Path, draw: Draw) -> None:
    draw("IMG_1.JPG"), draw("IMG_2.JPG")
    (tmp_path / "IMG_1.TXT").write_text("harbour")
    (tmp_path / "IMG_2.JPG.Txt").write_text("mole")

    found = {one.id: names(one.tags) for one in map(item, FolderSource(tmp_path))}

    assert found == {"IMG_1.JPG": ["harbour"], "IMG_2.JPG": ["mole"]}


def test_a_folder_that_cannot_be_read_is_skipped_by_name(
    tmp_path: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw("a/1.jpg"), draw("lost+found/2.jpg")
    closed, list_folder = {str(tmp_path / "lost+found")}, os.scandir

    def refusing(folder: str) -> Any:  # root, as whom tests may run, can read every folder
        if folder in closed:
            raise PermissionError(errno.EACCES, "Permission denied", folder)
        return list_folder(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    source = FolderSource(tmp_path)

    first, second = source

    assert skip(first).item == "lost+found" and "Permission denied" in skip(first).reason
    assert skip(first).source == str(tmp_path / "lost+found")
    assert item(second).id == "a/1.jpg" and source.count() == 2
    closed.add(str(tmp_path))
    with pytest.raises(BadInput, match="cannot be read"):
        list(FolderSource(tmp_path))


def test_no_folder_is_skipped_for_want_of_file_handles(
    tmp_path: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw("a/1.jpg")
    list_folder = os.scandir

    def refusing(folder: str) -> Any:
        if folder != str(tmp_path):
            raise OSError(errno.EMFILE, "Too many open files", folder)
        return list_folder(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(Exhausted):
        list(FolderSource(tmp_path))


def test_the_data_directory_is_no_part_of_a_folder_by_whatever_name(tmp_path: Path, draw: Draw) -> None:
    draw("source/1.jpg"), draw("source/data/blobs/2.jpg")
    (tmp_path / "source" / "linked").symlink_to(tmp_path / "source" / "data")

    source = open_source(tmp_path / "source", data_dir=tmp_path / "source" / "linked")

    assert [item(one).id for one in source] == ["1.jpg"]
    with pytest.raises(BadInput, match="data directory itself"):
        open_source(tmp_path / "source" / "data", data_dir=tmp_path / "source" / "linked")


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path, draw: Draw) -> None:
    for name in (".hidden.jpg", ".cache/1.jpg", "seen/1.jpg"):
        draw(name)

    assert [item(one).id for one in FolderSource(tmp_path)] == ["seen/1.jpg"]


def test_a_text_beside_no_picture_is_an_item_that_will_be_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")

    assert [item(one).id for one in FolderSource(tmp_path)] == ["notes.txt"]


def test_a_sidecar_that_is_no_text_skips_its_picture_by_name(tmp_path: Path, draw: Draw) -> None:
    draw("1.jpg")
    (tmp_path / "1.txt").write_bytes(b"\xff\xfe\x00")

    (found,) = FolderSource(tmp_path)

    assert skip(found).item == "1.jpg" and "UTF-8" in skip(found).reason


def test_linked_folders_are_followed_once(tmp_path: Path, draw: Draw) -> None:
    draw("source/a/1.jpg")
    draw("other/2.jpg")
    (tmp_path / "source" / "b").symlink_to(tmp_path / "other")
    (tmp_path / "source" / "a" / "up").symlink_to(tmp_path / "source")

    assert [item(one).id for one in FolderSource(tmp_path / "source")] == ["a/1.jpg", "b/2.jpg"]


def test_a_folder_is_read_under_its_own_name_though_a_link_to_it_sorts_first(
    tmp_path: Path, draw: Draw
) -> None:
    draw("source/b/deep/1.jpg")
    (tmp_path / "source" / "a").mkdir()
    (tmp_path / "source" / "a" / "link").symlink_to(tmp_path / "source" / "b" / "deep")
    (tmp_path / "source" / "also").symlink_to(tmp_path / "source" / "b")

    found = [one for one in FolderSource(tmp_path / "source") if isinstance(one, SourceItem)]

    assert [(one.id, names(one.tags)) for one in found] == [("b/deep/1.jpg", ["b", "deep"])]


def test_a_further_name_of_a_folder_is_skipped_by_name_unless_it_leads_back_up(
    tmp_path: Path, draw: Draw
) -> None:
    draw("all/2020/1.jpg")
    topics = tmp_path / "source" / "topic"
    topics.mkdir(parents=True)
    for name in ("cat", "dog"):
        (topics / name).symlink_to(tmp_path / "all" / "2020")
    (tmp_path / "all" / "2020" / "up").symlink_to(tmp_path / "source")
    source = FolderSource(tmp_path / "source")

    closed, found = source

    assert item(found).id == "topic/cat/1.jpg" and source.count() == 2
    assert skip(closed).item == "topic/dog"
    assert skip(closed).reason == "this folder was read already as topic/cat"


def test_a_file_name_that_is_no_unicode_is_skipped(tmp_path: Path, draw: Draw) -> None:
    picture = draw("1.jpg")
    picture.rename(tmp_path / "\udcff.jpg")

    (found,) = FolderSource(tmp_path)

    assert "Unicode" in skip(found).reason


# -- which form


def test_the_form_is_told_from_the_name(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.csv", "a.json", "a.ndjson"):
        (tmp_path / name).touch()

    kinds = [type(open_source(tmp_path / name)) for name in ("a.jsonl", "a.csv", "a.json", "a.ndjson", ".")]

    assert kinds == [JsonlSource, CsvSource, CocoSource, JsonlSource, FolderSource]


def test_a_folder_with_its_own_list_is_read_by_that_list(tmp_path: Path) -> None:
    write_rows(tmp_path / "tags.jsonl", [{"image": "a.jpg"}])

    assert isinstance(open_source(tmp_path), JsonlSource)
    assert isinstance(open_source(tmp_path, format="folder"), FolderSource)


def test_the_pictures_of_a_folder_that_its_list_does_not_name_are_counted_by_their_names(
    tmp_path: Path,
) -> None:
    for name in ("a.jpg", "sub/b.JPG", "sub/c.webp", "sub/b.txt", "read.me", ".hidden.jpg", "data/t.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    rows: list[dict[str, Any] | str] = [
        {"image": "sub/../a.jpg"},
        {"image": "elsewhere.jpg"},
        "no row",
        {"id": "without a picture"},
    ]
    write_rows(tmp_path / "tags.jsonl", rows)
    source = open_source(tmp_path, data_dir=tmp_path / "data")
    assert isinstance(source, ListedFolder)

    assert len(list(source)) == 4
    assert (source.listing, source.unlisted()) == (tmp_path / "tags.jsonl", 2)


def test_what_the_list_of_a_folder_leaves_out_is_not_told_where_the_folder_cannot_be_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(tmp_path / "tags.jsonl", [{"image": "a.jpg"}])
    source = open_source(tmp_path)
    assert isinstance(source, ListedFolder)

    def closed(top: str, onerror: Callable[[OSError], None]) -> Iterator[Any]:
        onerror(PermissionError(errno.EACCES, "Permission denied", top))
        return iter(())

    monkeypatch.setattr(os, "walk", closed)

    assert source.unlisted() is None


def test_a_source_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").touch()
    with pytest.raises(UnknownName, match="jsonl, csv, coco, folder"):
        open_source(tmp_path, format="xml")
    with pytest.raises(BadInput, match="does not exist"):
        open_source(tmp_path / "gone")
    with pytest.raises(BadInput, match="--format"):
        open_source(tmp_path / "a.xyz")
    with pytest.raises(BadInput, match="not a folder"):
        open_source(tmp_path / "a.xyz", format="folder")
    with pytest.raises(BadInput, match="not a file"):
        open_source(tmp_path, format="csv")
    with pytest.raises(WrongUsage, match="COCO"):
        open_source(tmp_path, images_dir=tmp_path)
