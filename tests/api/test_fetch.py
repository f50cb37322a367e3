"""Fetching by address, against real servers on loopback: what is not public is refused before a connection is
made.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any

import pytest

from app.fetch import Address, PictureFetcher, is_public
from graph_store.errors import BadInput

pytestmark = pytest.mark.asyncio

PICTURE = b"\x89PNG and so on"
EVERY_PORT = range(1, 65536)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Host"]))  # type: ignore[attr-defined]
        name = self.path.lstrip("/")
        if name.startswith("to="):
            self.send_response(302)
            self.send_header("Location", name.removeprefix("to="))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if name == "nowhere":
            self.send_response(302)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if name == "slow":
            time.sleep(1.5)
        if name == "dripping":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:  # until the other end hangs up
                    self.wfile.write(b"x")
                    time.sleep(0.05)
            return
        if name == "absent":
            self.send_error(404)
            return
        body = PICTURE * 1000 if name == "large" else PICTURE
        self.send_response(200)
        if name == "squeezed":
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output of tests clean."""


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up early is what some tests are about."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = _Quiet(("127.0.0.1", 0), _Handler)
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _only_127_0_0_1(address: Address) -> bool:
    return address == ip_address("127.0.0.1")


async def fetch(url: str, *, strict: bool = False, max_bytes: int = 1000, timeout: float = 10.0) -> bytes:
    allowed = is_public if strict else _only_127_0_0_1
    fetcher = PictureFetcher(max_bytes, timeout, EVERY_PORT, allowed)
    try:
        return await fetcher.fetch(url)
    finally:
        await fetcher.close()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "[fd00::1]",
        "[fe80::1]",
        # Every other way to write loopback that some resolver understands.
        "0177.0.0.1",
        "017700000001",
        "0x7f.0.0.1",
        "127.0.0.1.",
        "%31%32%37.0.0.1",
        "\uff11\uff12\uff17.\uff10.\uff10.\uff11",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b:1::7f00:1]",
        "[fec0::1]",
        "[fe80::1%25lo]",
        # Services that clouds offer to their machines.
        "192.0.0.192",
        "100.100.100.200",
        "168.63.129.16",
        "[fd00:ec2::254]",
    ],
)
async def test_an_address_that_is_not_public_is_refused_unasked(
    server: ThreadingHTTPServer, host: str
) -> None:
    with pytest.raises(BadInput, match=r"not on the public internet|is not known|not a URL"):
        await fetch(f"http://{host}:{server.server_port}/picture", strict=True)
    assert server.asked == []  # type: ignore[attr-defined]


async def test_a_picture_is_fetched_from_the_address_that_was_checked(server: ThreadingHTTPServer) -> None:
    assert await fetch(f"http://127.0.0.1:{server.server_port}/picture") == PICTURE
    assert server.asked == [("/picture", f"127.0.0.1:{server.server_port}")]  # type: ignore[attr-defined]


async def test_a_redirect_is_followed_only_to_allowed_addresses(server: ThreadingHTTPServer) -> None:
    port = server.server_port
    assert await fetch(f"http://127.0.0.1:{port}/to=/picture") == PICTURE
    with pytest.raises(BadInput, match="not on the public internet"):
        await fetch(f"http://127.0.0.1:{port}/to=http://127.0.0.2:{port}/picture")
    with pytest.raises(BadInput, match="http or https"):
        await fetch(f"http://127.0.0.1:{port}/to=file:///etc/passwd")


async def test_a_redirect_to_nowhere_is_told(server: ThreadingHTTPServer) -> None:
    with pytest.raises(BadInput, match="the answer was 302"):
        await fetch(f"http://127.0.0.1:{server.server_port}/nowhere")


async def test_an_international_name_that_is_none_is_refused(server: ThreadingHTTPServer) -> None:
    with pytest.raises(BadInput, match="not a URL"):
        await fetch("http://xn--a/picture")
    with pytest.raises(BadInput, match="could not be fetched: Codepoint"):
        await fetch(f"http://127.0.0.1:{server.server_port}/to=http://xn--a/picture")


