"""A service that listens on a port, and clients of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.api.application import create_app
from app.settings import Settings
from graph_store.data_dir import DataDir
from imsage import Client
from tests.api.listening import listening


@pytest.fixture(scope="package")
def address(built_data_dir: DataDir) -> Iterator[str]:
    """Where the drawn catalogue is served. Only for reading."""
    with listening(create_app(Settings(data=built_data_dir.root))) as address:
        yield address


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    """A client of it."""
    with Client(address) as client:
        yield client
