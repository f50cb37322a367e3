"""What a run of ingestion has done."""

from __future__ import annotations

from dataclasses import dataclass

from graph_store.records import Skip


@dataclass(frozen=True)
class IngestReport:
    """Every item that was seen is in exactly one of the three counts; __post_init__ holds it to that.

    `notes` are about images that were stored all the same, without a tag that could not be.
    """

    seen: int
    stored: int
    unchanged: int
    skipped: tuple[Skip, ...] = ()
    notes: tuple[Skip, ...] = ()

    def __post_init__(self) -> None:
        if self.seen != self.stored + self.unchanged + len(self.skipped):
            raise AssertionError(
                f"{self.seen} seen, but {self.stored} stored, {self.unchanged} unchanged and "
                f"{len(self.skipped)} skipped: an item was lost"
            )
