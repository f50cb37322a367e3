"""Where vectors lie while codes are learnt of them: in memory, those of a large catalogue in files."""

from __future__ import annotations

from pathlib import Path

from gnn.catalogue_embedding import How
from gnn.embedding import NewArray, in_memory, mapped_in
from gnn.graph_index import NEIGHBOURS
from graph_store import index_choice
from graph_store.index_choice import IndexChoice

MAPPED_FROM = index_choice.FLAT_BELOW
"""Catalogues of so many images have their vectors in files."""

UNSEARCHED = IndexChoice(
    "flat", "It is read by row and never searched: an index of links would be made in vain."
)


def is_large(images: int) -> bool:
    """Whether so many images need room on the disk."""
    return images >= MAPPED_FROM


def arrays_in(room: Path | None) -> NewArray:
    """Arrays that are mapped to files of `room`, or lie in memory where there is none."""
    return in_memory if room is None else mapped_in(room)


def how_in(room: Path | None) -> How:
    """How a catalogue is embedded whose states, vectors and index of neighbours lie in `room`."""
    if room is None:
        return How()
    return How(
        new_array=arrays_in(room), new_scratch=arrays_in(room), scratch=room, neighbours=room / NEIGHBOURS
    )
