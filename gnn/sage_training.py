"""Training of GraphSAGE presets: the unsupervised random-walk objective under the shared trainer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from gnn.agreement.believed import believed_graph
from gnn.attach import attach, inputs_of
from gnn.calibration import Calibration, fit_calibration
from gnn.embedding import as_tensor, embed_graph
from gnn.graph_build import build_graph, similar_space
from gnn.graph_data import GraphData
from gnn.model.edge_weights import message_graph
from gnn.model.sage import HeteroSage, SageConfig
from gnn.objectives.holdout import hold_out
from gnn.objectives.random_walk import RandomWalkConfig, RandomWalkObjective
from gnn.parallel import Team
from gnn.presets import Preset
from gnn.trained_model import SliderBalance, TrainedModel
from gnn.trainer import Trainer, TrainerSettings
from graph_store.csr import Csr
from graph_store.graph import Graph
from graph_store.progress import Progress


def train_sage(
    data: GraphData,
    preset: Preset,
    out_dir: Path,
    *,
    epochs: int,
    seed: int,
    resume: bool,
    device: str,
    progress: Progress,
    team: Team | None = None,
) -> tuple[TrainedModel, int]:
    """The trained model and how many epochs were run. team: of processes that train it together."""
    team = team or Team()
    place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    space = similar_space(data.features, preset.graph)
    config = RandomWalkConfig(seed=seed, max_degree=preset.weights.max_degree or 100)

    def build() -> Graph:
        vectors = space(data.features)
        graph = build_graph(vectors, data.tags_of_image, data.tag_text, preset.graph, progress)
        if preset.agreement:  # of the tags alone: see gnn.agreement.believed
            learnt = hold_out(graph, config.held_out(data.tags_of_image)).graph
            tags = believed_graph(learnt, np.asarray(data.features), preset).tags_of_image
            graph = build_graph(vectors, tags, data.tag_text, preset.graph, similar=graph.similar)
        return graph

    graph = team.graph(out_dir / "graph", build)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = HeteroSage(
            SageConfig(feature_dim=data.features.shape[1], text_dim=0, num_tags=data.num_tags)
        ).to(place)
    objective = RandomWalkObjective(
        model,
        graph,
        as_tensor(data.features).to(place),
        torch.zeros(data.num_tags, 0, device=place),
        config,
        team,
        data.tags_of_image,
    )
    settings = TrainerSettings(
        seed=seed,
        max_epochs=epochs,
        patience=preset.patience,
        # The published recipe chooses nothing: it trains for 50 epochs. By the metric the first is best, at
        # which the weights are next to random.
        keep="last",
        optimizer="adam",
        learning_rate=preset.learning_rate,
        fingerprint={"preset": preset.to_dict(), "data": data.fingerprint(), **team.identity()},
    )
    result = Trainer(objective, out_dir, settings, progress, team).run(resume)
    model = model.to("cpu").eval()
    trained = TrainedModel(
        preset=preset,
        model=model,
        tag_names=data.tag_names,
        space=space,
        balance=SliderBalance(),
        calibration=_calibrated(model, objective, data, preset),
        encoder=data.encoder,
        text_encoder=data.text_encoder,
        data=data.fingerprint(),
        metrics={"best": result.history[-1][objective.monitor], "best_epoch": float(result.epochs)},
    )
    return trained, result.epochs


def _calibrated(
    model: HeteroSage, objective: RandomWalkObjective, data: GraphData, preset: Preset
) -> Calibration:
    """Tag probabilities from the likeness of held-out images to tags."""
    held = objective.held_images
    if held.size == 0:
        return Calibration()
    messages = message_graph(objective.graph, preset.weights)
    numbers = np.arange(data.num_tags, dtype=np.int64)
    states = embed_graph(model, messages, data.features, np.zeros((data.num_tags, 0), np.float32), numbers)
    similar = Csr.from_edges(
        np.repeat(np.arange(held.size), messages.similar.degrees()[held]),
        np.concatenate([messages.similar.row(int(row))[0] for row in held]),
        np.concatenate([messages.similar.row(int(row))[1] for row in held]),
        held.size,
    )
    nodes = attach(
        model,
        inputs_of(model, np.asarray(data.features[held])),
        similar,
        Csr.empty(held.size),
        states.image_states,
        states.tag_states,
    )
    scores = model.embed_images(nodes).numpy() @ states.tag_embeddings.T
    truth = np.zeros_like(scores)
    truth[objective.hidden.edge_rows(), objective.hidden.indices] = 1.0
    return fit_calibration(scores, truth)
