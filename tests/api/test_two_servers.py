"""Two servers of one data directory, as two workers are: what one has answered, the other knows at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.api.application import create_app
from app.live.notice import ChangeNotice, notice_path
from app.settings import Settings
from graph_store.data_dir import DataDir
from imsage import Client, ImsageError
from tests.api.listening import listening
from tests.shapes import all_shapes, draw, is_test

INDEXED = [shape.id for shape in all_shapes() if not is_test(shape.id)]
HOUR = 3600.0


@pytest.fixture
def two(built_copy: DataDir) -> Iterator[tuple[Client, Client]]:
    """Clients of two servers that look for changes by themselves once an hour."""
    settings = Settings(data=built_copy.root, snapshot_poll_seconds=HOUR)
    with ExitStack() as stack:
        addresses = [stack.enter_context(listening(create_app(settings))) for _ in range(2)]
        first, second = (stack.enter_context(Client(address, timeout=120)) for address in addresses)
        # Both have found their snapshot before anything changes.
        assert first.search(tags=["red"]).hits == second.search(tags=["red"]).hits
        yield first, second


def test_a_picture_that_one_stored_is_found_by_the_other(two: tuple[Client, Client]) -> None:
    one, other = two
    picture = _png()
    for number in range(5):
        name = f"new/{number}"
        one.upsert([{"id": name, "image": picture, "attributes": {"round": number}}])
        only = {"must": [{"key": "round", "match": number}]}
        assert [hit.id for hit in other.search(tags=["red"], filter=only).hits] == [name]  # type: ignore[arg-type]
        assert other.image(name).indexed
        one, other = other, one


def test_a_picture_that_one_removed_or_changed_is_so_for_the_other(two: tuple[Client, Client]) -> None:
    one, other = two
    one.update(INDEXED[0], tags=["quite new"])
    one.delete([INDEXED[1]])

    assert [tag.name for tag in other.complete_tags("quite")] == ["quite new"]
    assert INDEXED[1] not in [hit.id for hit in other.search(tags=["red"], limit=1000).hits]
    with pytest.raises(ImsageError, match="404"):
        other.search(image=INDEXED[1])


def test_a_notice_that_cannot_be_kept_costs_nobody_anything(built_copy: DataDir) -> None:
    notice_path(built_copy).unlink(missing_ok=True)
    notice_path(built_copy).mkdir()
    with listening(create_app(Settings(data=built_copy.root))) as address, Client(address) as client:
        client.delete([INDEXED[0]])
        assert INDEXED[0] not in [hit.id for hit in client.search(tags=["red"], limit=1000).hits]


def test_whoever_opens_a_notice_sees_the_number_that_is_there(built_copy: DataDir) -> None:
    first = ChangeNotice(notice_path(built_copy))
    first.announce()
    second = ChangeNotice(notice_path(built_copy))

    assert second.number == first.number != 0
    before = first.number
    second.announce()
    assert first.number == second.number != before
    first.close()
    second.close()


def test_the_room_of_a_notice_is_taken_when_it_is_made(tmp_path: Path) -> None:
    # A store into a hole would end the process on a full disk, without a word.
    ChangeNotice(tmp_path / "changes.notice").close()
    assert (tmp_path / "changes.notice").stat().st_blocks > 0


def _png() -> bytes:
    import io

    buffer = io.BytesIO()
    draw(next(shape for shape in all_shapes() if is_test(shape.id))).save(buffer, "PNG")
    return buffer.getvalue()
