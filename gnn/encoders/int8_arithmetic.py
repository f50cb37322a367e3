"""How a processor multiplies in eight bits, as a word: machines with the same word compute the same way."""

from __future__ import annotations

import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_INSTRUCTIONS = frozenset(
    {
        "avx2",
        "avx_vnni",
        "avx_vnni_int8",
        "avx512bw",
        "avx512_vnni",
        "amx_int8",
        "asimddp",
        "i8mm",
        "sve",
    }
)
"""What ONNX Runtime chooses its kernels for int8 products by."""


def int8_arithmetic(cpuinfo: Path = _CPUINFO) -> str:
    """Architecture and instructions, such as `x86_64-avx2-avx512_vnni`; the architecture alone where the
    system does not list instructions.
    """
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    # Called `flags` by x86, `Features` by ARM.
    listed = (line.partition(":")[2] for line in lines if line.startswith(("flags", "Features")))
    return "-".join([platform.machine(), *sorted(_INSTRUCTIONS.intersection(next(listed, "").split()))])
