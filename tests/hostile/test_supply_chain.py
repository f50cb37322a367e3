"""What is installed is what was pinned, byte for byte."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "installer.lock")
PINNED = re.compile(r"^([a-z0-9][a-z0-9._-]*)(?:\[[a-z0-9,_-]+\])?==\S+(?: ; [^\\]+)?(?: \\)?$")


def entries(lock: str) -> dict[str, list[str]]:
    """The lines that follow each pinned package of a lock file, by its name."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in (ROOT / lock).read_text().splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line.startswith(" "):
            found[name].append(line.strip().removesuffix("\\").strip())
        else:
            pinned = PINNED.match(line)
            assert pinned, f"{lock} does not pin {line!r}"
            name = pinned[1]
            found[name] = []
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_pinned_and_hashed(lock: str) -> None:
    found = entries(lock)
    assert found
    for name, hashes in found.items():
        assert hashes, f"{name} has no hash"
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes), name


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_place_to_fetch_from(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*(-i|-f|--index-url|--extra-index-url|--find-links)\b", text, re.M)


def test_every_dependency_of_the_project_is_in_the_lock() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[\[<>=~! ]", each, maxsplit=1)[0].lower().replace("_", "-") for each in asked}
    assert names <= set(entries("requirements.lock"))


@pytest.mark.parametrize("file", ["Makefile", "Dockerfile"])
def test_nothing_is_installed_unchecked(file: str) -> None:
    """Hashes are required, or come as constraints, or nothing is fetched; what is left is named here."""
    text = (ROOT / file).read_text().replace("\\\n", " ")
    commands = [part for part in re.split(r"\n|&&|\|\||;", text) if re.search(r"\bpip install\b", part)]
    assert commands
    for command in commands:
        checked = "--require-hashes" in command or "--constraint requirements.lock" in command
        local = "--no-deps" in command and "--no-build-isolation" in command
        # Builds of PyTorch for one kind of machine are not on PyPI; pip-audit never comes near the service.
        named = "--torch-backend" in command or "pip-audit" in command
        assert checked or local or named, command
