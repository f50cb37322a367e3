"""What is said of a file whose format this imsage does not read."""

from __future__ import annotations


def way_out(found: object, ours: int, otherwise: str) -> str:
    """The hint for a file of version `found`, where `ours` is what is read. `otherwise`: what helps with an
    older file, and with a newer one when the newer imsage is not at hand.
    """
    if isinstance(found, int) and found > ours:
        return f"A newer imsage made it: use that one. Or: {otherwise}"
    return otherwise
