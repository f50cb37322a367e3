"""Pictures in the terminal: when they are written, and the very bytes."""

from __future__ import annotations

import base64
import io
import os
import pty
import re
import sys
import threading

import pytest
from PIL import Image

from app.cli import run
from app.cli.errors import USAGE
from app.strip import TILE_COLUMNS, TILE_ROWS, draw_strip
from app.terminal_images import Protocol, When, picture_text, protocol_for
from graph_store.data_dir import DataDir

KITTY = re.compile(r"\033_G([^;]*);([A-Za-z0-9+/=]*)\033\\")
ITERM2 = re.compile(r"\033\]1337;File=([^:]*):([A-Za-z0-9+/=]*)\a")
VARIABLES = ("TERM", "TERM_PROGRAM", "LC_TERMINAL", "KITTY_WINDOW_ID", "TMUX")


def picture(colour: str = "red", size: tuple[int, int] = (90, 60)) -> Image.Image:
    return Image.new("RGB", size, colour)


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({"TERM": "xterm-kitty"}, Protocol.KITTY),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, Protocol.KITTY),
        ({"TERM": "xterm-ghostty"}, Protocol.KITTY),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"}, Protocol.KITTY),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, Protocol.ITERM2),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, Protocol.ITERM2),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, Protocol.ITERM2),
        ({"TERM": "screen-256color", "KITTY_WINDOW_ID": "1"}, None),
        ({"TERM": "xterm-kitty", "TMUX": "/run/tmux,1,0"}, None),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, None),
        ({"TERM": "dumb"}, None),
        ({}, None),
    ],
)
def test_a_terminal_is_known_by_its_environment(
    environment: dict[str, str], protocol: Protocol | None
) -> None:
    assert protocol_for(When.auto, environment, is_terminal=True) == protocol
    assert protocol_for(When.auto, environment, is_terminal=False) is None
    assert protocol_for(When.never, environment, is_terminal=True) is None
    assert protocol_for(When.always, environment, is_terminal=False) == (protocol or Protocol.KITTY)


def test_kitty_gets_the_file_in_pieces_that_it_takes() -> None:
    png = os.urandom(10_000)
    text = picture_text(png, Protocol.KITTY, 28, 7)

    pieces = KITTY.findall(text)
    assert KITTY.sub("", text) == "\n"
    assert pieces[0][0] == "a=T,f=100,q=2,c=28,r=7,m=1"
    assert [control for control, _ in pieces[1:]] == ["m=1"] * (len(pieces) - 2) + ["m=0"]
    assert all(len(chunk) <= 4096 and len(chunk) % 4 == 0 for _, chunk in pieces)
    assert base64.b64decode("".join(chunk for _, chunk in pieces)) == png


def test_a_small_file_is_one_piece_for_kitty() -> None:
    assert picture_text(b"png", Protocol.KITTY, 2, 1) == "\033_Ga=T,f=100,q=2,c=2,r=1,m=0;cG5n\033\\\n"


def test_iterm2_gets_the_file_whole() -> None:
    assert picture_text(b"png", Protocol.ITERM2, 28, 7) == (
        "\033]1337;File=inline=1;size=3;width=28;height=7;preserveAspectRatio=1:cG5n\a\n"
    )


@pytest.mark.parametrize(("count", "width", "across"), [(10, 80, 5), (3, 80, 3), (4, 10, 1), (1, 200, 1)])
def test_the_strip_is_no_wider_than_the_terminal(count: int, width: int, across: int) -> None:
    strip = draw_strip([picture()] * count, width)

    assert strip.columns == across * TILE_COLUMNS
    assert strip.rows == -(-count // across) * TILE_ROWS
    with Image.open(io.BytesIO(strip.png)) as drawn:
        assert drawn.format == "PNG"
        # Characters are twice as high as wide, so the pixels must be square on the screen.
        assert drawn.width / drawn.height == pytest.approx(strip.columns / (2 * strip.rows))


def test_the_strip_shows_the_pictures_in_their_order_and_leaves_room_for_a_missing_one() -> None:
    strip = draw_strip([picture("red"), None, picture("blue")], 80)

    with Image.open(io.BytesIO(strip.png)) as drawn:
        side = drawn.height
        middles = [drawn.getpixel((side * place + side // 2, side // 2)) for place in range(3)]
    assert middles[0] == (255, 0, 0) and middles[2] == (0, 0, 255)
    assert middles[1] not in (middles[0], middles[2])


def test_without_a_terminal_only_asking_for_pictures_writes_them(
    built_data_dir: DataDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TERM_PROGRAM", "iTerm.app")
    search = ["search", "--data", str(built_data_dir.root), "--tag", "red", "-k", "3"]

    assert run(search) == 0
    assert "\033" not in capsys.readouterr().out
    assert run([*search, "--images", "always"]) == 0
    pictures = ITERM2.findall(capsys.readouterr().out)
    assert len(pictures) == 1 and pictures[0][0].startswith("inline=1;")
    with Image.open(io.BytesIO(base64.b64decode(pictures[0][1]))) as drawn:
        assert drawn.width == 3 * drawn.height


def test_in_a_kitty_terminal_the_pictures_come_by_themselves(
    built_data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TERM", "xterm-kitty")
    ours, theirs = pty.openpty()
    written: list[bytes] = []

    def listen() -> None:
        while True:
            try:
                written.append(os.read(ours, 65536))
            except OSError:  # how Linux says that the other end is closed
                return

    listener = threading.Thread(target=listen)
    listener.start()
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        search = ["search", "--data", str(built_data_dir.root), "--tag", "red", "-k", "2"]
        assert run(search) == 0
        assert run([*search, "--images", "never"]) == 0
    listener.join()
    os.close(ours)

    text = b"".join(written).decode()
    pieces = KITTY.findall(text)
    assert [control for control, _ in pieces if control.startswith("a=T")] == [
        f"a=T,f=100,q=2,c={2 * TILE_COLUMNS},r={TILE_ROWS},m={int(len(pieces) > 1)}"
    ]
    assert base64.b64decode("".join(chunk for _, chunk in pieces)).startswith(b"\x89PNG")


def test_another_word_is_a_usage_error(built_data_dir: DataDir) -> None:
    assert run(["search", "--data", str(built_data_dir.root), "--tag", "red", "--images", "maybe"]) == USAGE
