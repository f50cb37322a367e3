"""The model of preset `default`: two layers of weighted GraphSAGE and a kernel readout.

What an image's states hold (u: its projected features; a_ij, w_it: edge weights that sum to one a row):

    h^0_i = [ u_i, 1 ]                                  tags: h^0_t = [ e_t, ρ_t, 1 ]
    h^1_i = [ h^0_i, Σ_j a_ij h^0_j, y_i, 1{i has tags} ],   y_i = indicator(Σ_t w_it e_t)
    h^2_i = [ u_i, ū_i, y_i, vote_i, flags ],           vote_i = Σ_j a_ij y_j

so layer 1 is a SAGE mean over similar images and over tags, and layer 2 brings the tags of the neighbours:
the vote. The readout is attention over landmarks (:mod:`gnn.landmarks`: images, or centres of clusters of
them) with a Matérn kernel k and learnt values A:

    z_i = [ u_i, α·unit(ū_i), β·unit(vote_i) V ],   f(z) = b + Σ_l k(z, z_l) A_l

whose values solve a ridge regression of the images' own tag sets (:mod:`gnn.model.tag_sets`): the
posterior mean of a Gaussian process on graph features. V keeps the leading axes of the votes where there are
many tags. z never holds the image's own tags, so an image with tags and one without are treated alike, and a
query is embedded by the very function that embedded the index.

Tags are named, and where validation says so the prediction's tag view is made, by :mod:`gnn.model.tag_namer`
on u, vote and f(z). Vocabularies that are compressed have none and are named by f(z) and the vote.

The embedding is three blocks: visual unit(u), and two conceptual ones (Jaccard view, tag view). Without tags
these are the prediction, scaled by `trust`. With tags the Jaccard view is that of the tags, and the tag view
that of the tags completed by `completed` times what else is likely (tags are rarely complete): an image is
found by a tag that it lacks, and is no less like those with the same tags. A landmark image has taught f its
own tags, so what f says of it holds them and denies the others; its own part is taken out before its tags are
completed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gnn.model.base import GraphModel
from gnn.model.kernel_config import KernelSageConfig
from gnn.model.kernels import at_most_unit, matern_kernel, rooted, shortened, squared_lengths, unit
from gnn.model.likely_tags import LikelyTags, both_readings
from gnn.model.tag_namer import TagNamer
from gnn.model.tag_sets import indicator, jaccard_features

_SOME_LANDMARKS = 256
"""So many tell where the middle of the kernel's values is; any number near it does."""

FEW = 64
"""Up to so many rows, as questions are asked, the kernel is computed in double precision, which costs them
hardly any time: with thousands of landmarks the rounding of its values to float32 is most of the error that a
prediction has (2e-5 with 4,833 of them, and 4e-6 without it).
"""

_ROWS = 512
"""So many rows are compared with the landmarks at a time: their kernel, 6 MB, stays in the cache while it is
worked on.
"""

_LEAST_KNOWN = 1e-6
"""A share of known tags below this is none."""

_SAME, _OTHER = 1 - 1e-4, 1 - 1e-2
"""A kernel above the first means the landmark itself (0.014 lengths away at most), one below the second
another image (0.14 lengths). An image whose neighbours have changed since training moves away from what it
was as a landmark; between the two its own part fades, so that no rounding decides about the whole of it.
"""