async def test_redirects_end(server: ThreadingHTTPServer) -> None:
    with pytest.raises(BadInput, match="more than 3 redirects"):
        await fetch(f"http://127.0.0.1:{server.server_port}/to=to=to=to=to=/picture")


async def test_a_picture_that_is_too_large_or_too_slow_is_given_up(server: ThreadingHTTPServer) -> None:
    with pytest.raises(BadInput, match="larger than 1000 bytes"):
        await fetch(f"http://127.0.0.1:{server.server_port}/large")
    with pytest.raises(BadInput, match="longer than"):
        await fetch(f"http://127.0.0.1:{server.server_port}/slow", timeout=0.3)


async def test_an_answer_that_never_ends_is_given_up(server: ThreadingHTTPServer) -> None:
    with pytest.raises(BadInput, match="longer than"):
        await fetch(f"http://127.0.0.1:{server.server_port}/dripping", timeout=0.5)


async def test_a_name_is_looked_up_once_and_connected_to_as_it_was_checked(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the second look-up would lead elsewhere."""
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo
    asked: list[Any] = []

    async def rebinding(host: Any, *rest: Any, **options: Any) -> Any:
        if host != "rebound.example":
            return await real(host, *rest, **options)
        asked.append(host)
        return await real("127.0.0.1" if len(asked) == 1 else "127.0.0.2", *rest, **options)

    monkeypatch.setattr(loop, "getaddrinfo", rebinding)
    assert await fetch(f"http://rebound.example:{server.server_port}/picture") == PICTURE
    assert len(asked) == 1
    assert server.asked == [("/picture", f"rebound.example:{server.server_port}")]  # type: ignore[attr-defined]
    with pytest.raises(BadInput, match="not on the public internet"):
        await fetch(f"http://rebound.example:{server.server_port}/picture")
    assert len(server.asked) == 1  # type: ignore[attr-defined]


async def test_a_name_with_one_private_address_among_others_is_refused(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo

    async def both(host: Any, *rest: Any, **options: Any) -> Any:
        return [*await real("127.0.0.1", *rest, **options), *await real("10.0.0.1", *rest, **options)]

    monkeypatch.setattr(loop, "getaddrinfo", both)
    with pytest.raises(BadInput, match="not on the public internet"):
        await fetch(f"http://mixed.example:{server.server_port}/picture")
    assert server.asked == []  # type: ignore[attr-defined]


async def test_only_the_ports_of_the_web_are_asked_redirects_included(server: ThreadingHTTPServer) -> None:
    port = server.server_port
    fetcher = PictureFetcher(1000, 10.0, allowed=_only_127_0_0_1)
    only_this = PictureFetcher(1000, 10.0, (port,), _only_127_0_0_1)
    try:
        with pytest.raises(BadInput, match=rf"the port {port}. .*url_fetch_ports allows 80, 443"):
            await fetcher.fetch(f"http://127.0.0.1:{port}/picture")
        assert server.asked == []  # type: ignore[attr-defined]
        with pytest.raises(BadInput, match="the port 22"):
            await only_this.fetch(f"http://127.0.0.1:{port}/to=http://127.0.0.1:22/picture")
    finally:
        await fetcher.close()
        await only_this.close()


async def test_other_answers_are_told(server: ThreadingHTTPServer) -> None:
    with pytest.raises(BadInput, match="the answer was 404"):
        await fetch(f"http://127.0.0.1:{server.server_port}/absent")
    with pytest.raises(BadInput, match="came encoded as gzip"):
        await fetch(f"http://127.0.0.1:{server.server_port}/squeezed")


async def test_a_closed_port_is_told() -> None:
    with pytest.raises(BadInput, match="could not be fetched"):
        await fetch("http://127.0.0.1:1/picture")


@pytest.mark.parametrize(
    "url", ["", "picture.png", "ftp://example.org/a", "http://", "http://a:b@127.0.0.1/", "http://[", "\x00"]
)
async def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(BadInput):
        await fetch(url)


async def test_public_addresses_are_public() -> None:
    assert is_public(ip_address("93.184.216.34")) and is_public(ip_address("2606:2800:220:1::1"))
    assert is_public(ip_address("::ffff:93.184.216.34"))
    assert not is_public(ip_address("2001:0:53aa:64c::1"))
