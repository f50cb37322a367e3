"""Pictures of an upsert, from what names them to what is stored of them; each by itself."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.api.write_schemas import NewImage
from app.images import Decoded, thumbnail_of
from app.live.aside import Aside
from app.picture_finder import PictureFinder
from app.request_errors import InvalidRequest, OutOfTime, RequestError, SettingOff, UnusablePicture
from app.settings import Settings
from gnn.encoders.base import EncoderSpec
from graph_store.arrays import Float32Array
from graph_store.catalog_rows import clean_tags, image_row
from graph_store.checksums import sha256_of_bytes
from graph_store.errors import BadInput, ImsageError
from graph_store.records import ImageRecord, Tag

_AT_ONCE = 32
"""Pictures of one request that are read and decoded at the same time: more would only fill memory."""

_READING_SHARE = 0.75
"""Of the time that a request has. What was read by then is stored in the rest."""


@dataclass(frozen=True, eq=False)
class NewPicture:
    """A picture that is ready to be stored. features: [1, dim]; original: how to get its bytes, where they
    are to be kept. The record has no feature row yet.
    """

    record: ImageRecord
    features: Float32Array
    thumbnail: bytes
    original: Callable[[], bytes] | None


@dataclass(frozen=True, eq=False)
class _Bytes:
    data: bytes
    path: Path | None


class NewPictures:
    """Reads, checks and encodes the pictures of upserts. `observe` is given the seconds of decode and encode
    of each.
    """

    def __init__(
        self,
        settings: Settings,
        finder: PictureFinder,
        observe: Callable[[Mapping[str, float]], None],
    ) -> None:
        self._folder = settings.upsert_folder
        self._keep = settings.keep_upserted
        self._max_bytes = settings.max_image_bytes
        self._seconds = settings.request_timeout * _READING_SHARE
        self._data = settings.data
        self._finder = finder
        self._observe = observe

    async def read(self, images: Sequence[NewImage], spec: EncoderSpec) -> list[NewPicture | ImsageError]:
        """For each image what is to be stored, or why it cannot be. Of one id the last image counts. One that
        is not read in time does not cost the others theirs.
        """
        deadline = asyncio.get_running_loop().time() + self._seconds
        turns = asyncio.Semaphore(_AT_ONCE)
        aside = Aside(self._data)
        last = {image.id: number for number, image in enumerate(images)}

        async def one(number: int, image: NewImage) -> NewPicture | ImsageError:
            if last[image.id] != number:
                return InvalidRequest.at(f"/images/{number}/id", "this id comes again later in the request")
            try:
                async with asyncio.timeout_at(deadline) as limit, turns:
                    return await self._one(image, spec, aside)
            except ImsageError as error:
                return _placed(error, f"/images/{number}")
            except TimeoutError:
                if not limit.expired():
                    raise
                return OutOfTime(
                    f"The picture was not read within the {self._seconds:g} s that all of a request have",
                    hint="Send it again, with fewer others or where request_timeout is larger.",
                    errors=[(f"/images/{number}/image", "there was no time left to read it")],
                )

        return list(await asyncio.gather(*(one(number, image) for number, image in enumerate(images))))

    async def _one(self, image: NewImage, spec: EncoderSpec, aside: Aside) -> NewPicture:
        tags = tuple(Tag(tag.name, tag.weight) for tag in image.tags)
        record = ImageRecord(id=image.id, tags=tags, attributes=image.attributes)
        check_record(record)
        found = await self._bytes(image)
        data = found.data

        def describe(decoded: Decoded) -> tuple[ImageRecord, bytes, Callable[[], bytes] | None]:
            described = ImageRecord(
                id=image.id,
                path=None if found.path is None else str(found.path),
                tags=tags,
                attributes=image.attributes,
                sha256=sha256_of_bytes(data),
                width=decoded.width,
                height=decoded.height,
            )
            kept = aside.put(data) if self._keep and found.path is None else None
            return described, thumbnail_of(data, decoded), kept

        stages: dict[str, float] = {}
        try:
            features, (described, small, kept) = await self._finder.encoding.features_and(
                data, spec, stages, describe
            )
        except BadInput as error:
            raise UnusablePicture(
                error.message, hint=error.hint, errors=[("/image", error.message)]
            ) from error
        self._observe(stages)
        return NewPicture(described, features, small, kept)

    async def _bytes(self, image: NewImage) -> _Bytes:
        source = image.image
        if source.data is not None:
            return _Bytes(await self._finder.from_base64(source.data, "/image"), None)
        if source.url is not None:
            return _Bytes(await self._finder.fetch(source.url, "/image"), None)
        folder = self._folder
        if folder is None:
            raise SettingOff(
                "This server does not read pictures by path",
                hint="The setting upsert_folder (IMSAGE_UPSERT_FOLDER) names the folder to read from.",
                errors=[("/image/path", "reading by path is off")],
            )
        wanted = source.path or ""
        return await asyncio.to_thread(lambda: read_below(folder, wanted, self._max_bytes))


def check_record(record: ImageRecord) -> None:
    """Raises BadInput when the catalogue would not take the record: one bad one must not cost the others."""
    image_row(0, record)
    clean_tags(record)


def read_below(folder: Path, wanted: str, max_bytes: int) -> _Bytes:
    """The file `wanted` below `folder`; links that lead outside are not followed.

    Raises UnusablePicture, in the same words for a file outside and for one that is not there, so that
    nothing can be learnt about what is outside.
    """
    try:
        root = folder.resolve(strict=True)
        path = (root / wanted).resolve(strict=True)
        if path.is_relative_to(root):
            # Not waiting for a pipe's other end, and not through a link that was put there just now.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(descriptor)
                if stat.S_ISREG(status.st_mode) and status.st_size > max_bytes:
                    detail = f"the file has {status.st_size:,} bytes; at most {max_bytes:,} are allowed"
                    raise UnusablePicture(detail, errors=[("/image/path", detail)])
                if stat.S_ISREG(status.st_mode):
                    return _Bytes(file.read(max_bytes + 1), path)
    except (OSError, ValueError, RuntimeError):
        # Missing, unreadable, a NUL in the name, or links in a circle: for the client all the same.
        pass
    detail = f"there is no file {wanted[:200]!r} in the folder for upserts"
    raise UnusablePicture(f"T{detail[1:]}", errors=[("/image/path", detail)])


def _placed(error: ImsageError, prefix: str) -> ImsageError:
    """The same error, its pointers from the root of the request's body."""
    if isinstance(error, RequestError):
        error.errors = tuple((prefix + where, what) for where, what in error.errors)
    return error