class KernelSage(GraphModel):
    """The formula of this module's docstring. All parameters are buffers: they are solved for, not
    descended to.
    """

    num_layers = 2

    def __init__(self, config: KernelSageConfig) -> None:
        super().__init__()
        self.config = config
        outputs = config.jaccard_rank + config.tag_width
        self.dim = config.visual_dim + outputs
        shapes = {
            "mean": (config.feature_dim,),
            "axes": (config.feature_dim, config.width),
            "tag_vectors": (config.num_tags, config.tag_width + config.size_width),
            "landmark_sets": (config.num_landmark_sets, config.num_tags if config.jaccard_rank else 0),
            "set_projection": (config.num_landmark_sets, config.jaccard_rank),
            "landmarks": (
                config.num_landmarks,
                config.width + config.neighbour_width + config.vote_width,
            ),
            "vote_axes": (config.tag_width, config.vote_width if self.cuts_votes else 0),
            "values": (config.num_landmarks, outputs),
            "bias": (outputs,),
        }
        if config.leaves_out:
            shapes["own"] = (config.num_landmarks,)
        if config.asking:
            shapes["asking"] = (config.tag_width, config.tag_width)
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))
        self.namer = (
            TagNamer(config.width, config.tag_width, config.naming_hidden, config.naming_deep)
            if config.naming_hidden
            else None
        )
        self.likely = LikelyTags(config.tag_width, config.likely_tags) if config.likely_tags else None
        self._lengths: tuple[Tensor, int, Tensor] | None = None
        self._centre: tuple[tuple[Tensor, ...], list[int], float, Tensor] | None = None

    def image_dim(self, layer: int) -> int:
        tags = self.config.tag_width + 1
        return (self.config.width + 1, self.tags_start + tags, self.tags_start + 2 * tags)[layer]

    @property
    def cuts_votes(self) -> bool:
        """Whether V is needed: else a vote is taken whole."""
        return self.config.vote_width < self.config.tag_width

    @property
    def tells_tags_apart(self) -> bool:
        """Whether each tag has a coordinate of its own: else the vocabulary is compressed."""
        return not self.config.size_width

    @property
    def tags_start(self) -> int:
        """Where y begins in h^1 and h^2: behind u, 1, the leading part of ū, 1{i has similar images}."""
        return self.config.width + 1 + self.config.neighbour_width + 1

    def tag_dim(self, layer: int) -> int:
        del layer
        return self.config.tag_width + self.config.size_width + 1

    def heard(self, layer: int) -> slice:
        """Layer 2 takes of its neighbours what their tags say, and not their neighbours' looks."""
        return slice(None) if layer == 1 else slice(self.tags_start, None)

    def input_images(self, x: Tensor) -> Tensor:
        centred = rooted(x) - self.get_buffer("mean")
        projected = unit(centred @ self.get_buffer("axes"))
        return torch.cat([projected, projected.new_ones(len(projected), 1)], dim=1)

    def input_tags(self, text: Tensor, ids: Tensor) -> Tensor:
        """An unseen tag (id -1) starts at zero; its `related` tags speak for it in layer 1, and images hear
        them in layer 2.
        """
        del text
        table = self.get_buffer("tag_vectors")
        known = (ids >= 0).unsqueeze(1).to(table.dtype)
        vectors = table[ids.clamp(min=0)] if len(table) else table.new_zeros(len(ids), table.shape[1])
        return torch.cat([vectors * known, known], dim=1)

    def image_layer(self, layer: int, own: Tensor, similar: Tensor, tags: Tensor) -> Tensor:
        if layer == 1:
            leading = similar[:, : self.config.neighbour_width]
            return torch.cat([own, leading, similar[:, -1:], self.sets_of(tags), tags[:, -1:]], dim=1)
        # The tags once more: by now the related tags of those unseen in training speak for them.
        told = torch.cat([self.sets_of(tags), tags[:, -1:]], dim=1)
        return torch.cat([own[:, : self.tags_start], told, similar[:, self.tags_start :]], dim=1)

    def tag_layer(self, layer: int, own: Tensor, images: Tensor, related: Tensor) -> Tensor:
        del layer, images
        return own + (1 - own[:, -1:]) * related

    def sets_of(self, tags: Tensor) -> Tensor:
        """y [n, tag_width] from messages or states of tags [n, tag_dim]. What training has not seen and
        nothing speaks for is no part of a set: the mean is over what is known, or the rest would count more.
        """
        width = self.config.tag_width
        tags = tags / tags[:, -1:].clamp_min(_LEAST_KNOWN)
        return indicator(tags[:, :width], tags[:, width:-1] if self.config.size_width else None)

    def readout_inputs(self, state: Tensor) -> Tensor:
        """z [n, width + neighbour_width + vote_width] from h^2."""
        width = self.config.width
        neighbours = unit(state[:, width + 1 : self.tags_start - 1])
        vote = unit(self.votes(state))
        if self.cuts_votes:
            vote = vote @ self.get_buffer("vote_axes")
        return torch.cat([state[:, :width], neighbours, vote], dim=1) * self.input_weights()

    def votes(self, state: Tensor) -> Tensor:
        """The vote of the neighbours [n, tag_width] from h^2."""
        return state[:, -(self.config.tag_width + 1) : -1]

    def input_weights(self) -> Tensor:
        """What each coordinate of z weighs: 1, α and β."""
        config = self.config
        return torch.cat(
            [
                torch.ones(config.width),
                torch.full((config.neighbour_width,), config.neighbour_weight),
                torch.full((config.vote_width,), config.vote_weight),
            ]
        )

    def predict(self, inputs: Tensor) -> Tensor:
        """f(z): [n, jaccard_rank + tag_width]."""
        if len(inputs) <= _ROWS:
            return self._summed(self.kernel(inputs))
        return torch.cat([self._summed(self.kernel(part)) for part in torch.split(inputs, _ROWS)])

    def _summed(self, kernel: Tensor) -> Tensor:
        """b + k A for kernels [n, num_landmarks], which are written over.

        The values are large and of both signs: with thousands of landmarks Σ |k||A| is thousands of times the
        sum that is left, whose last digits float32 then loses. So the middle of the kernel's values is taken
        out of it and into the bias: Σ k A = Σ (k - m) A + m Σ A. What is left to cancel is some 18 times
        less, and nothing is slower.
        """
        middle, bias = self.centre()
        values = self.get_buffer("values")
        result: Tensor = bias + kernel.sub_(middle).to(values.dtype) @ values
        return result

    def centre(self) -> tuple[float, Tensor]:
        """m and b + m Σ A of `predict`, summed in double precision."""
        landmarks, values, bias = (self.get_buffer(name) for name in ("landmarks", "values", "bias"))
        made_of = (landmarks, values, bias)
        versions = [each._version for each in made_of]
        known = self._centre
        if (
            known is None
            or known[1] != versions
            or any(a is not b for a, b in zip(known[0], made_of, strict=True))
        ):
            some = landmarks[:: max(1, len(landmarks) // _SOME_LANDMARKS)]
            middle = float(self.kernel(some).mean()) if len(landmarks) else 0.0
            shifted = bias.double() + middle * values.double().sum(dim=0)
            known = self._centre = made_of, versions, middle, shifted.to(bias.dtype)
        return known[2], known[3]

    def predict_apart(self, inputs: Tensor) -> Tensor:
        """f(z) for indexed images: one that is a landmark itself does not speak for itself.

        With h its leverage, A its values and λ the ridge this is f(z) - λh/(1 - h)·A, what
        :func:`gnn.kernel_solve.left_out` says; the factor is kept in `own`.
        """
        if len(inputs) > _ROWS:
            return torch.cat([self.predict_apart(part) for part in torch.split(inputs, _ROWS)])
        kernel = self.kernel(inputs)
        values = self.get_buffer("values")
        if not self.config.leaves_out or not len(values):
            return self._summed(kernel)
        nearest, landmark = kernel.max(dim=1)
        itself = ((nearest - _OTHER) / (_SAME - _OTHER)).clamp(0, 1).to(values.dtype)
        own = self.get_buffer("own")[landmark] * itself
        return self._summed(kernel) - own.unsqueeze(1) * values[landmark]

    def kernel(self, inputs: Tensor) -> Tensor:
        """k(z, z_l): [n, num_landmarks], of few rows in double precision."""
        return matern_kernel(
            inputs,
            self.get_buffer("landmarks"),
            self.config.length,
            self._landmark_lengths(),
            precise=len(inputs) <= FEW,
        )

    def _landmark_lengths(self) -> Tensor:
        """Squared lengths [m] of the landmarks: half of a single query's time, were they made each time."""
        landmarks = self.get_buffer("landmarks")
        known = self._lengths
        if known is None or known[0] is not landmarks or known[1] != landmarks._version:
            known = landmarks, landmarks._version, squared_lengths(landmarks)
            self._lengths = known
        return known[2]

    def expected_sets(self, state: Tensor, *, apart: bool = False) -> Tensor:
        """What tags are named by, [n, tag_width] from h^2: the namer's probabilities, or the prediction and
        some of the vote. apart: indexed images, which are not to speak for themselves.
        """
        inputs = self.readout_inputs(state)
        tags = (self.predict_apart(inputs) if apart else self.predict(inputs))[:, self.config.jaccard_rank :]
        if self.namer is None:
            return tags + self.config.naming_vote * self.votes(state)
        return self.named(state, tags)

    def likely_sets(self, state: Tensor, predicted: Tensor) -> Tensor:
        """Which tags are likely, [n, tag_width]: what sets are completed by. predicted: f(z)."""
        tags = predicted[:, self.config.jaccard_rank :]
        if self.namer is not None:
            return self.named(state, tags)
        if self.likely is not None:
            likely: Tensor = self.likely(tags, self.votes(state))
            return likely
        return tags + self.config.naming_vote * self.votes(state)

    def view_sets(self, state: Tensor, predicted: Tensor) -> Tensor | None:
        """What the tag view of a prediction is made of, [n, tag_width]; None where it is the prediction."""
        config = self.config
        if not config.named_view:
            return None
        tags = predicted[:, config.jaccard_rank :]
        if self.namer is not None:
            return self.named(state, tags, config.view_share)
        return both_readings(tags, self.likely_sets(state, predicted))

    def named(self, state: Tensor, predicted: Tensor, share: float | None = None) -> Tensor:
        """The namer's probabilities [n, tag_width]. predicted: the tag view of f(z); share: its perceptron's,
        that of naming where None.
        """
        assert self.namer is not None
        looks = state[:, : self.config.width]
        share = self.config.naming_share if share is None else share
        named: Tensor = self.namer(looks, self.votes(state), predicted, share)
        return named

    def predicted_tags(self, state: Tensor) -> Tensor:
        """[n, num_tags]: how much each tag is expected, about 0 to 1; not calibrated."""
        vectors = self.get_buffer("tag_vectors")[:, : self.config.tag_width]
        scores: Tensor = self.expected_sets(state) @ vectors.T
        return scores

    def embed_images(self, states: Sequence[Tensor]) -> Tensor:
        state = states[-1]
        own = self.own_sets(state)
        tagged = (own * own).sum(dim=1) > 1e-12
        if not tagged.any():  # a picture as a query: spare it the landmark sets
            conceptual = self._undescribed(state)
        elif tagged.all():
            conceptual = self._described(state)
        else:
            conceptual = state.new_empty(len(state), self.dim - self.config.visual_dim)
            conceptual[tagged] = self._described(state[tagged])
            conceptual[~tagged] = self._undescribed(state[~tagged])
        return torch.cat([self.visual_block(state), conceptual], dim=1)

    def _undescribed(self, state: Tensor) -> Tensor:
        """The conceptual blocks of images without tags."""
        predicted = self.predict(self.readout_inputs(state))
        return self.expected_blocks(predicted, self.view_sets(state, predicted))

    def _described(self, state: Tensor) -> Tensor:
        """The conceptual blocks of images with tags."""
        config, own = self.config, self.own_sets(state)
        has_similar = state[:, self.tags_start - 1 : self.tags_start]
        if not (config.completed or config.missing):
            return self.described_blocks(own, None, has_similar)
        predicted = self.predict_apart(self.readout_inputs(state))
        likely = self.likely_sets(state, predicted) if config.completed else None
        blocks = self.described_blocks(own, likely, has_similar)
        if config.missing:
            expected = self.expected_blocks(predicted, self.view_sets(state, predicted))
            blocks = blocks + config.missing * has_similar * expected
        return blocks

    def described_blocks(self, own: Tensor, likely: Tensor | None, has_similar: Tensor) -> Tensor:
        """The two conceptual blocks of images with the tags y `own`. likely: of `likely_sets`, for a landmark
        without itself, read where tags are completed; has_similar: [n, 1], 0 where nothing is completed.
        """
        config = self.config
        blocks = self.embed_sets(own)
        if config.completed and not config.missing:
            assert likely is not None
            whole = self._with_likely(own, likely, config.completed * has_similar)
            blocks[:, config.jaccard_rank :] = unit(whole)
        return blocks

    def _with_likely(self, own: Tensor, likely: Tensor, share: Tensor) -> Tensor:
        """Indicators [n, tag_width] with a share [n, 1] of what else is likely. Where tags have no coordinate
        of their own, those that are there are counted among the likely ones too.
        """
        if self.config.size_width:
            return own + share * likely
        return own + share * (1 - own.clamp(0, 1)) * likely.clamp(0, 1)

    def visual_block(self, state: Tensor) -> Tensor:
        """[n, visual_dim] of unit length, from h^2."""
        return unit(state[:, : self.config.visual_dim])

    def own_sets(self, state: Tensor) -> Tensor:
        """y [n, tag_width]: a node's own tags, from h^2."""
        return state[:, self.tags_start : self.tags_start + self.config.tag_width]

    def expected_blocks(self, predicted: Tensor, sets: Tensor | None) -> Tensor:
        """The two conceptual blocks of a prediction f(z): [n, jaccard_rank + tag_width]. sets: of
        `view_sets`.
        """
        config = self.config
        if sets is None:
            view = at_most_unit(self._plausible(predicted[:, config.jaccard_rank :]))
        else:
            # Of a long tail each tag is improbable, and all of them together say what there is to say.
            view = shortened(sets) if self.tells_tags_apart else at_most_unit(sets)
        jaccard = at_most_unit(predicted[:, : config.jaccard_rank])
        return torch.cat([config.trust_jaccard * jaccard, config.trust_tags * view], dim=1)

    def embed_sets(self, sets: Tensor) -> Tensor:
        """The two conceptual blocks of indicators [n, tag_width] → [n, jaccard_rank + tag_width]."""
        blocks = [unit(sets)]
        if self.config.jaccard_rank:
            view = jaccard_features(sets, self.get_buffer("landmark_sets"), self.get_buffer("set_projection"))
            blocks.insert(0, view)
        return torch.cat(blocks, dim=1)

    def embed_tags(self, states: Sequence[Tensor]) -> Tensor:
        """A tag is where an image with that tag alone would be, without a visual block."""
        sets = self.sets_of(states[-1])
        visual = sets.new_zeros(len(sets), self.config.visual_dim)
        return torch.cat([visual, self.embed_sets(sets)], dim=1)

    def _plausible(self, expected: Tensor) -> Tensor:
        """Coordinates of single tags cannot be negative; compressed ones can."""
        return expected if self.config.size_width else expected.clamp_min(0)
