"""Which names a service goes by that is meant for its own machine, or for those near it.

A page may let its own name lead to 127.0.0.1 as soon as it is open (DNS rebinding): to the browser it is then
of the same site as a service there, and may read what that answers. The name that it calls gives it away.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

_ANY = "*"


class LocalNames:
    """Whether a request was meant for this service. Always where every origin may call it, and where it
    listens beyond its own machine, unless told otherwise: there a name of any domain may be its own.

    host: the address that is listened on; origins: those whose pages may call, which name hosts too; only: go
    by local names whatever that address is. In a container it says nothing of who gets there.
    """

    def __init__(self, host: str, origins: Sequence[str] = (), *, only: bool = False) -> None:
        self._any = not (only or _is_local(host)) or _ANY in origins
        self._named = {_host_of(origin.partition("://")[2]) for origin in origins}

    def include(self, host: bytes | None) -> bool:
        """host: the header of that name; every browser sends one."""
        if self._any or host is None:
            return True
        name = _host_of(host.decode("latin-1"))
        return _is_address(name) or _is_local(name) or _is_of_no_domain(name) or name in self._named


def _host_of(address: str) -> str:
    """The name in `name:port`; empty where there is none."""
    try:
        return urlsplit(f"//{address}").hostname or ""
    except ValueError:
        return ""


def _is_of_no_domain(name: str) -> bool:
    """A name without a dot is given away by the own machine or network, and by nobody who owns a domain."""
    return bool(name) and "." not in name and ":" not in name


def _is_address(name: str) -> bool:
    """An address leads where it says: nobody can have it lead elsewhere."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_local(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):  # browsers ask nobody for these (RFC 6761)
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
