"""What stands between a new snapshot and the swap: what it must hold is in it and can be found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from gnn.graph_data import GraphData
from graph_store.arrays import Float32Array
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.errors import ImsageError
from graph_store.mapped_pages import streamed

_NAMED = 5
_CHUNK = 65_536


class IncompleteReindex(ImsageError):
    """Images of the catalogue would be in no snapshot and in no delta: nobody could find them any more."""

    code = "incomplete-reindex"
    status = 500


def refuse_losses(
    data_dir: DataDir, data: GraphData, written: Sequence[str], embeddings: Float32Array, indexed: int
) -> None:
    """Compare what was written with the catalogue as it is now. Raises IncompleteReindex, which names images.

    data: what the snapshot was made from; written: its ids by row, read back; embeddings: [n, dim], by row;
    indexed: how many vectors its index holds. What was written to the catalogue after `data.revision` is no
    part of the snapshot and comes in by the delta.
    """
    with Catalog.open(data_dir.catalog_path, again=True) as catalog:
        # The changes last: a picture that a server writes between the two looks is then a change for sure.
        now = catalog.ids("train")
        later = catalog.changes(data.revision).by_id
    needed = [image_id for image_id in now if image_id not in later]
    there = set(written)
    _refuse("are not in the new snapshot", (image_id for image_id in needed if image_id not in there))
    _refuse("were left out", (image_id for image_id in data.ids if image_id not in there))
    _refuse("have a vector that no search finds", (written[row] for row in _not_finite(embeddings)))
    if not len(written) == len(embeddings) == indexed == len(data.ids):
        raise IncompleteReindex(
            f"Of {len(data.ids)} images the new snapshot names {len(written)}, embeds {len(embeddings)} and "
            f"indexes {indexed}",
            hint=_HINT,
        )


_HINT = "Nothing was changed. Run imsage reindex again; if it is refused again, please report this."


def _refuse(what: str, lost: Iterable[str]) -> None:
    names = list(lost)
    if names:
        shown = ", ".join(repr(name) for name in names[:_NAMED])
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        raise IncompleteReindex(f"Images of the catalogue {what}: {shown}{more}", hint=_HINT)


def _not_finite(embeddings: Float32Array) -> list[int]:
    found: list[int] = []
    for start, stop in streamed(len(embeddings), _CHUNK, embeddings):
        sound = np.isfinite(embeddings[start:stop]).all(axis=1)
        found += (start + np.flatnonzero(~sound)).tolist()
    return found
