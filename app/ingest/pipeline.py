"""Ingestion: reads a source, decodes and encodes its pictures in parallel, and stores what is new or changed.

It may be interrupted at any point and run again: what was committed is recognised by its fingerprint and not
read a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from app.images import PictureLimits
from app.ingest.engines.engine import Featured, IngestEngine, LocalIngest, Picture, Recipe, Work
from app.ingest.features import FeatureMaker
from app.ingest.fingerprint import fingerprint, is_unchanged, same_file
from app.ingest.gone import gone_from
from app.ingest.items import ImageSource, SourceItem
from app.ingest.prepare import skip_of
from app.ingest.report import IngestReport, Listing
from app.ingest.source import open_source
from app.ingest.sources.listed_folder import ListedFolder
from app.ingest.store import ImageStore
from app.tidying import tidy_up
from gnn.encoders.registry import DEFAULT_IMAGE_ENCODER
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput
from graph_store.progress import Progress, SilentProgress
from graph_store.records import ImageRecord, Skip

__all__ = ["IngestReport", "ingest"]

_BATCHES_A_COMMIT = 8
"""A commit waits for the disk, so it is worth some batches; a kill loses at most the work of so many."""
_RUNS_KEY = "ingest_runs"
_RUNS_KEPT = 100
_RUNS_WITH_SKIPS = 3
"""The last run's are shown; those before it are for who looks into the catalogue."""


def ingest(
    source: Path,
    data_dir: DataDir,
    *,
    format: str = "auto",
    encoder: str = DEFAULT_IMAGE_ENCODER,
    images_dir: Path | None = None,
    features: Path | None = None,
    strict: bool = False,
    keep_originals: bool = False,
    prune: bool = False,
    device: str = "auto",
    engine: IngestEngine | None = None,
    batch_size: int = 32,
    limits: PictureLimits | None = None,
    progress: Progress | None = None,
) -> IngestReport:
    """Bring `source` into the catalogue; images that are there and have not changed are left alone.

    `features` is a .npy of features brought along (see Precomputed), which are then used instead of encoding.
    `engine` reads and encodes the pictures (None: this process). With `strict` the first thing that cannot be
    stored as given ends the run with BadInput; without, it is named in the report and in the catalogue.
    A picture above the `limits` is one of those.

    Pictures that were ingested from the source's folder and whose files are gone from it are counted; with
    `prune` they are removed, unless nothing of the source can be used: then it may not be what it was.

    Where nothing of the source can be used, the report says why; see `IngestReport.refuse_if_useless`.

    Raises BadInput for a source that is unusable or empty, UnknownName for a format or an encoder,
    EncoderMismatch when the catalogue's images come from another encoder, DataDirBusy, Unwritable, and
    EngineFailed.
    """
    items = open_source(source, format=format, images_dir=images_dir, data_dir=data_dir.root)
    engine = engine or LocalIngest()
    limits = limits or PictureLimits()
    recipe = Recipe(data_dir, encoder, features, device, keep_originals, max(1, batch_size), limits)
    maker = engine.maker(recipe)
    tidy_up(data_dir)
    data_dir.create()
    with data_dir.lock("ingest"), Catalog.open(data_dir.catalog_path, create=True) as catalog:
        runs = list(catalog.meta(_RUNS_KEY) or [])
        last = int(str(runs[-1]["run"]).removeprefix("ingest-")) if runs else 0
        run = f"ingest-{last + 1:06d}"
        work = _Run(
            recipe=recipe,
            engine=engine,
            catalog=catalog,
            store=ImageStore.open(
                data_dir, catalog, maker.spec, run, keep_originals=keep_originals, limits=limits
            ),
            maker=maker,
            strict=strict,
        )
        progress = progress or SilentProgress()
        report = work.all(items, progress)
        report = work.without_gone(items, report, prune, progress)
        work.store.drop_replaced()
        counts = {"seen": report.seen, "stored": report.stored, "unchanged": report.unchanged}
        runs.append({"run": run, "source": str(source), **counts})
        catalog.set_meta(_RUNS_KEY, runs[-_RUNS_KEPT:])
        catalog.keep_skips([str(each["run"]) for each in runs[-_RUNS_WITH_SKIPS:]])
    if report.seen == 0:
        raise BadInput(f"The source {source} holds no images")
    return report


