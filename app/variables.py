"""Environment variables that begin as those of the settings do and are none: mistyped, or somebody else's."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches

from graph_store.errors import WrongUsage

ENV_PREFIX = "IMSAGE_"
SETTINGS_FILE_VARIABLE = f"{ENV_PREFIX}SETTINGS_FILE"
NO_SETTINGS = frozenset({SETTINGS_FILE_VARIABLE, f"{ENV_PREFIX}CACHE_DIR", f"{ENV_PREFIX}DEBUG"})
"""Those of ours that are no settings of the service."""

# One letter in six. It has to stay above what likely names of others come to: SERVICE is as near as 0.77 to
# DEVICE.
_ALIKE = 0.8

_OF_A_SERVICE = re.compile(r"(.+?)_(?:SERVICE_HOST|SERVICE_PORT(?:_.+)?|PORT(?:_[0-9].*)?)")


def refuse_mistyped(environment: Mapping[str, str], settings: Collection[str]) -> None:
    """Raises WrongUsage for variables whose names are nearly those of ours, and names both. `settings`: the
    names of all settings, in lower case.
    """
    known = [name.removeprefix(ENV_PREFIX) for name in sorted(_ours(settings))]
    meant = {
        name: near[0]
        for name in unread_variables(environment, settings)
        if (near := get_close_matches(name.upper().removeprefix(ENV_PREFIX), known, 1, _ALIKE))
    }
    if meant:
        right = ", ".join(f"{ENV_PREFIX}{name}" for name in meant.values())
        raise WrongUsage(f"There is no setting {', '.join(meant)}", hint=f"Is {right} meant?")


def unread_variables(environment: Mapping[str, str], settings: Collection[str]) -> list[str]:
    """The names that begin with IMSAGE_ and that nothing of ours reads. A variable without a value counts as
    not set, as for the settings. What Kubernetes tells each pod of a Service `imsage-…` is left out.
    """
    ours = _ours(settings)
    return sorted(
        name
        for name, value in environment.items()
        if value and name.upper().startswith(ENV_PREFIX) and name.upper() not in ours
        if not _is_of_a_service(name, environment)
    )


def _ours(settings: Collection[str]) -> frozenset[str]:
    return NO_SETTINGS | {f"{ENV_PREFIX}{name.upper()}" for name in settings}


def _is_of_a_service(name: str, environment: Mapping[str, str]) -> bool:
    """Whether Kubernetes has made it: only beside the address of the same Service is it taken for that."""
    found = _OF_A_SERVICE.fullmatch(name)
    return found is not None and f"{found[1]}_SERVICE_HOST" in environment
