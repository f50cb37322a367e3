"""What a run of ingestion has done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from graph_store.errors import BadInput
from graph_store.records import Skip


@dataclass(frozen=True)
class Replaced:
    """The first stored picture that took the place of another under the same id; `before` is the file of that
    one, which is still there, or None where it was uploaded.
    """

    id: str
    before: str | None


@dataclass(frozen=True)
class Listing:
    """The list in a folder that said which of its pictures are read. `unlisted` files of the folder are named
    as pictures are and are not in it; None where that could not be told.
    """

    path: Path
    unlisted: int | None


@dataclass(frozen=True)
class IngestReport:
    """Every item that was seen is in exactly one of the three counts; __post_init__ holds it to that.

    `notes` are about images that were stored all the same, without a tag that could not be. `replaced` of the
    stored ones took the place of another file's picture or of an uploaded one; `first_replaced` is the first
    of them. `edited` of the stored ones had other tags or attributes, given to them over HTTP, in place of
    which those of the source are now; `first_edited` are the ids of the first few. `returned` of the stored
    ones had been removed over HTTP, and `first_returned` is the id of the first. `gone` pictures of the
    catalogue are not in the source any more, `first_gone` is the id of the first, and with `pruned` they were
    removed from the catalogue.
    """

    seen: int
    stored: int
    unchanged: int
    skipped: tuple[Skip, ...] = ()
    notes: tuple[Skip, ...] = ()
    replaced: int = 0
    first_replaced: Replaced | None = None
    edited: int = 0
    first_edited: tuple[str, ...] = ()
    returned: int = 0
    first_returned: str | None = None
    gone: int = 0
    first_gone: str | None = None
    pruned: bool = False
    listing: Listing | None = None

    def __post_init__(self) -> None:
        if self.seen != self.stored + self.unchanged + len(self.skipped):
            raise AssertionError(
                f"{self.seen} seen, but {self.stored} stored, {self.unchanged} unchanged and "
                f"{len(self.skipped)} skipped: an item was lost"
            )

    def refuse_if_useless(self) -> None:
        """Raises BadInput when there was nothing that could be used."""
        if self.stored + self.unchanged == 0 and self.skipped:
            first = self.skipped[0]
            raise BadInput(
                f"None of the {self.seen} images could be used; the first, {first.item!r}: {first.reason}"
            )
