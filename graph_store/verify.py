"""Everything that is wrong with a data directory, in one list."""

from __future__ import annotations

import json
from collections.abc import Iterator

from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.errors import ImsageError, NothingToServe
from graph_store.features import FeatureFile
from graph_store.healing import refuse_damaged
from graph_store.snapshot import Problem, verify_all


def verify_data_dir(data_dir: DataDir, features: str | None = None) -> list[Problem]:
    """Read the catalogue, the features and all snapshots whole; empty when all is well. Takes no lock.

    `features` is the slug of the feature file that the catalogue refers to; without it every feature file
    must hold all rows. Raises NothingToServe when there is no catalogue, since then there is nothing to
    verify.
    """
    problems = list(_of_catalogue_and_features(data_dir, features))
    return problems + verify_all(data_dir)


def _of_catalogue_and_features(data_dir: DataDir, features: str | None) -> Iterator[Problem]:
    try:
        with Catalog.open(data_dir.catalog_path) as catalog:
            catalog.check()
            needed, places = catalog.next_row(), catalog.places()
    except NothingToServe:
        raise
    except ImsageError as error:
        yield Problem(data_dir.catalog_path, str(error))
        return
    by_row = {place.row: place for place in places}
    slugs = {path.stem for path in data_dir.features_dir.glob("*.json")}
    if features is not None and needed:
        slugs.add(features)  # what is gone lies in no directory to be found
    for description in (data_dir.features_dir / f"{slug}.json" for slug in sorted(slugs)):
        try:
            dim = int(json.loads(description.read_bytes())["dim"])
            file = FeatureFile.open(data_dir.features_dir, description.stem, dim)
            if features in (None, description.stem):
                file.view(needed)
                refuse_damaged(file, [by_row[row].id for row in file.damaged(list(by_row))])
        except ImsageError as error:
            yield Problem(getattr(error, "path", description), str(error))
        except FileNotFoundError:
            yield Problem(description, f"The description {description} is missing")
        except (ValueError, KeyError, TypeError):
            yield Problem(description, f"The description {description} cannot be read")
