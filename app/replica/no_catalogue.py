"""What a replica says of pictures that only the catalogue knows."""

from __future__ import annotations

from app.catalogue_reader import CatalogueReader
from graph_store.catalog import Catalog
from graph_store.errors import NotFound
from graph_store.records import ImageRecord


class NotOnReplica(NotFound):
    """Only the server that is published from knows it: a replica has neither catalogue nor picture files."""

    code = "not-on-replica"


class NoCatalogue(CatalogueReader):
    """In place of a catalogue: no picture has a record, features or files here."""

    @property
    def catalog(self) -> Catalog:
        """Raises NotOnReplica."""
        raise NotOnReplica("A replica has no catalogue", hint="Ask the server that writes.")

    def record(self, image_id: str) -> ImageRecord:
        """Raises NotOnReplica."""
        raise NotOnReplica(
            f"This server is a replica, and of image {image_id!r} it has no more than its snapshot",
            hint="Ask the server that writes for files, thumbnails and what is not in the index.",
        )
