"""Questions like those that the service will ask an index, for the index to be fitted to."""

from __future__ import annotations

import numpy as np

from gnn.embedding import GraphStates
from gnn.readout import readout_of
from gnn.trained_model import TrainedModel
from graph_store.arrays import Float32Array
from graph_store.index_sample import between, stored_of

_PICTURES = 32
STOPS = (0.0, 0.5, 1.0)


def index_questions(trained: TrainedModel, states: GraphStates) -> Float32Array:
    """[m, dim]: indexed images as they ask at both ends and in the middle of the slider, and what lies
    between two of them, as a picture beside the tags of another does.

    The service weighs the parts of a vector by the slider, so what is best for a question is another thing
    than what is nearest to the vector, and lies further apart.
    """
    stored = stored_of(states.embeddings, _PICTURES)
    readout = readout_of(trained, states.tag_states[-1], states.tag_embeddings)
    untold = np.zeros(len(stored), dtype=np.bool_)
    visual = readout.visual(stored)
    conceptual = readout.conceptual(stored, lambda: np.zeros_like(stored), untold)
    asked = []
    for stop in STOPS:
        looks, meaning = readout.slider.weights(stop)
        blended = np.float32(looks) * visual + np.float32(meaning) * conceptual
        asked += [blended, between(blended)]
    return np.concatenate(asked)
