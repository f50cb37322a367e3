"""Asks every system every question of the protocol and hands the answers to its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from gnn.encoders.base import TextEncoder
from gnn.evaluation.baselines import SearchBaseline, TagPredictor, TagSpace, hard_filter_scores
from gnn.evaluation.completing import Completing, tune_completing
from gnn.evaluation.grids import QUICK_GRIDS, Grids
from gnn.evaluation.metrics import top_k
from gnn.evaluation.protocol import completion, grades, incomplete, labels, slider, tagged, tags, untagged
from gnn.evaluation.questions import Questions
from gnn.evaluation.refined_run import disambiguated, refused, with_one_tag
from gnn.evaluation.relevance import TagTable
from gnn.evaluation.results import Part, Systems
from gnn.evaluation.systems import (
    DEFAULT_VISUAL_WEIGHT,
    BaselineSystem,
    Engine,
    EngineSystem,
    completed_rows,
    in_chunks,
)
from gnn.evaluation.tuning import MLP, RAW, Baselines, Choice, fit_baselines
from gnn.evaluation.words_run import words
from gnn.query import QueryVectors
from graph_store.arrays import Float32Array, Int64Array
from graph_store.csr import Csr
from graph_store.progress import Progress

ORDER = (
    "untagged",
    "tagged",
    "told",
    "incomplete",
    "completion",
    "slider",
    "tags",
    "unwanted",
    "contexts",
    "labels",
    "grades",
    "synonyms",
    "captions",
)

HiddenEngine = Callable[[str, Csr], Engine | None]
"""(preset, the visible image-tag edges) -> the preset's engine, learnt from a graph that has only those and
over it; None for a preset that is left out.
"""


@dataclass
class Evaluation:
    """One run of the protocol. `parts()` gives them in order; `choices`: the baselines' settings, as far as
    they have been chosen.

    tags_of_image: the index's edges with their weights. presets: {name: engine}; all over the same images
    and tags in the same order. hidden: None where no engine can be made for a graph with fewer edges.
    """

    questions: Questions
    tags_of_image: Csr
    presets: Mapping[str, Engine]
    hidden: HiddenEngine | None
    text_encoder: TextEncoder | None
    seed: int
    quick: bool
    progress: Progress
    grids: Grids | None = None
    choices: tuple[Choice, ...] = ()
    _vectors: dict[str, list[QueryVectors | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.systems = Systems(frozenset(self.presets) | {conceptual(name) for name in self.presets})
        q = self.questions
        self._tried = self.grids or (QUICK_GRIDS if self.quick else Grids())
        self.baselines: Baselines = fit_baselines(
            q.index_features, q.known_index_tags, seed=self.seed, grids=self._tried, progress=self.progress
        )
        self.choices = self.baselines.choices

    def parts(self) -> tuple[Part, ...]:
        """All of ORDER."""
        steps: tuple[Callable[[], tuple[Part, ...]], ...] = (
            lambda: self._ranked(),
            lambda: (self._tagged(),),
            lambda: self._incomplete(),
            lambda: (self._slider(),),
            lambda: (self._tags(),),
            lambda: tuple(
                part(self.questions, self.presets, self.baselines, self.systems, self.seed, self.quick)
                for part in (with_one_tag, refused, disambiguated)
            ),
            lambda: words(
                self.questions, self.presets, self.text_encoder, self.systems, self.seed, self.quick
            ),
        )
        found: list[Part] = []
        with self.progress.phase("evaluating", len(steps)) as advance:
            for step in steps:
                found += step()
                advance(1)
        return tuple(sorted(found, key=lambda part: ORDER.index(part.name)))

    def _untagged_vectors(self, name: str) -> list[QueryVectors | None]:
        """Embedded once: the slider moves over the same queries."""
        if name not in self._vectors:
            self._vectors[name] = EngineSystem(self.presets[name]).image_queries(
                self.questions.query_features
            )
        return self._vectors[name]

    def _ranked(self) -> tuple[Part, ...]:
        """Parts 1 and 6 and the measures of Graph-RISE, which look at the same results."""
        q = self.questions
        results: dict[str, Int64Array] = {
            name: BaselineSystem(search).rows(q.query_features, 10)
            for name, search in self.baselines.searches.items()
        }
        for name, engine in self.presets.items():
            results[name] = EngineSystem(engine).rows(self._untagged_vectors(name), DEFAULT_VISUAL_WEIGHT, 10)
        first = untagged.untagged(results, q.query_tags, q.index_tags, self.systems, seed=self.seed)
        named = self._labels(results)
        counts = q.counts()
        if isinstance(counts, str):
            return first, named, Part("grades", grades.TITLE, not_applicable=counts)
        return first, named, grades.grades(results, *counts, self.systems, seed=self.seed)

    def _labels(self, results: Mapping[str, Int64Array]) -> Part:
        """Graph-RISE's own measures, on the results of part 1."""
        q = self.questions
        if not q.query_tags.matrix.nnz:
            return Part("labels", labels.TITLE, not_applicable="no held-out image has a tag")
        asked = labels.draw_triplets(q.query_tags, q.index_tags, seed=self.seed)
        preferred = {
            name: BaselineSystem(search).preferred(q.query_features, asked)
            for name, search in self.baselines.searches.items()
        }
        for name, engine in self.presets.items():
            vectors = self._untagged_vectors(name)
            preferred[name] = EngineSystem(engine).preferred(vectors, DEFAULT_VISUAL_WEIGHT, asked)
        return labels.labels(
            results, preferred, asked, q.query_tags, q.index_tags, self.systems, seed=self.seed
        )

    def _tagged(self) -> Part:
        q = self.questions
        known = q.known_query_tags
        results = {RAW: BaselineSystem(self.baselines.searches[RAW]).rows(q.query_features, 10)}
        if MLP in self.baselines.searches:
            # The known tags take the place of predicted ones, so that all predictors come down to these
            # two.
            # Plain cosine of tag sets is all but the Jaccard overlap itself, so it wants no idf.
            plain = TagSpace.build(q.known_index_tags, 0.0)
            for label, search in (("tag space", MLP), ("tag space + raw", f"{MLP} + raw")):
                system = BaselineSystem(replace(self.baselines.searches[search], space=plain))
                results[label] = system.rows(q.query_features, 10, known.dense())
        for name, engine in self.presets.items():
            preset = EngineSystem(engine)
            vectors = preset.image_queries(q.query_features, known, "mixed")
            results[name] = preset.rows(vectors, DEFAULT_VISUAL_WEIGHT, 10)
        return tagged.tagged(results, q.query_tags, q.index_tags, self.systems, seed=self.seed)

    def _incomplete(self) -> tuple[Part, Part]:
        """Part 3 with its two sides: finding images whose tag is hidden, and naming the hidden tags."""
        q = self.questions
        edges = incomplete.hide_edges(self.tags_of_image, seed=self.seed)
        visible = TagTable.from_csr(edges, q.num_known_tags)
        completing = tune_completing(q.index_features, visible, self.baselines, self._tried, self.seed)
        finding: dict[str, TagPredictor] = {}
        naming: dict[str, TagPredictor] = {}
        if completing is not None:
            self.choices += completing.choices()
            for name, recipe in completing.finding.items():
                finding[name] = recipe.fit(q.index_features, visible)
                other = completing.naming[name]
                same = other.settings == recipe.settings
                naming[name] = finding[name] if same else other.fit(q.index_features, visible)
        engines: dict[str, Engine] = {}
        hidden = self.hidden or (lambda name, edges: None)
        for name in self.presets:
            engine = hidden(name, edges)
            if engine is not None:
                engines[name] = engine
        found = self._found(visible, finding, completing, engines)
        return found, self._completed(visible, naming, engines)

    def _found(
        self,
        visible: TagTable,
        predictors: Mapping[str, TagPredictor],
        completing: Completing | None,
        engines: Mapping[str, Engine],
    ) -> Part:
        q = self.questions
        asked = incomplete.tag_queries(
            q.known_query_tags, q.known_index_tags, limit=400 if self.quick else 2000, seed=self.seed
        )
        if not len(asked.tags):
            reason = "no held-out image has a tag that 10 to 200 indexed images carry"
            return Part("incomplete", incomplete.TITLE, not_applicable=reason)
        results = self._incomplete_baselines(asked, visible, predictors, completing)
        depth = int(asked.total.max())
        one_tag = TagTable.from_pairs(
            np.arange(len(asked.tags), dtype=np.int64), asked.tags, len(asked.tags), q.num_known_tags
        )
        for name, engine in engines.items():
            system = EngineSystem(engine)
            vectors = system.image_queries(q.query_features[asked.images], one_tag)
            results[name] = system.rows(vectors, DEFAULT_VISUAL_WEIGHT, depth)
            results[conceptual(name)] = system.rows(vectors, 0.0, depth)
        return incomplete.incomplete(results, asked, q.known_index_tags, self.systems, seed=self.seed)

    def _completed(
        self, visible: TagTable, predictors: Mapping[str, TagPredictor], engines: Mapping[str, Engine]
    ) -> Part:
        q = self.questions
        rows = completion.drawn_images(len(q.index_features), 500 if self.quick else 2000, self.seed)
        scores = {name: each.predict_indexed(q.index_features)[rows] for name, each in predictors.items()}
        chances = {name: scores[name] for name in (MLP,) if name in scores}
        for name, engine in engines.items():
            scores[name] = engine.tag_scores_of(rows)
            chances[name] = engine.chances(scores[name])
        if not scores:
            reason = "hardly any indexed image has a tag"
            return Part("completion", completion.TITLE, not_applicable=reason)
        return completion.completion(
            scores,
            visible.rows(rows),
            q.known_index_tags.rows(rows),
            self.systems,
            chances=chances,
            seed=self.seed,
        )

    def _incomplete_baselines(
        self,
        asked: incomplete.TagQueries,
        visible: TagTable,
        predictors: Mapping[str, TagPredictor],
        completing: Completing | None,
    ) -> dict[str, Int64Array]:
        """Hard filter, plain likeness, tag space, and completing the index with a tag predictor."""
        q, depth = self.questions, int(asked.total.max())
        features = q.query_features[asked.images]
        known = np.zeros((len(asked.tags), q.num_known_tags), dtype=bool)
        known[np.arange(len(known)), asked.tags] = True
        by_tag = visible.matrix.tocsc()

        def filtered(part: slice) -> Int64Array:
            carries = np.asarray(by_tag[:, asked.tags[part]].toarray().T > 0)
            scores = hard_filter_scores(features[part] @ q.index_features.T, carries)
            kept = top_k(scores, depth)
            kept[~np.isfinite(np.take_along_axis(scores, kept, axis=1))] = -1
            return kept

        results = {
            incomplete.HARD_FILTER: in_chunks(len(asked.tags), len(q.index_features), filtered),
            RAW: BaselineSystem(SearchBaseline(q.index_features)).rows(features, depth),
        }
        for name, predictor in predictors.items():
            assert completing is not None  # which has made the predictors
            probable = predictor.predict_indexed(q.index_features)
            looks = completing.looks[name]

            def completed(part: slice, probable: Float32Array = probable, looks: float = looks) -> Int64Array:
                raw = features[part] @ q.index_features.T
                return completed_rows(visible, probable, raw, asked.tags[part], depth, looks)

            results[f"{name}, completing tags"] = in_chunks(len(asked.tags), len(q.index_features), completed)
            if name == MLP:
                space = TagSpace.build(visible, 0.0)
                search = SearchBaseline(q.index_features, predictor, space, completing.concept_weight)
                results["tag space + raw"] = BaselineSystem(search).rows(features, depth, known)
        return results

    def _slider(self) -> Part:
        q = self.questions
        results: dict[str, list[Int64Array]] = {}
        search = self.baselines.searches.get(f"{MLP} + raw")
        if search is not None:
            results[f"{MLP} + raw"] = BaselineSystem(search).slider_rows(q.query_features, 10, slider.STOPS)
        for name, engine in self.presets.items():
            vectors = self._untagged_vectors(name)
            results[name] = [EngineSystem(engine).rows(vectors, v, 10) for v in slider.STOPS]
        raw = BaselineSystem(self.baselines.searches[RAW]).rows(q.query_features, 10)
        return slider.slider(
            results,
            raw,
            q.query_tags,
            q.index_tags,
            q.query_features,
            q.index_features,
            self.systems,
            seed=self.seed,
        )

    def _tags(self) -> Part:
        q = self.questions
        if not q.query_tags.matrix.nnz:
            return Part("tags", tags.TITLE, not_applicable="no held-out image has a tag")
        scores: dict[str, Float32Array] = {
            name: self._padded(predictor.predict(q.query_features))
            for name, predictor in self.baselines.predictors.items()
        }
        chances = {name: scores[name] for name in (MLP,) if name in scores}
        for name, engine in self.presets.items():
            given = EngineSystem(engine).tag_scores(q.query_features)
            scores[name], chances[name] = self._padded(given), self._padded(engine.chances(given))
        return tags.tags(scores, q.query_tags, q.tag_names, self.systems, chances=chances, seed=self.seed)

    def _padded(self, scores: Float32Array) -> Float32Array:
        """Scores over all tags: those that only held-out images carry can never be named."""
        missing = len(self.questions.tag_names) - scores.shape[1]
        return np.pad(scores, ((0, 0), (0, missing)), constant_values=-np.inf)


def conceptual(preset: str) -> str:
    """The label of a preset with its slider at the conceptual end."""
    return f"{preset} (v = 0)"
