"""Everything that docs/quality.md shows, from pictures to the page: `make bench-quality`.

    python -m benchmarks.quality --photos SOURCE [--captioned SOURCE] [--icons SOURCE] --drawings D
        --out FOLDER [--seeds 3] [--quick] [--page FILE]

SOURCE: a tags.jsonl of photos with a test split and object tags, one of photos with captions and words
of those as tags, and the one of :mod:`benchmarks.icon_folder`; D: a built data directory, the demo's for
instance. Each step leaves its outcome in FOLDER, with the state of the code and the options that it is of. An
interrupted run goes on where it was; what is of another state or of other options is removed first, and
measured again. With the first seed all presets are trained and evaluated, with the others the default.
`--page` puts the tables into that page, between its marks (:mod:`docs.quality_tables`), when no step is left.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from app.ingest.pipeline import ingest
from app.progress import RichProgress
from benchmarks.ablations import ablation_table
from benchmarks.robustness import KINDS, Sources, robust_rows
from benchmarks.state import code_state
from docs.quality_tables import renewed
from gnn.evaluation import evaluate
from gnn.graph_data import load_graph_data
from gnn.presets import PRESETS
from gnn.reindex import reindex
from gnn.training import train
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.durable import write_bytes
from graph_store.progress import Progress

WRONG = 0.3
ABLATION_IMAGES, ABLATION_EPOCHS = 1200, 12
WRONG_IMAGES, WRONG_EPOCHS = 2500, 1
QUICK_ABLATION, QUICK_WRONG = (600, 4), (600, WRONG_EPOCHS)
QUICK_SHARE = 4
"""A quick run measures one in so many of the photos."""

Step = Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Bench:
    """What is measured, and the folder that holds the outcomes."""

    source: Path
    captioned: Path | None
    icons: Path | None
    drawings: Path | None
    out: Path
    seeds: int
    quick: bool
    progress: Progress

    @property
    def photos(self) -> DataDir:
        """The photos' data directory."""
        return DataDir(self.out / "photos")

    def run(self, one_step: bool = False) -> bool:
        """All steps in order that are not done yet, or the first of them; whether none is left."""
        self.out.mkdir(parents=True, exist_ok=True)
        made = {"commit": code_state(), **self._options()}
        self._forget_all_but(made)
        left = [(name, step) for name, step in self._steps() if not self._outcome(name).exists()]
        for name, step in left[:1] if one_step else left:
            started = time.perf_counter()
            found = step()
            found["wall_seconds"] = round(time.perf_counter() - started, 1)
            found["made"] = made
            write_bytes(self._outcome(name), json.dumps(found, indent=1).encode())
        return len(left) <= 1 or not one_step

    def _outcome(self, name: str) -> Path:
        return self.out / f"{name}.json"

    def _options(self) -> dict[str, Any]:
        """What the outcomes depend on beside the code."""
        sources = {
            name: str(source.resolve())
            for name, source in (
                ("photos", self.source),
                ("captioned", self.captioned),
                ("icons", self.icons),
                ("drawings", self.drawings),
            )
            if source is not None
        }
        return {"quick": self.quick, "seeds": self.seeds, "sources": sources}

    def _forget_all_but(self, made: dict[str, Any]) -> None:
        """Remove the outcomes that are of another state of the code or of other options."""
        for path in sorted(self.out.glob("*.json")):
            found = json.loads(path.read_text(encoding="utf-8"))
            of = found.get("made", {})
            if "wall_seconds" in found and of != made:
                why = of.get("commit", "an unknown state")
                if why == made["commit"]:
                    why = "other options"
                print(f"{path.stem} is of {why}: measured again.", file=sys.stderr, flush=True)
                path.unlink()

    def _steps(self) -> Iterator[tuple[str, Step]]:
        """Name and step."""
        yield "about", lambda: {"commit": code_state(), "quick": self.quick, "seeds": self.seeds}
        yield "ingest", self._ingested
        for seed in range(self.seeds):
            presets = list(PRESETS) if seed == 0 else ["default"]
            for preset in presets:
                yield f"train-{preset}-{seed}", partial(self._trained, preset, seed)
            yield f"photos-{seed}", partial(self._evaluated, seed)
        if self.captioned is not None:
            for seed in range(self.seeds):
                yield f"captioned-{seed}", partial(self._captioned, self.captioned, seed)
        sizes = QUICK_ABLATION if self.quick else (ABLATION_IMAGES, ABLATION_EPOCHS)
        yield "ablations", partial(self._ablated, *sizes, 0.0)
        sizes = QUICK_WRONG if self.quick else (WRONG_IMAGES, WRONG_EPOCHS)
        yield "wrong", partial(self._ablated, *sizes, WRONG)
        for kind in KINDS:
            yield f"robustness-{kind}", partial(self._robust, kind)

    def _ingested(self) -> dict[str, Any]:
        # What other code has left there would be found again.
        for folder in ("photos", "captioned", "icons"):
            shutil.rmtree(self.out / folder, ignore_errors=True)
        stored = ingest(self.source, self.photos, progress=self.progress).stored
        if self.quick:
            with Catalog.open(self.photos.catalog_path) as catalog:
                splits = [catalog.ids(split) for split in ("train", "test")]
                left = [image for ids in splits for place, image in enumerate(ids) if place % QUICK_SHARE]
                stored -= catalog.delete(left)
        return {"stored": stored}

    def _trained(self, preset: str, seed: int) -> dict[str, Any]:
        """In a quick run only the default is trained to its end."""
        epochs = 2 if self.quick and preset != "default" else None
        trained = train(self.photos, preset, epochs=epochs, seed=seed, progress=self.progress)
        return {"seconds": round(trained.seconds, 1), "threads": torch.get_num_threads()}

    def _evaluated(self, seed: int) -> dict[str, Any]:
        reindex(self.photos, "default", progress=self.progress)
        return evaluate(self.photos, seed=seed, quick=self.quick, progress=self.progress).to_json()

    def _captioned(self, source: Path, seed: int) -> dict[str, Any]:
        """The default preset of the captioned photos, built and evaluated."""
        data = DataDir(self.out / "captioned")
        ingest(source, data, progress=self.progress)
        train(data, "default", seed=seed, progress=self.progress)
        reindex(data, "default", progress=self.progress)
        return evaluate(data, seed=seed, quick=self.quick, progress=self.progress).to_json()

    def _ablated(self, images: int, epochs: int, wrong: float) -> dict[str, Any]:
        table = ablation_table(load_graph_data(self.photos), images, epochs, self.seeds, wrong)
        return {"table": table, "images": images, "epochs": epochs}

    def _robust(self, kind: str) -> dict[str, Any]:
        icons = None
        if self.icons is not None and kind.startswith("icons"):
            icons = self.out / "icons"
            ingest(self.icons, DataDir(icons), progress=self.progress)
        sources = Sources(self.photos.root, self.drawings, icons)
        return {"rows": robust_rows(kind, sources, self.seeds, quick=self.quick)}


def main() -> None:
    """Run what is left to do, and renew the page."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--photos", type=Path, required=True, help="tags.jsonl of the photos")
    asked.add_argument("--captioned", type=Path, help="tags.jsonl of photos with captions")
    asked.add_argument("--icons", type=Path, help="tags.jsonl of benchmarks.icon_folder")
    asked.add_argument("--drawings", type=Path, help="a built data directory")
    asked.add_argument("--out", type=Path, required=True)
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument(
        "--quick", action="store_true", help="one seed, a quarter of the photos, fewer queries and settings"
    )
    asked.add_argument("--page", type=Path, help="the page to renew")
    asked.add_argument("--one-step", action="store_true", help="stop after the next step")
    given = asked.parse_args()
    bench = Bench(
        given.photos,
        given.captioned,
        given.icons,
        given.drawings,
        given.out,
        1 if given.quick else given.seeds,
        given.quick,
        RichProgress(Console(stderr=True)),
    )
    whole = bench.run(given.one_step)
    if given.page is not None and whole:
        write_bytes(given.page, renewed(given.page.read_text(encoding="utf-8"), given.out).encode())


if __name__ == "__main__":
    main()
