"""How many of its tags a catalogue's pictures lack, and how far what a model names may stand in for them."""

from __future__ import annotations

import numpy as np

from graph_store.arrays import BoolArray, Float32Array

_SUREST = 0.2
"""The surest namings are a fifth as many as there are pictures with two tags: few enough to be sure of, and
with a thousand pictures enough to count.
"""

_FEWEST_SUREST = 10
_HARDLY = 0.05


def completeness(chances: Float32Array, truth: Float32Array, apart: BoolArray | None = None) -> float:
    """How many of the tags that pictures should have they do have: how often the surest namings are right.

    Of what a model is surest of, all would be right if every picture had all of its tags; where tags were
    forgotten whatever they are, so many are wrong as were forgotten (Elkan, Noto 2008). A picture is among
    these only because it has a tag, so each tag is looked at on pictures that have another. chances, truth
    (0/1): [v, t], of pictures that the model has not seen; apart: [t], the tags that tell pictures apart
    (:mod:`gnn.common_tags`), all by default: of one that all carry nobody forgot any, and the surest would be
    all of it. Never below 0.1; 1 where nothing can be told.
    """
    if apart is not None and not apart.all():
        chances, truth = chances[:, apart], truth[:, apart]
    others = truth.sum(axis=1, keepdims=True) - truth > 0
    surest = round(_SUREST * int((truth.sum(axis=1) >= 2).sum()))
    if surest < _FEWEST_SUREST:
        return 1.0
    judged = np.where(others, chances, -1.0).ravel()
    places = np.argpartition(-judged, surest - 1)[:surest]
    return max(float(truth.ravel()[places].mean()), 0.1)


def completed_share(complete: float) -> float:
    """What is added of the tags that are likely. Of visible tags with the chance p some were forgotten, and
    p · (1 - c) / c / (1 - p) of the pictures without them should have them; at most p is added.
    """
    share = min((1.0 - complete) / complete, 1.0)
    return share if share >= _HARDLY else 0.0
