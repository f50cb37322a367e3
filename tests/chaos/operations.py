"""The operations that are killed, each as what a process of its own does, and what becomes of them."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvicorn

from app.api.application import create_app
from app.ingest.engines.engine import LocalIngest
from app.ingest.pipeline import ingest
from app.settings import Settings
from app.tidying import tidy_up
from gnn.reindex import reindex
from gnn.trained_model import load_trained_model
from gnn.trainer import CHECKPOINT, HISTORY
from gnn.training import train
from graph_store.data_dir import DataDir
from tests.chaos.points import Points
from tests.shapes import Shape, all_shapes, draw, rows

INCREMENTAL = "incremental reindex"
NEW_PICTURES = 8
EPOCHS = 2


@dataclass(frozen=True)
class World:
    """One data directory that lives through all kills, and the source that is ingested into it."""

    data_dir: DataDir
    source: Path

    def draw_source(self, round_: int) -> None:
        """The catalogue of shapes; some pictures and some tags are others in every round."""
        shapes = all_shapes()
        images = self.source.parent / "images"
        images.mkdir(parents=True, exist_ok=True)
        for number, shape in enumerate(shapes):
            path = images / f"{shape.id}.png"
            if number < NEW_PICTURES:
                draw(_moved(shape, round_), 48).save(path)
            elif not path.exists():
                draw(shape, 48).save(path)
        lines = rows(shapes)
        for number, line in enumerate(lines):
            if number % 4 == 0:
                line["tags"] = [*line["tags"], f"round {round_}"]
        self.source.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _moved(shape: Shape, round_: int) -> Shape:
    share = (round_ * 37 % 100) / 100
    return Shape(shape.colour, shape.shape, shape.size, round_, (0.3 + 0.4 * share, 0.5), shape.radius)


def do_ingest(world: World, points: Points) -> None:
    """`imsage ingest`, in small batches so that a kill meets several commits."""
    ingest(world.source, world.data_dir, batch_size=4, engine=LocalIngest(workers=1), progress=points)


def do_train(preset: str, world: World, points: Points) -> None:
    """`imsage train --resume`."""
    tidy_up(world.data_dir)
    train(world.data_dir, preset, epochs=EPOCHS, resume=True, progress=points)


def do_reindex(full: bool, world: World, points: Points) -> None:
    """`imsage reindex`, with or without `--full`, with its swap."""
    tidy_up(world.data_dir)
    reindex(world.data_dir, "default", full=full, progress=points)


def do_serve(world: World, door: socket.socket) -> None:
    """`imsage serve` on an open socket, until it is killed."""
    app = create_app(Settings(data=world.data_dir.root, snapshot_poll_seconds=0.1))
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="on")
    uvicorn.Server(config).run(sockets=[door])


OPERATIONS: dict[str, Callable[[World, Points], None]] = {
    "ingest": do_ingest,
    "train": partial(do_train, "default"),
    "train paper": partial(do_train, "paper"),
    "reindex": partial(do_reindex, True),
    INCREMENTAL: partial(do_reindex, False),
}
"""Upserts and deletes come beside these: they need a service and a client."""


def forget_training(world: World) -> None:
    """The next training begins at its beginning."""
    for name in (CHECKPOINT, HISTORY):
        for path in world.data_dir.models_dir.glob(f"*/{name}"):
            path.unlink()


def weights(world: World, preset: str) -> dict[str, bytes]:
    """The trained model by tensor, to be compared bit for bit."""
    trained = load_trained_model(world.data_dir.models_dir / preset)
    return {name: tensor.numpy().tobytes() for name, tensor in trained.model.state_dict().items()}
