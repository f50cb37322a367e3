"""The named recipes: which graph is built, which model runs on it, and how it is trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from gnn.model.edge_weights import MessageWeights
from gnn.rise_recipe import RiseRecipe
from graph_store.errors import UnknownName


@dataclass(frozen=True)
class GraphParameters:
    """Which edges are made.

    ``neighbours``, ``threshold``: `similar` edges go to so many nearest images of at least that cosine, in
    ``space``: the encoder's own features, or their principal components with their spread evened out (half
    power: each axis divided by the square root of its standard deviation), those of the features or of their
    roots. ``related``: at most so many tags
    for each tag, joined by text cosine or by being used together on so many images; 0 = no such edges.
    """

    neighbours: int = 20
    threshold: float = 0.0
    space: Literal["raw", "whitened", "rooted"] = "rooted"
    related: int = 10
    related_text_threshold: float = 0.6
    related_min_images: int = 3


@dataclass(frozen=True)
class Preset:
    """A recipe. ``epochs`` of a kernel model are steps of its search over a validation part. ``hashed``:
    codes are learnt after the model (:mod:`gnn.hashing.training`) and searched in place of its vectors.
    ``rise``: what only a rise model is made with; ``agreement``: rounds in which edges are judged before
    anything else, 0 = none.
    """

    name: str
    summary: str
    model: Literal["kernel", "sage", "rise"]
    graph: GraphParameters = field(default_factory=GraphParameters)
    weights: MessageWeights = field(default_factory=MessageWeights)
    epochs: int = 16
    patience: int | None = None
    learning_rate: float = 0.0
    hashed: bool = False
    rise: RiseRecipe | None = None
    agreement: int = 0

    def to_dict(self) -> dict[str, Any]:
        """What is recorded with the model."""
        return asdict(self)


DEFAULT = Preset(
    name="default",
    summary="weighted two-layer graph, kernel readout of tag sets, separate visual and conceptual blocks",
    model="kernel",
    weights=MessageWeights(
        similar="softmax",
        similar_temperature=10.0,
        tags="proportional",
        related="proportional",
        max_degree=None,
    ),
)

PAPER = Preset(
    name="paper",
    summary="Misraa et al. 2020: mean-aggregating GraphSAGE trained on random walks",
    model="sage",
    graph=GraphParameters(neighbours=5, threshold=0.65, space="raw", related=0),
    weights=MessageWeights(tags="proportional", max_degree=100),
    epochs=50,
    learning_rate=1e-5,
)

HASH = replace(
    DEFAULT,
    name="hash",
    summary="the default model, its index searched by learnt binary codes and ranked again exactly",
    hashed=True,
)

GRAPH_RISE = Preset(
    name="graph-rise",
    summary="Juan et al. 2020: classification over tags with a sampled softmax and graph regularisation",
    model="rise",
    graph=GraphParameters(space="whitened"),
    weights=MessageWeights(
        similar="softmax", similar_temperature=10.0, tags="proportional", related="proportional"
    ),
    epochs=24,
    learning_rate=2e-3,
    rise=RiseRecipe(),
)

PRESETS = {preset.name: preset for preset in (DEFAULT, PAPER, GRAPH_RISE, HASH)}


def preset_named(name: str) -> Preset:
    """Raises UnknownName, which lists what there is."""
    if name not in PRESETS:
        raise UnknownName(f"There is no preset {name!r}", hint=f"Known: {', '.join(PRESETS)}.")
    return PRESETS[name]
