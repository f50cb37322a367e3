"""Which state of the code a figure is of, so that none is kept beside figures of another."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_CODE = ("*.py", "*.toml", "*.lock")


def code_state() -> str:
    """The commit, and `+` with a digest of what is changed beside it in the code; `unknown` without a
    repository. Pages do not count: a benchmark writes some of them.
    """
    commit = _git("rev-parse", "--short", "HEAD").strip()
    if not commit:
        return "unknown"
    changed = _git("diff", "HEAD", "--", *_CODE).encode()
    beside = _git("ls-files", "--others", "--exclude-standard", "-z", "--", *_CODE)
    for name in beside.split("\0")[:-1]:
        path = _ROOT / name
        # An editor's lock is a link that leads to nothing.
        changed += name.encode() + b"\0" + (path.read_bytes() if path.is_file() else b"")
    return f"{commit}+{hashlib.sha256(changed).hexdigest()[:7]}" if changed else commit


def _git(*asked: str) -> str:
    """What git answers; nothing where it cannot."""
    try:
        found = subprocess.run(["git", *asked], capture_output=True, text=True, check=False, cwd=_ROOT)
    except OSError:
        return ""
    return found.stdout if found.returncode == 0 else ""
