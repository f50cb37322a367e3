"""Does what a page of the documentation tells its reader to do, in a folder like the reader's."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.api.application import create_app
from app.cli import run
from app.settings import load_settings
from tests.api.listening import listening
from tests.shapes import all_shapes, draw

ROOT = Path(__file__).parents[2]
PLACES = {"beach": "circle", "garden": "ring", "kitchen": "square"}
SERVER_SHOWN = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class Step:
    """One thing that a page says: the words of an `imsage` command, or a Python program."""

    command: tuple[str, ...] = ()
    program: str = ""


def steps_of(page: str, heading: str = "") -> Iterator[Step]:
    """The steps of a page of the repository, from a heading on if one is given, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    text = text[text.index(heading) :]
    for language, block in re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL):
        if language == "python":
            yield Step(program=block)
        elif not language:
            lines = (line.strip() for line in block.splitlines())
            yield from (
                Step(tuple(shlex.split(line, comments=True))) for line in lines if line.startswith("imsage ")
            )


def draw_pictures(folder: Path) -> None:
    """A folder as the tutorial has it: places as folders, a tag beside some pictures, one broken file."""
    for place, shape in PLACES.items():
        (folder / place).mkdir(parents=True)
        drawn = [one for one in all_shapes() if one.shape == shape][:12]
        for number, one in enumerate(drawn, 1):
            draw(one).save(folder / place / f"{number:04}.jpg")
            if number % 2:
                (folder / place / f"{number:04}.txt").write_text(f"dog\n{one.colour}\n", encoding="utf-8")
    (folder / "garden" / "broken.jpg").write_text("not a picture", encoding="utf-8")


def take(steps: Iterator[Step]) -> int:
    """Takes the steps; how many. Commands must succeed. Programs run while what was served last is served."""
    taken, served = 0, None
    for step in steps:
        taken += 1
        if step.program:
            assert served is not None, "a program comes before anything is served"
            with listening(create_app(load_settings(data=served))) as address:
                exec(step.program.replace(SERVER_SHOWN, address), {"__name__": "__main__"})
        elif step.command[1] == "serve":
            served = Path(step.command[step.command.index("--data") + 1])
            assert served.is_dir()
        else:
            assert run(step.command[1:]) == 0, step.command
    return taken
