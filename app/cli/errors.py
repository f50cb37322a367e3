"""What the command line says and which code it exits with when a command fails.

0 is success, 2 a usage error (a wrong option or setting, an unknown preset, encoder or format), 130 an
interruption by Ctrl-C, 1 any other failure. A failure is one line on standard error; `IMSAGE_DEBUG=1` adds
the traceback.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable

from app.terminal_text import printable
from graph_store.errors import ImsageError, UnknownName, WrongUsage
from graph_store.exhaustion import exhausted

FAILURE = 1
USAGE = 2
INTERRUPTED = 130

_GO_ON = ("ingest", "build", "demo")
_BEGIN_ANEW = ("reindex", "evaluate", "export", "import")

DEBUG_VARIABLE = "IMSAGE_DEBUG"


def exit_code_of(command: Callable[[], object], name: str = "") -> int:
    """Runs `command`, reports what it raises, and returns the exit code of the process. name: what the user
    called it.
    """
    try:
        command()
    except SystemExit as exit_:
        return _code_of(exit_, name)
    except (UnknownName, WrongUsage) as error:
        return _report(str(error), USAGE)
    except ImsageError as error:
        return _report(str(error), FAILURE)
    except KeyboardInterrupt:
        return interrupted(name)
    except Exception as error:
        lacking = exhausted(error)
        if lacking is not None:
            return _report(str(lacking), FAILURE)
        what = " ".join(f"{type(error).__name__}: {error}".split())
        return _report(f"{what} (this is a fault in imsage; {DEBUG_VARIABLE}=1 shows where)", FAILURE)
    return 0


def interrupted(name: str = "") -> int:
    """Says what an interruption of that command leaves behind."""
    left = ""
    if name == "train":
        left = "; what was learnt is kept, and the same command with --resume goes on from there"
    elif name in _GO_ON:
        left = "; what was done is kept, and the same command goes on from there"
    elif name in _BEGIN_ANEW:
        left = "; nothing was changed, and the same command begins anew"
    sys.stderr.write(f"imsage: interrupted{left}\n")
    return INTERRUPTED


def _code_of(exit_: SystemExit, name: str) -> int:
    if exit_.code == INTERRUPTED:  # click turns Ctrl-C into this code without a word
        return interrupted(name)
    if exit_.code is None:
        return 0
    # A server that could not start ends with a code of its own.
    return int(exit_.code) if exit_.code in (0, USAGE) else FAILURE


def _report(line: str, code: int) -> int:
    if os.environ.get(DEBUG_VARIABLE, "") not in ("", "0"):
        traceback.print_exc()
    sys.stderr.write(f"imsage: {printable(line)}\n")
    return code
