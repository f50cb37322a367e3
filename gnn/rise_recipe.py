"""What can be chosen about preset `graph-rise`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class RiseRecipe:
    """``alpha``: weight of the graph regularisation, 0 = none; ``normaliser``: whether its edges or its nodes
    count alike (:mod:`gnn.objectives.regularity`); ``ranking``: weight of the rank-consistency loss;
    ``attention``: heads with which senders are weighed, 0 = by edge weight alone.
    """

    alpha: float = 0.1
    normaliser: Literal["edges", "degree"] = "edges"
    ranking: float = 1.0
    attention: int = 0
    width: int = 256
    hidden: int = 256
    dim: int = 256
    input_dropout: float = 0.3
    dropout: float = 0.5
    weight_decay: float = 0.05
    batch_size: int = 512
    temperature: float = 0.1
