"""The engines that an index can lie in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from graph_store.milvus_server import MilvusServer


@pytest.fixture(scope="session")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    """Milvus Lite: the client of a cluster, and the server in a file."""
    server = MilvusServer(str(tmp_path_factory.mktemp("milvus") / "milvus.db"))
    yield server
    server.close()