@dataclass
class _Run:
    """One pass over a source."""

    recipe: Recipe
    engine: IngestEngine
    catalog: Catalog
    store: ImageStore
    maker: FeatureMaker
    strict: bool

    seen: int = 0
    stored: int = 0
    unchanged: int = 0
    skipped: list[Skip] = field(default_factory=list)
    notes: list[Skip] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    """Those of the ids whose file is not there, though the source still lists it."""

    # What has been made or named since the last commit.
    _images: list[Featured] = field(default_factory=list)
    _named: list[Skip] = field(default_factory=list)

    def all(self, items: ImageSource, progress: Progress) -> IngestReport:
        """Take every item of the source to its end: stored, unchanged or skipped."""
        with progress.phase("Reading pictures", items.count()) as advance:
            work = self._work(items, advance)
            with closing(self.engine.outcomes(work, self.recipe, self.maker)) as outcomes:
                for outcome in outcomes:
                    if isinstance(outcome, Skip):
                        self._skip(outcome)
                    else:
                        self._take(outcome)
                    advance(1)
                    if len(self._images) + len(self._named) >= _BATCHES_A_COMMIT * self.recipe.batch_size:
                        self._commit()
            self._commit()
        return IngestReport(
            seen=self.seen,
            stored=self.stored,
            unchanged=self.unchanged,
            skipped=tuple(self.skipped),
            notes=tuple(self.notes),
            replaced=self.store.replaced,
            first_replaced=self.store.first_replaced,
            edited=self.store.edited,
            first_edited=self.store.first_edited,
            returned=self.store.returned,
            first_returned=self.store.first_returned,
            listing=Listing(items.listing, items.unlisted()) if isinstance(items, ListedFolder) else None,
        )

    def without_gone(
        self, items: ImageSource, report: IngestReport, prune: bool, progress: Progress
    ) -> IngestReport:
        """What the report says of pictures that are gone, which are removed where that is asked for."""
        gone = gone_from(items.folder, self.catalog, self.ids - self.missing, progress)
        pruned = prune and report.stored + report.unchanged > 0
        if pruned and gone:
            with progress.phase("Removing what is gone", len(gone)) as advance:
                self.store.remove(gone, advance)
        return replace(report, gone=len(gone), first_gone=next(iter(gone), None), pruned=pruned)

    # -- before the engine --------------------------------------------------------------------------------

    def _work(self, items: ImageSource, advance: Callable[[int], None]) -> Iterator[Work]:
        """What is left to do for each item that is not known to be unchanged."""
        known = self.catalog.known_sources()
        places = {place.id: place for place in self.catalog.places()}
        is_sound = self.store.checker()
        for item in items:
            self.seen += 1
            if isinstance(item, Skip):
                yield item
            elif item.id in self.ids:
                yield skip_of(item, "the id was already used earlier in the source")
            else:
                self.ids.add(item.id)
                before, place = known.get(item.id), places.get(item.id)
                if place is None or not is_sound(place, before):
                    before = None  # what was lost is made anew, as if the source had changed
                work = self._work_on(item, before)
                if work is None:
                    self.unchanged += 1
                    self._note(item.dropped)
                    advance(1)
                else:
                    yield work

    def _work_on(self, item: SourceItem, before: str | None) -> Work | None:
        """None when the item is unchanged since its fingerprint was `before`."""
        try:
            given = self.maker.given(item.id)
            mark = fingerprint(item, given, keep_original=self.recipe.keep_originals)
        except BadInput as error:
            if isinstance(error.__cause__, FileNotFoundError):
                self.missing.add(item.id)
            return skip_of(item, error.message)
        if is_unchanged(before, mark):
            return None
        reread = item.embedded_keywords or self.recipe.keep_originals or given is not None
        if not reread and same_file(before, mark):
            stored = self.catalog.find([item.id]).get(item.id)
            # Another file may have the same size and time; and a server may have removed the image meanwhile.
            if stored is not None and stored.path == str(item.image):
                return self._described_anew(stored, item, mark)
        return Picture(item, mark, given)

    def _described_anew(self, stored: ImageRecord, item: SourceItem, mark: str) -> Featured:
        """The file is as it was, so only what the source says of it is stored."""
        record = replace(
            stored,
            tags=item.tags,
            split=item.split,
            caption=item.caption,
            attributes=item.attributes,
            fingerprint=mark,
        )
        return Featured(record, None, dropped=item.dropped)

    # -- after the engine ---------------------------------------------------------------------------------

    def _skip(self, skip: Skip) -> None:
        skip = _printable(skip)
        self._refuse_if_strict(skip)
        self.skipped.append(skip)
        self._named.append(skip)

    def _take(self, image: Featured) -> None:
        for note in map(_printable, image.dropped):
            self._refuse_if_strict(note)
        self._note(image.dropped)
        self._images.append(image)

    def _note(self, dropped: Sequence[Skip]) -> None:
        """Also of an image that is unchanged: the run that stored it may have been cut short, and what that
        one has named is forgotten.
        """
        notes = [_printable(note) for note in dropped]
        self.notes.extend(notes)
        self._named.extend(notes)

    def _refuse_if_strict(self, skip: Skip) -> None:
        if not self.strict:
            return
        self._commit()  # what came before is whole, and the next run need not do it again
        place = skip.source if skip.line is None else f"{skip.source}, line {skip.line}"
        raise BadInput(f"{place}: {skip.item}: {skip.reason}")

    def _commit(self) -> None:
        self.store.add(self._images, self._named)
        self.stored += len(self._images)
        self._images.clear()
        self._named.clear()


def _printable(skip: Skip) -> Skip:
    """File names may hold bytes that are no UTF-8, which no database and no terminal takes."""
    source, reason, item = (
        text.encode("utf-8", errors="replace").decode() for text in (skip.source, skip.reason, skip.item)
    )
    return Skip(source, skip.line, reason, item)
