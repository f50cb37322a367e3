"""What each kind of job does: what the commands `imsage reindex` and `imsage train` do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.jobs.job import Kind
from app.settings import Settings
from graph_store.progress import Progress


def do_work(
    kind: Kind, parameters: Mapping[str, Any], settings: Settings, progress: Progress
) -> dict[str, Any]:
    """Does the work and returns what came of it, as JSON values. Raises what the commands raise."""
    return {"reindex": _reindex, "train": _train}[kind](parameters, settings, progress)


def _reindex(parameters: Mapping[str, Any], settings: Settings, progress: Progress) -> dict[str, Any]:
    # PyTorch and FAISS take seconds to load: the job is seen to have begun before.
    from gnn.reindex import reindex

    snapshot = reindex(
        settings.data_dir,
        parameters["preset"],
        full=parameters["full"],
        keep=settings.keep_snapshots,
        progress=progress,
        milvus=settings.milvus,
        store=settings.store,
        policy=settings.index_policy,
        device=settings.device,
    )
    return {"index_version": snapshot.version, "counts": snapshot.manifest["counts"]}


def _train(parameters: Mapping[str, Any], settings: Settings, progress: Progress) -> dict[str, Any]:
    from gnn.training import train

    report = train(
        settings.data_dir,
        parameters["preset"],
        epochs=parameters["epochs"],
        seed=parameters["seed"],
        resume=parameters["resume"],
        device=settings.device,
        progress=progress,
    )
    return {
        "preset": report.preset,
        "epochs": report.epochs,
        "best_metric": report.best_metric,
        "seconds": round(report.seconds, 3),
    }
