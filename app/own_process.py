"""Processes of Python that run this very code, whatever the working directory holds."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path


def command(module: str, *arguments: str) -> list[str]:
    """The command line of a module of ours. It goes with `environment`.

    With -P, because Python would look in the working directory first, and a package `app` there is somebody
    else's.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def environment(given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """`given`, and in it the place of this code: it may be installed, or only be where it was cloned to."""
    code = str(Path(__file__).parents[1])
    path = given.get("PYTHONPATH")
    return {**given, "PYTHONPATH": code if not path else f"{code}{os.pathsep}{path}"}
