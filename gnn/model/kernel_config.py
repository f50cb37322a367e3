"""The sizes and numbers of the model of preset `default`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class KernelSageConfig:
    """Sizes (fixed by the data) and the numbers that validation chooses.

    ``feature_dim`` → ``width``: image projection; ``neighbour_width``, ``visual_dim``: its leading parts that
    are kept of a neighbourhood's mean and that are the visual block;
    ``tag_width``, ``size_width``: widths of e_t and ρ_t; ``vote_width``: how many axes of a vote are kept;
    ``num_landmark_sets``, ``jaccard_rank``: the Jaccard view (0 = none); ``num_landmarks``: of the readout.
    ``neighbour_weight`` α, ``vote_weight`` β; ``length`` of the kernel; ``completed``; ``trust_jaccard``,
    ``trust_tags``: mean cosine of prediction and truth; ``naming_vote``: what a vote weighs beside the
    prediction when tags are named, and ``naming_whole`` what that of whole tags does
    (:mod:`gnn.tag_votes`), where the vocabulary is compressed; ``naming_hidden``: hidden units of the
    namer (0 = none), ``naming_deep``: how many of its perceptrons have a second layer of them (all or none),
    ``naming_share``: the perceptrons' share; ``likely_tags``: how many tags have slopes of
    their own where the vocabulary is compressed (:mod:`gnn.model.likely_tags`); ``named_view``: whether
    the prediction's tag view is made of either's probabilities, with ``view_share`` in place of
    ``naming_share`` where it is given; ``leaves_out``: whether landmarks know their own part; ``asking``:
    whether tags without a coordinate of their own are asked for by the direction that leads to their images
    (:mod:`gnn.model.carriers`); ``missing``:
    models that were made before tag views were completed add so much of the whole prediction to both views.
    """

    feature_dim: int
    width: int
    neighbour_width: int
    visual_dim: int
    num_tags: int
    tag_width: int
    size_width: int
    vote_width: int
    num_landmark_sets: int
    jaccard_rank: int
    num_landmarks: int
    neighbour_weight: float = 0.3
    vote_weight: float = 0.3
    length: float = 1.0
    missing: float = 0.0
    completed: float = 0.0
    trust_jaccard: float = 1.0
    trust_tags: float = 1.0
    naming_vote: float = 0.3
    naming_whole: float = 0.0
    naming_hidden: int = 0
    naming_deep: int = 0
    naming_share: float = 0.5
    view_share: float | None = None
    likely_tags: int = 0
    named_view: bool = False
    leaves_out: bool = False
    asking: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; ``KernelSageConfig(**d)`` is the inverse."""
        return asdict(self)
