"""The client's errors are values: they can be sent to another process and copied."""

from __future__ import annotations

import copy
import pickle

import pytest

from imsage import ImsageError, Wrong


class OfSomebody(ImsageError):
    """What somebody made of it for a program of theirs."""


def refused(kind: type[ImsageError]) -> ImsageError:
    """One with every field set."""
    return kind(
        type="urn:imsage:problem:invalid-request",
        title="Invalid request",
        status=422,
        detail="The request is not valid",
        instance="/v1/search",
        errors=(Wrong("/visual_weight", "too large"),),
        request_id="abc",
    )


@pytest.mark.parametrize("kind", [ImsageError, OfSomebody])
def test_an_error_is_the_same_after_pickling(kind: type[ImsageError]) -> None:
    error = refused(kind)
    again = pickle.loads(pickle.dumps(error))

    assert type(again) is kind
    assert (vars(again), again.args, str(again)) == (vars(error), error.args, str(error))


def test_an_error_is_the_same_after_copying() -> None:
    error = refused(ImsageError)

    for again in (copy.copy(error), copy.deepcopy(error)):
        assert (vars(again), again.args, str(again)) == (vars(error), error.args, str(error))
