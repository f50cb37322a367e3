"""The service as the container runs it: a read-only root, no capabilities, no new privileges.

There need not be a container engine for that: in a mount namespace of its own the root is read-only, and only
the data directory and one temporary file system can be written to.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gnn.encoders.onnx_cache import cache_dir
from graph_store.data_dir import DataDir

ROOT = Path(__file__).parents[2]
DATA, TEMPORARY = "/srv", "/media"

LOCKED_DOWN = f"""
set -e
mount --make-rprivate /
mount --bind "$1" {DATA}
mount -t tmpfs -o size=64m tmpfs {TEMPORARY}
for place in $(cut -d' ' -f5 /proc/self/mountinfo); do
    case "$place" in
        {DATA}|{TEMPORARY}|/proc*|/sys*|/dev*) ;;
        *) mount -o remount,bind,ro "$place" || : ;;
    esac
done
shift
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""


def test_the_service_works_on_a_read_only_root_without_any_capability(built_copy: DataDir) -> None:
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv", "mount"))):
        pytest.skip("only root may make such a namespace")
    probe = ["unshare", "--mount", "sh", "-c", "mount --make-rprivate / && mount -t tmpfs tmpfs /media"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    places = {
        "HOME": TEMPORARY,
        "TMPDIR": TEMPORARY,
        "IMSAGE_CACHE_DIR": str(cache_dir()),
    }
    command = ["unshare", "--mount", "sh", "-c", LOCKED_DOWN, "sh", str(built_copy.root)]
    ran = subprocess.run(
        [*command, sys.executable, "-m", "tests.hostile.locked_down", DATA],
        cwd=ROOT,
        env={**os.environ, **places, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("refused: Read-only file system") == 2
    assert "served: ok" in ran.stdout
    assert "capabilities: 0 new privileges: 0" in ran.stdout
