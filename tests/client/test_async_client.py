"""The client for asyncio is the same client."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from imsage import AsyncClient, Client, ImsageError
from tests.client.test_calls import HELD_OUT, INDEXED


def public(kind: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(method)
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") and name not in ("close", "aclose")
    }


def test_both_clients_have_the_same_calls_with_the_same_parameters() -> None:
    ordinary, asynchronous = public(Client), public(AsyncClient)

    assert ordinary.keys() == asynchronous.keys()
    for name, signature in ordinary.items():
        assert signature.parameters == asynchronous[name].parameters, name


@pytest.mark.asyncio
async def test_both_clients_get_the_same_answers(address: str, client: Client, shapes_source: Path) -> None:
    picture = shapes_source.parent / "images" / f"{HELD_OUT.id}.png"
    async with AsyncClient(address) as other:
        assert (await other.search(image=INDEXED.id)).hits == client.search(image=INDEXED.id).hits
        assert (await other.upload(picture, limit=3)).hits == client.upload(picture, limit=3).hits
        pages = [page async for page in other.pages(tags=["red"], limit=40)]
        assert [page.hits for page in pages] == [page.hits for page in client.pages(tags=["red"], limit=40)]
        assert [one.hits for one in await other.batch([{"tags": ["red"]}])] == [
            one.hits for one in client.batch([{"tags": ["red"]}])
        ]
        assert (await other.predict_tags(picture)).tags == client.predict_tags(picture).tags
        assert await other.complete_tags("b") == client.complete_tags("b")
        assert await other.image(INDEXED.id) == client.image(INDEXED.id)
        assert await other.neighbors(INDEXED.id) == client.neighbors(INDEXED.id)
        assert await other.thumbnail(INDEXED.id) == client.thumbnail(INDEXED.id)
        assert await other.file(INDEXED.id) == client.file(INDEXED.id)
        assert await other.index() == client.index() and await other.ready() == client.ready()


@pytest.mark.asyncio
async def test_a_refusal_is_raised_from_the_call(address: str) -> None:
    async with AsyncClient(address) as other:
        with pytest.raises(ImsageError, match="404"):
            await other.image("nobody")
