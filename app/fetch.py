"""Fetching a picture by address without becoming a way into the private network of the machine.

A name is resolved once, every address it has must be public, and the connection goes to the address that was
checked: a second look-up by the HTTP library could answer differently (DNS rebinding). Each redirect goes
through the same checks.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Collection

import httpx

from graph_store.errors import BadInput

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All IPv6 that is public so far. What lies outside wraps IPv4 in ways of its own (::a.b.c.d, the local NAT64
64:ff9b:1::/48) or is of the site (fec0::/10)."""
_NOT_PUBLIC = (
    # The standard library of Python 3.11 still takes these for public.
    ipaddress.IPv4Network("192.0.0.0/24"),
    ipaddress.IPv4Network("192.88.99.0/24"),
    ipaddress.IPv6Network("3fff::/20"),
    # A cloud's own service for its virtual machines, under an address that looks like any other.
    ipaddress.IPv4Network("168.63.129.16/32"),
)
_MAX_REDIRECTS = 3
_MOST_CONNECTIONS = 100
WEB_PORTS = (80, 443)


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet, also where IPv6 wraps an IPv4 one (mapped, 6to4,
    NAT64).
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address not in _UNICAST:
            return False
    listed = any(address in network for network in _NOT_PUBLIC)
    return address.is_global and not address.is_multicast and not listed


class PictureFetcher:
    """Fetches the bytes at a URL, within a size and a time.

    `max_bytes` caps the body, `timeout` is in seconds and covers everything. `ports` are those that pictures
    may come from: other ports are other services. `allowed` judges each address.
    """

    def __init__(
        self,
        max_bytes: int,
        timeout: float,
        ports: Collection[int] = WEB_PORTS,
        allowed: Callable[[Address], bool] = is_public,
    ) -> None:
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._ports = ports
        self._allowed = allowed
        # Environment proxies would do the resolving themselves and so undo the checks.
        self._client = httpx.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            verify=ssl.create_default_context(),
            timeout=timeout,
            # Connections are kept by address, and the certificate was checked for the name of one request.
            limits=httpx.Limits(max_connections=_MOST_CONNECTIONS, max_keepalive_connections=0),
            headers={"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "imsage"},
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def fetch(self, url: str) -> bytes:
        """The bytes at `url`. Raises BadInput that says why not; a private address is named as refused, not
        tried.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._follow(url)
        except TimeoutError as error:
            raise BadInput(f"Fetching the picture took longer than {self._timeout:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError, UnicodeError) as error:
            raise BadInput(f"The picture could not be fetched: {error or type(error).__name__}") from error

    async def _follow(self, url: str) -> bytes:
        target = _parse(url)
        for _ in range(_MAX_REDIRECTS + 1):
            request = await self._pinned(target)
            response = await self._client.send(request, stream=True)
            try:
                if response.has_redirect_location:
                    target = _parse(response.headers["location"], target)
                    continue
                if response.status_code != 200:
                    raise BadInput(f"The picture could not be fetched: the answer was {response.status_code}")
                return await self._read(response)
            finally:
                await response.aclose()
        raise BadInput(f"The picture could not be fetched: more than {_MAX_REDIRECTS} redirects")

    async def _pinned(self, url: httpx.URL) -> httpx.Request:
        port = url.port or (443 if url.scheme == "https" else 80)
        if port not in self._ports:
            raise BadInput(
                f"The picture's address has the port {port}",
                hint=f"The setting url_fetch_ports allows {', '.join(map(str, self._ports))}.",
            )
        address = await self._resolve(url.host, port)
        host = f"[{address}]" if address.version == 6 else str(address)
        return self._client.build_request(
            "GET",
            url.copy_with(host=host),
            headers={"Host": url.netloc.decode("ascii")},
            # The certificate is checked against the name that was asked for, not against the address.
            extensions={"sni_hostname": url.raw_host.decode("ascii")},
        )

    async def _resolve(self, host: str, port: int) -> Address:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            raise BadInput(f"The host {host} of the picture's address is not known") from error
        addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
        refused = [address for address in addresses if not self._allowed(address)]
        if refused or not addresses:
            raise BadInput(
                f"The picture's address {host} is not on the public internet",
                hint="Only public addresses are fetched.",
            )
        return addresses[0]

    async def _read(self, response: httpx.Response) -> bytes:
        encoding = response.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise BadInput(f"The picture could not be fetched: it came encoded as {encoding}, unasked")
        parts: list[bytes] = []
        size = 0
        async for part in response.aiter_raw():
            size += len(part)
            if size > self._max_bytes:
                raise BadInput(f"The picture at that address is larger than {self._max_bytes} bytes")
            parts.append(part)
        return b"".join(parts)


def _parse(url: str, base: httpx.URL | None = None) -> httpx.URL:
    """The address, which may be relative to another."""
    try:
        parsed = httpx.URL(url) if base is None else base.join(url)
        host = parsed.host  # decoded only now: `xn--` may be followed by what is no international name
    except (httpx.InvalidURL, ValueError) as error:
        raise BadInput(f"The picture's address is not a URL: {error}") from error
    if parsed.scheme not in ("http", "https") or not host:
        raise BadInput("The picture's address must be an http or https URL with a host")
    if parsed.userinfo:
        raise BadInput("The picture's address must not carry a user name or password")
    return parsed
