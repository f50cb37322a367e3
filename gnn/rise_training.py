"""Training of preset `graph-rise`, under the shared trainer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from gnn.agreement.believed import believed_graph
from gnn.embedding import as_tensor
from gnn.graph_build import build_graph, similar_space
from gnn.graph_data import GraphData
from gnn.model.kernels import rooted
from gnn.model.rise_sage import RiseConfig, RiseSage
from gnn.objectives.graph_rise import GraphRiseObjective, RiseObjectiveConfig
from gnn.objectives.holdout import hold_out
from gnn.parallel import Team
from gnn.presets import Preset
from gnn.projection import even_sample, principal_projection
from gnn.rise_recipe import RiseRecipe
from gnn.rise_validation import settle_rise
from gnn.trained_model import TrainedModel
from gnn.trainer import Trainer, TrainerSettings
from graph_store.arrays import Float32Array
from graph_store.graph import Graph
from graph_store.progress import Progress

_SPREAD = 0.5


def train_rise(
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
    assert preset.rise is not None
    recipe = preset.rise
    place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    space = similar_space(data.features, preset.graph)
    config = RiseObjectiveConfig(
        alpha=recipe.alpha,
        normaliser=recipe.normaliser,
        ranking=recipe.ranking,
        temperature=recipe.temperature,
        batch_size=recipe.batch_size,
        seed=seed,
    )

    def build() -> Graph:
        graph = build_graph(space(data.features), data.tags_of_image, data.tag_text, preset.graph, progress)
        if preset.agreement:
            learnt = hold_out(graph, config.held_out(data.tags_of_image)).graph
            return believed_graph(learnt, np.asarray(data.features), preset)
        return graph

    graph = team.graph(out_dir / "graph", build)
    model = new_rise(data.features, data.num_tags, recipe, seed).to(place)
    objective = GraphRiseObjective(
        model,
        graph,
        as_tensor(data.features).to(place),
        preset.weights,
        config,
        team,
        data.tags_of_image,
    )
    settings = TrainerSettings(
        seed=seed,
        max_epochs=epochs,
        patience=preset.patience,
        learning_rate=preset.learning_rate,
        weight_decay=recipe.weight_decay,
        schedule="cosine",
        warmup_epochs=min(1.0, epochs / 4),
        fingerprint={"preset": preset.to_dict(), "data": data.fingerprint(), **team.identity()},
    )
    result = Trainer(objective, out_dir, settings, progress, team).run(resume)
    model = model.to("cpu").eval()
    balance, calibration = settle_rise(
        model, objective.messages, objective.held_images, objective.hidden, data
    )
    trained = TrainedModel(
        preset=preset,
        model=model,
        tag_names=data.tag_names,
        space=space,
        balance=balance,
        calibration=calibration,
        encoder=data.encoder,
        text_encoder=data.text_encoder,
        data=data.fingerprint(),
        metrics={"best": result.best_metric, "best_epoch": float(result.best_epoch)},
    )
    return trained, result.epochs


def new_rise(features: Float32Array, num_tags: int, recipe: RiseRecipe, seed: int) -> RiseSage:
    """An untrained model whose inputs are fitted to features [n, dim]: half-whitened components, scaled to a
    root mean square of one, as an even sample of them tells.
    """
    width = min(recipe.width, features.shape[1])
    roots = rooted(torch.from_numpy(np.array(even_sample(features))))
    projection = principal_projection(roots.numpy(), width, _SPREAD)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = RiseSage(
            RiseConfig(
                feature_dim=features.shape[1],
                width=width,
                num_tags=num_tags,
                hidden=recipe.hidden,
                dim=recipe.dim,
                heads=recipe.attention,
                input_dropout=recipe.input_dropout,
                dropout=recipe.dropout,
            )
        )
    mean = torch.from_numpy(projection.mean)
    axes = torch.from_numpy(projection.axes * projection.scale)
    size = ((roots - mean) @ axes).square().mean().sqrt()
    model.get_buffer("mean").copy_(mean)
    model.get_buffer("axes").copy_(axes / size.clamp_min(1e-12))
    return model
