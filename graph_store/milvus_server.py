"""A Milvus server that holds the vectors of large catalogues: the connection, and which collections are
ours.

Each snapshot has a collection of its own, named in the snapshot, so a service that still answers from an
older snapshot still finds that snapshot's vectors. The alias (`<prefix>`) always names the newest one, for
whoever else reads it. `pymilvus` is the extra `imsage[milvus]`; Milvus Lite (a file in place of an address)
speaks the same protocol.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from graph_store.errors import BadInput, ImsageError

COLLECTION_PREFIX = "[A-Za-z_][A-Za-z0-9_]{0,99}"
"""What Milvus takes, as a pattern, with room for what comes behind it."""
_RANDOM_BYTES = 8


class IndexUnreachable(ImsageError):
    """The server that holds the vectors does not answer, or not as it should."""

    code = "index-unreachable"
    status = 503


@dataclass(frozen=True)
class MilvusServer:
    """`uri`: http://host:19530, or a file for Milvus Lite, which one process at a time can open. `prefix`:
    how the names of our collections begin; catalogues that share a server need one each. `timeout`: seconds
    that connecting, or a search, may take.

    Raises BadInput for a prefix that Milvus does not take, and where `pymilvus` is not installed.
    """

    uri: str
    token: str = field(default="", repr=False)
    prefix: str = "imsage"
    timeout: float = 30.0

    def __post_init__(self) -> None:
        if not re.fullmatch(COLLECTION_PREFIX, self.prefix):
            raise BadInput(
                f"{self.prefix!r} cannot begin the name of a Milvus collection",
                hint="Use letters, digits and underscores, at most 100.",
            )

    @cached_property
    def client(self) -> Any:
        """The connection, made when it is first needed. Raises IndexUnreachable."""
        try:
            from pymilvus import MilvusClient
        except ImportError as error:
            raise BadInput(
                "Milvus is asked for, and the package pymilvus is not installed",
                hint='In the checkout of imsage: pip install -e ".[milvus]"',
            ) from error
        with self.answering():
            return MilvusClient(self.uri, token=self.token, timeout=self.timeout)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Turns what goes wrong between us and the server into IndexUnreachable."""
        import grpc  # type: ignore[import-untyped]  # it comes with pymilvus, without annotations
        from pymilvus.exceptions import MilvusException

        try:
            yield
        # Some refusals of the server (no permission, no room, out of time) come as gRPC's own error.
        except (MilvusException, grpc.RpcError, ConnectionError, TimeoutError) as error:
            raise IndexUnreachable(
                f"Milvus at {self.uri} does not do what it is asked: {_first_line(error)}",
                hint="Look whether it runs and whether the settings milvus_uri and milvus_token are right.",
            ) from error

    def new_name(self) -> str:
        """A name for a collection that does not exist yet."""
        return f"{self.prefix}_{secrets.token_hex(_RANDOM_BYTES)}"

    def publish(self, collection: str) -> None:
        """Let the alias name this collection from now on; Milvus moves it in one step."""
        with self.answering():
            if self._alias_exists():
                self.client.alter_alias(collection_name=collection, alias=self.prefix)
            else:
                self.client.create_alias(collection_name=collection, alias=self.prefix)

    def published(self) -> str | None:
        """The collection that the alias names."""
        with self.answering():
            if not self._alias_exists():
                return None
            return str(self.client.describe_alias(alias=self.prefix)["collection_name"])

    def has(self, collection: str) -> bool:
        """Whether the server has this collection: it may have been wiped, or be another than it was."""
        with self.answering():
            return bool(self.client.has_collection(collection))

    def collections(self) -> list[str]:
        """Our collections, by name."""
        ours = re.compile(rf"{re.escape(self.prefix)}_[0-9a-f]{{{2 * _RANDOM_BYTES}}}")
        with self.answering():
            return sorted(name for name in self.client.list_collections() if ours.fullmatch(name))

    def drop_all_but(self, kept: Collection[str]) -> list[str]:
        """Drop our collections that no snapshot needs any more, those of interrupted reindexes too; the names
        of those that went.
        """
        gone = [name for name in self.collections() if name not in kept]
        for name in gone:
            with self.answering():
                self.client.drop_collection(name)
        return gone

    def close(self) -> None:
        """Close the connection, if there is one."""
        if "client" in vars(self):
            self.client.close()
            del vars(self)["client"]

    def _alias_exists(self) -> bool:
        return self.prefix in self.client.list_aliases().get("aliases", [])


def _first_line(error: Exception) -> str:
    text = getattr(error, "message", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0]
