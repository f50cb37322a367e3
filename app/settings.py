"""Every setting of imsage in one class: environment, then a file, then the defaults written here; flags win
over all.

Each field carries its own description, so the settings table of the documentation is generated from this
class.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from app.variables import ENV_PREFIX, SETTINGS_FILE_VARIABLE, refuse_mistyped
from graph_store.data_dir import DataDir
from graph_store.errors import WrongUsage
from graph_store.index_choice import INDEX_MEMORY, AskedKind, IndexPolicy
from graph_store.milvus_server import COLLECTION_PREFIX, MilvusServer
from graph_store.snapshot_store import SnapshotStore

_ORIGIN = re.compile(r"https?://[^\s/,?#]+")


class Settings(BaseSettings):
    """What can be set. The strongest first: flag, environment variable, settings file (TOML), default."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix=ENV_PREFIX, extra="forbid", frozen=True, env_ignore_empty=True
    )

    data: Path = Field(Path("imsage-data"), description="The data directory that is served.")
    host: str = Field(
        "127.0.0.1", description="The address to listen on; 0.0.0.0 is every one of the machine."
    )
    port: int = Field(
        8000, ge=0, le=65535, description="The TCP port to listen on; 0 lets the system choose one."
    )
    workers: int = Field(
        1, ge=1, le=256, description="Server processes. They share one memory-mapped snapshot."
    )
    threads: int = Field(
        1,
        ge=1,
        le=1024,
        description="Threads of one vector search (OMP_NUM_THREADS). One is best for many small searches.",
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$",
        description="Where encoders run, and trainings: auto, cpu, cuda or cuda:N.",
    )

    require_keys: bool = Field(
        False,
        description=(
            "Whether calls under /v1 and /metrics need an API key also while there is none. "
            "As soon as `imsage keys create` has made one, they do."
        ),
    )

    milvus_uri: str | None = Field(
        None,
        description=(
            "The Milvus server that a reindex puts vectors into and searches are made in, such as "
            "http://milvus:19530; a file name is Milvus Lite. Not set, FAISS searches inside the service."
        ),
    )
    milvus_token: str | None = Field(
        None, repr=False, description="How to log in there: user:password, or an API key."
    )
    milvus_prefix: str = Field(
        "imsage",
        pattern=f"^{COLLECTION_PREFIX}$",
        description="How the names of our collections there begin, and the alias of the newest.",
    )

    snapshot_store: str | None = Field(
        None,
        repr=False,
        description=(
            "Where a reindex publishes its snapshot and replicas get theirs, a URL of fsspec such as "
            "s3://bucket/imsage or file:///mnt/store. Not set, nothing is published."
        ),
    )
    replica: bool = Field(
        False,
        description=(
            "Whether this server fetches what it serves from snapshot_store and takes no writes. It needs "
            "neither catalogue nor pictures."
        ),
    )
    replica_poll_seconds: float = Field(
        30.0, gt=0, le=86_400, description="How often a replica asks whether there is a newer snapshot."
    )
    index: AskedKind = Field(
        "auto",
        description=(
            "The search index that a reindex makes: flat compares all, hnsw walks links, ivfpq searches "
            "compressed vectors and ranks by the whole ones in the snapshot; auto chooses by the number of "
            "images, index_memory and, from 250,000 images on, how much of it a compressed search reads."
        ),
    )
    index_memory: int = Field(
        INDEX_MEMORY,
        ge=0,
        le=2**30,
        description=(
            "MiB of memory that the index may take where auto chooses; beyond, it is ivfpq. 0 is no limit."
        ),
    )

    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description=(
            "Origins whose pages may call the service from a browser, with commas between them, such as "
            "https://shop.example; * is all. None by default."
        ),
    )
    local_names_only: bool = Field(
        False,
        description=(
            "Whether a service without keys answers to localhost, names without a dot, IP addresses and the "
            "hosts of cors_origins only, so that no page has its own name lead there. Where host is a "
            "loopback address it does anyway; set it where a container's port decides who gets there."
        ),
    )

    request_timeout: float = Field(
        60.0,
        gt=0,
        le=3600,
        description="Seconds until the answer of a call under /v1 must have begun; after that it is 503.",
    )
    max_concurrent: int = Field(
        256,
        ge=1,
        le=100_000,
        description=(
            "Most searches and changes that one worker answers at once, those that wait included; "
            "more are refused with 503."
        ),
    )
    rate_limit: float = Field(
        0.0,
        ge=0,
        le=1_000_000,
        description=(
            "Calls a second that one client (its key, or else its address) may make to one worker, in bursts "
            "of ten seconds' worth; more are refused with 429. 0 is no limit."
        ),
    )

    max_body_bytes: int = Field(
        48 * 2**20, ge=1024, description="Largest request body in bytes; a larger one is refused with 413."
    )
    max_image_bytes: int = Field(
        32 * 2**20,
        ge=1024,
        description=(
            "Largest encoded picture in bytes that a query or an upsert may carry. `imsage ingest` takes "
            "those of 64 MiB at least."
        ),
    )
    max_image_pixels: int = Field(
        64_000_000,
        ge=1024,
        description=(
            "Largest decoded picture in pixels that a query or an upsert may carry. `imsage ingest` takes "
            "those of 80,000,000 at least."
        ),
    )

    url_fetch: bool = Field(
        False,
        description=(
            'Whether a query or an upsert may name its picture by {"url"}. '
            "Only public addresses are ever fetched."
        ),
    )
    url_fetch_timeout: float = Field(
        10.0,
        gt=0,
        le=300,
        description="Seconds that fetching one picture by URL may take, redirects included.",
    )

    url_fetch_ports: Annotated[tuple[Annotated[int, Field(ge=1, le=65535)], ...], NoDecode] = Field(
        (80, 443), min_length=1, description="Ports that pictures are fetched from, with commas between them."
    )

    upsert_folder: Path | None = Field(
        None,
        description=(
            'The folder below which an upsert may name its picture by {"path"}, relative to it. '
            "Nothing outside of it is read; not set, none is."
        ),
    )
    keep_upserted: bool = Field(
        True,
        description=(
            "Whether the bytes of upserted pictures that came by data or url are kept, "
            "for GET /v1/images/{id}/file."
        ),
    )

    batch_wait_ms: float = Field(
        2.0,
        ge=0,
        le=1000,
        description="Longest wait in milliseconds for other pictures to encode in one batch.",
    )
    batch_size: int = Field(16, ge=1, le=1024, description="Most pictures or texts in one encoder call.")
    keep_snapshots: int = Field(
        3,
        ge=1,
        le=1000,
        description=(
            "Snapshots that a reindex leaves on the disk, the newest. A cursor can be followed as long as "
            "its snapshot is there or a server still holds it."
        ),
    )
    snapshot_poll_seconds: float = Field(
        0.5,
        gt=0,
        le=3600,
        description=(
            "How often a running server looks whether there is a new snapshot, "
            "or whether another process has changed the catalogue."
        ),
    )

    job_threads: int = Field(
        0,
        ge=0,
        le=1024,
        description="Threads of a background job; 0 is all cores but one, which the service keeps.",
    )
    job_nice: int = Field(
        10,
        ge=0,
        le=19,
        description=(
            "How far a background job steps back behind searches: its nice value, and that of its session "
            "where Linux shares the processor between sessions. 0 is not at all."
        ),
    )

    reindex_delta_share: float = Field(
        0.0,
        ge=0,
        le=100,
        description=(
            "Reindex by itself when so many images have changed since, as a share of those in the index: "
            "0.05 is 5 %. 0 is off."
        ),
    )
    reindex_every_hours: float = Field(
        0.0,
        ge=0,
        le=24 * 365,
        description="Reindex by itself when the last reindex was so many hours ago: 24 is daily. 0 is off.",
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least important log line that is written."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="How log lines look; auto is console on a terminal and json elsewhere."
    )

    @field_validator("cors_origins", "url_fetch_ports", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            return tuple(json.loads(value))
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("port", mode="before")
    @classmethod
    def _no_service(cls, value: Any) -> Any:
        if isinstance(value, str) and "://" in value:
            raise ValueError(
                f"{value!r} is what Kubernetes tells a pod of a Service named imsage; "
                "set IMSAGE_PORT in the pod, or enableServiceLinks: false"
            )
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin; one looks like https://shop.example")
        return value

    @field_validator("snapshot_store")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        # The value is not repeated: it may hold what logs in.
        if value is not None and not _is_url(value):
            raise ValueError("this is no URL; one looks like s3://bucket/imsage or file:///mnt/store")
        return value

    @model_validator(mode="after")
    def _replica_of_something(self) -> Self:
        if self.replica and self.snapshot_store is None:
            raise ValueError("replica needs snapshot_store, the place that snapshots are published to")
        return self

    @property
    def data_dir(self) -> DataDir:
        """The data directory, with the names of what lies in it."""
        return DataDir(self.data)

    @property
    def milvus(self) -> MilvusServer | None:
        """The Milvus server, where one is set; no connection is made before it is used."""
        if self.milvus_uri is None:
            return None
        return MilvusServer(self.milvus_uri, self.milvus_token or "", self.milvus_prefix)

    @property
    def store(self) -> SnapshotStore | None:
        """Where snapshots are published, where that is set; nothing is connected to before it is used."""
        return None if self.snapshot_store is None else SnapshotStore(self.snapshot_store)

    @property
    def index_policy(self) -> IndexPolicy:
        """Which index a reindex makes."""
        return IndexPolicy(self.index, self.index_memory)

    def to_environment(self) -> dict[str, str]:
        """The same settings as environment variables: how a worker process gets those of its parent."""
        values = self.model_dump(mode="json")
        return {
            f"{ENV_PREFIX}{name.upper()}": value if isinstance(value, str) else json.dumps(value)
            for name, value in values.items()
            if value is not None
        }

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then the environment, then the file that IMSAGE_SETTINGS_FILE names."""
        file = os.environ.get(SETTINGS_FILE_VARIABLE)
        if not file:
            return init_settings, env_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=Path(file))


def _is_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return "://" in value and bool(parts.scheme) and bool(parts.netloc or parts.path)


def load_settings(**flags: Any) -> Settings:
    """The settings in force, `flags` over all; a flag that is None was not given.

    Raises WrongUsage, naming each wrong setting and why, when a variable of the environment is nearly named
    like one, and when the settings file is missing or is not TOML.
    """
    refuse_mistyped(os.environ, Settings.model_fields)
    file = os.environ.get(SETTINGS_FILE_VARIABLE)
    if file and not Path(file).is_file():
        raise WrongUsage(
            f"The settings file {file} does not exist", hint=f"{SETTINGS_FILE_VARIABLE} names it."
        )
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise WrongUsage(f"A setting is wrong: {wrong}") from error
    except (ValueError, OSError, RecursionError) as error:
        raise WrongUsage(f"The settings cannot be read: {error}") from error
