"""The catalogue against a plain dictionary, over many random histories."""

import shutil
import tempfile
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import get_args

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from graph_store.catalog import Catalog
from graph_store.image_table import ImageTable
from graph_store.records import ImageRecord, Split, Tag

ids = st.sampled_from(["a", "b", "c", "ü/ñ.jpg", "🦊"])
tags = st.builds(
    Tag,
    st.sampled_from(["dog", "DOG", " Dog ", "straße", "STRASSE", "red  sofa", "e\u0301", "É", "x\x00y"]),
    st.floats(min_value=1e-6, max_value=10, allow_nan=False),
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=5)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
drafts = st.builds(
    ImageRecord,
    id=ids,
    path=st.none() | st.text(max_size=5),
    tags=st.lists(tags, max_size=4).map(tuple),
    split=st.sampled_from(["train", "test"]),
    caption=st.none() | st.text(max_size=5),
    attributes=st.dictionaries(st.text(max_size=3), values, max_size=2),
    fingerprint=st.none() | st.text(max_size=5),
)


def key_of(name: str) -> str:
    return unicodedata.normalize("NFC", " ".join(unicodedata.normalize("NFC", name).split()).casefold())


class CatalogAgainstADictionary(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.catalog = Catalog.open(self.directory / "catalog.sqlite", create=True)
        self.model: dict[str, ImageRecord] = {}
        self.spellings: dict[str, str] = {}
        self.rows_used = 0
        self.revision = 0
        self.changed_at: dict[str, int] = {}

    def changed(self, image_id: str) -> None:
        self.revision += 1
        self.changed_at[image_id] = self.revision

    def teardown(self) -> None:
        self.catalog.close()
        shutil.rmtree(self.directory)

    @rule(batch=st.lists(drafts, max_size=4))
    def upsert(self, batch: list[ImageRecord]) -> None:
        first = self.catalog.next_row()
        numbered = [replace(draft, row=first + i) for i, draft in enumerate(batch)]
        self.catalog.upsert(numbered)
        latest: dict[str, ImageRecord] = {}
        for record in numbered:
            latest[record.id] = record
        for record in latest.values():
            merged: dict[str, float] = {}
            for tag in record.tags:
                key = key_of(tag.name)
                spelling = " ".join(unicodedata.normalize("NFC", tag.name).split())
                self.spellings.setdefault(key, spelling)
                merged[key] = max(merged.get(key, 0.0), tag.weight)
            kept = tuple(Tag(self.spellings[key], weight) for key, weight in merged.items())
            self.model[record.id] = replace(record, tags=kept)
            self.rows_used = max(self.rows_used, record.row + 1)
            self.changed(record.id)

    @rule(doomed=st.lists(ids, max_size=3))
    def delete(self, doomed: list[str]) -> None:
        expected = len(set(doomed) & set(self.model))
        assert self.catalog.delete(doomed) == expected
        for image_id in dict.fromkeys(doomed):
            if self.model.pop(image_id, None) is not None:
                self.changed(image_id)

    @rule()
    def begin_anew(self) -> None:
        self.catalog.begin_anew()
        if not self.model:
            self.rows_used = 0

    @rule()
    def reopen(self) -> None:
        self.catalog.close()
        self.catalog = Catalog.open(self.directory / "catalog.sqlite")

    @invariant()
    def both_hold_the_same(self) -> None:
        by_row = sorted(self.model.values(), key=lambda record: record.row)
        assert list(self.catalog.records()) == by_row
        assert self.catalog.find(self.model) == self.model
        assert self.catalog.next_row() == self.rows_used
        counts: dict[str, int] = {}
        for record in by_row:
            for tag in record.tags:
                counts[tag.name] = counts.get(tag.name, 0) + 1
        assert self.catalog.tag_counts() == counts

    @invariant()
    def its_columns_are_those_of_its_records(self) -> None:
        for split in get_args(Split):
            of_split = [record for record in self.catalog.records() if record.split == split]
            assert list(self.catalog.table(split).facts()) == list(ImageTable.of(of_split).facts())

    @invariant()
    def changes_since_any_revision_are_known(self) -> None:
        assert self.catalog.revision() == self.revision
        for since in {0, self.revision // 2, self.revision}:
            changes = self.catalog.changes(since)
            later = {i: at for i, at in self.changed_at.items() if at > since}
            assert {i: change.revision for i, change in changes.by_id.items()} == later
            assert all(change.record == self.model.get(i) for i, change in changes.by_id.items())
            assert self.catalog.count_changes(since) == len(later)


TestCatalogAgainstADictionary = CatalogAgainstADictionary.TestCase
TestCatalogAgainstADictionary.settings = settings(max_examples=30, stateful_step_count=15, deadline=None)
