"""API keys: made once, shown once, and kept as hashes beside the catalogue.

A key is 256 random bits, so nobody guesses it from its hash: SHA-256 is enough, where a password would need
a slow one. A stolen key file therefore opens nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import orjson

from graph_store.data_dir import DataDir
from graph_store.durable import give_like, refusing_unwritable, write_bytes
from graph_store.errors import BadInput, CorruptFile, NotFound, UnknownName, WrongUsage
from graph_store.versions import way_out

Scope = Literal["read", "write"]

SCOPES: tuple[Scope, ...] = ("read", "write")
_PREFIX = "imsage_"
# 32 random bytes in base64 are 43 characters; one that was cut a little short is still nobody's business.
_LOOKS_LIKE_A_KEY = re.compile(rb"imsage_[A-Za-z0-9_-]{32,}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SCHEMA = 1


@dataclass(frozen=True)
class ApiKey:
    """One key as it is stored. write includes read. `created`: ISO 8601, UTC."""

    name: str
    scopes: tuple[Scope, ...]
    digest: bytes
    created: str

    def allows(self, scope: Scope) -> bool:
        """Whether the key's owner may do what needs `scope`."""
        return scope in self.scopes


def keys_path(data_dir: DataDir) -> Path:
    """Where the keys of a data directory are."""
    return data_dir.root / "keys.json"


def digest_of(key: bytes) -> bytes:
    """The hash that is stored of a key."""
    return hashlib.sha256(key).digest()


def matching(keys: Sequence[ApiKey], presented: bytes) -> ApiKey | None:
    """The stored key that was presented, None when there is none. The time it takes does not depend on which
    bytes are right.
    """
    digest = digest_of(presented)
    found: ApiKey | None = None
    for key in keys:
        if hmac.compare_digest(key.digest, digest):
            found = key
    return found


def without_keys(text: bytes) -> bytes:
    """The text with whatever looks like a key blacked out: one may come where none belongs, in a path or
    as the id of a request.
    """
    return _LOOKS_LIKE_A_KEY.sub(b"imsage_***", text)


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """All stored keys; none where there is no file. Raises CorruptFile: keys that cannot be read must not
    open the service.
    """
    try:
        stored = orjson.loads(path.read_bytes())
        if stored["schema"] != _SCHEMA:
            raise CorruptFile(
                f"The keys in {path} have version {stored['schema']}, and this imsage reads {_SCHEMA}",
                path=path,
                hint=way_out(stored["schema"], _SCHEMA, "Remove the file and make new keys."),
            )
        return tuple(_key(entry) for entry in stored["keys"])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptFile(
            f"The keys in {path} cannot be read: {error}",
            path=path,
            hint="Put a sound copy back, or remove the file and make new keys before the service starts.",
        ) from error


def create_key(data_dir: DataDir, name: str, scope: str) -> str:
    """Store a new key and return it; it cannot be had again. Raises BadInput for a name that is none or is
    taken, UnknownName for a scope that is none.
    """
    if not _NAME.fullmatch(name):
        raise WrongUsage(
            f"{name!r} is no name for a key",
            hint="Use up to 64 letters, digits, dots, dashes and underscores.",
        )
    if scope not in SCOPES:
        raise UnknownName(f"There is no scope {scope!r}", hint=f"There are: {', '.join(SCOPES)}.")
    key = _PREFIX + secrets.token_urlsafe(32)
    scopes: tuple[Scope, ...] = SCOPES if scope == "write" else ("read",)
    path = keys_path(data_dir)
    with one_writer(data_dir):
        known = read_keys(path)
        if any(other.name == name for other in known):
            raise BadInput(
                f"There is a key named {name!r} already", hint="Revoke it first, or choose another."
            )
        now = datetime.now(UTC).isoformat(timespec="seconds")
        _write(path, [*known, ApiKey(name, scopes, digest_of(key.encode()), now)])
    return key


def revoke_key(data_dir: DataDir, name: str) -> int:
    """Remove a key; returns how many are left. Raises NotFound."""
    path = keys_path(data_dir)
    with one_writer(data_dir):
        known = read_keys(path)
        left = [key for key in known if key.name != name]
        if len(left) == len(known):
            raise NotFound(f"There is no key named {name!r}", hint="`imsage keys list` names them.")
        _write(path, left)
    return len(left)


@contextmanager
def one_writer(data_dir: DataDir) -> Iterator[None]:
    """Be the only one who writes keys, for the length of a `with` block. Waits. Raises Unwritable."""
    # Not the lock on the data directory: a key must be revocable while a long job holds that.
    path = keys_path(data_dir).with_suffix(".lock")
    with refusing_unwritable(path):
        data_dir.root.mkdir(parents=True, exist_ok=True)
        lock = path.open("ab")
        give_like(lock.fileno(), data_dir.root)
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(path: Path, keys: Sequence[ApiKey]) -> None:
    entries = [
        {"name": key.name, "scopes": key.scopes, "sha256": key.digest.hex(), "created": key.created}
        for key in keys
    ]
    # Keys may well be made by root, and the service that is to read them runs as somebody else.
    like = path if path.exists() else path.parent
    write_bytes(path, orjson.dumps({"schema": _SCHEMA, "keys": entries}, option=orjson.OPT_INDENT_2), like)


def _key(entry: dict[str, object]) -> ApiKey:
    scopes, digest = entry["scopes"], bytes.fromhex(str(entry["sha256"]))
    if not isinstance(scopes, list) or not set(scopes) <= set(SCOPES) or len(digest) != 32:
        raise ValueError(f"the entry {entry.get('name')!r} is not whole")
    return ApiKey(str(entry["name"]), tuple(scopes), digest, str(entry["created"]))
