"""The search of the default preset: repeatable, and resumable wherever it was interrupted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gnn import embedding, kernel_training
from gnn.graph_data import GraphData
from gnn.kernel_candidates import margin_of
from gnn.kernel_training import train_kernel
from gnn.kernel_validation import HELD_OUT_SHARE, most_held_out
from gnn.presets import DEFAULT
from gnn.trained_model import load_trained_model
from graph_store.array_files import new_mapped_array
from graph_store.arrays import Float32Array
from graph_store.progress import Advance, SilentProgress
from tests.gnn.worlds import TAGS, data_of, drawn_data, trained

STEPS = 5


class Interrupting:
    """A Progress that interrupts one phase after so many steps, as Ctrl-C would."""

    def __init__(self, phase: str, after: int) -> None:
        self._phase, self._left = phase, after

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[Advance]:
        def advance(steps: int) -> None:
            if name == self._phase and steps:
                self._left -= steps
                if self._left == 0:
                    raise KeyboardInterrupt

        yield advance


@pytest.fixture(scope="module")
def data() -> GraphData:
    return drawn_data()


@pytest.fixture(scope="module")
def whole(data: GraphData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of five steps that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    trained(data, folder, epochs=STEPS).save(folder)
    return folder


def history(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def without_seconds(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**line, "seconds": 0.0} for line in lines]


def interrupted(data: GraphData, folder: Path, after: int, phase: str = "search", seed: int = 0) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_kernel(
            data,
            DEFAULT,
            folder,
            epochs=STEPS,
            seed=seed,
            resume=False,
            device="cpu",
            progress=Interrupting(phase, after),
        )


def resumed(data: GraphData, folder: Path) -> bytes:
    trained(data, folder, epochs=STEPS, resume=True).save(folder)
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize(("phase", "after"), [("search", 1), ("search", 4), ("solve", 1)])
def test_an_interrupted_search_resumes_to_the_same_model(
    data: GraphData, whole: Path, tmp_path: Path, phase: str, after: int
) -> None:
    interrupted(data, tmp_path, after, phase)
    before = history(tmp_path)
    assert len(before) == (after if phase == "search" else STEPS)
    assert resumed(data, tmp_path) == (whole / "model.safetensors").read_bytes()
    assert history(tmp_path)[: len(before)] == before  # what was measured is not measured again
    assert without_seconds(history(tmp_path)) == without_seconds(history(whole))


def test_a_line_torn_by_a_kill_is_measured_again(data: GraphData, whole: Path, tmp_path: Path) -> None:
    interrupted(data, tmp_path, 3)
    lines = (tmp_path / "history.jsonl").read_bytes()
    (tmp_path / "history.jsonl").write_bytes(lines[:-40])
    assert resumed(data, tmp_path) == (whole / "model.safetensors").read_bytes()
    assert without_seconds(history(tmp_path)) == without_seconds(history(whole))


def test_what_another_seed_measured_is_not_taken_over(data: GraphData, whole: Path, tmp_path: Path) -> None:
    interrupted(data, tmp_path, 3, seed=1)
    assert resumed(data, tmp_path) == (whole / "model.safetensors").read_bytes()


def test_what_was_measured_on_another_catalogue_is_not_taken_over(
    data: GraphData, whole: Path, tmp_path: Path
) -> None:
    other = replace(data, images=replace(data.images, ids=("renamed", *data.images.ids[1:])))
    interrupted(other, tmp_path, 3)
    assert resumed(data, tmp_path) == (whole / "model.safetensors").read_bytes()


def test_what_an_earlier_revision_of_the_search_measured_is_not_taken_over(
    data: GraphData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(kernel_training, "REVISION", kernel_training.REVISION - 1)
        interrupted(data, tmp_path, 1)
    first = history(tmp_path)[0]["seconds"]
    trained(data, tmp_path, epochs=1, resume=True)
    assert history(tmp_path)[0]["seconds"] != first


def test_a_shorter_search_goes_on_from_no_more_than_it_would_have_measured(
    data: GraphData, whole: Path, tmp_path: Path
) -> None:
    trained(data, tmp_path / "short", epochs=2).save(tmp_path / "short")
    (tmp_path / "cut").mkdir()
    shutil.copy(whole / "history.jsonl", tmp_path / "cut")
    trained(data, tmp_path / "cut", epochs=2, resume=True).save(tmp_path / "cut")
    assert history(tmp_path / "cut") == history(whole)[:2]
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("short", "cut")]
    assert models[0] == models[1]


def test_without_resuming_an_earlier_run_is_forgotten(data: GraphData, whole: Path, tmp_path: Path) -> None:
    interrupted(data, tmp_path, 3)
    first = history(tmp_path)[0]["seconds"]
    trained(data, tmp_path, epochs=1)
    assert len(history(tmp_path)) == 1
    assert history(tmp_path)[0]["seconds"] != first


def test_resuming_where_nothing_was_begun_begins(data: GraphData, whole: Path, tmp_path: Path) -> None:
    assert resumed(data, tmp_path) == (whole / "model.safetensors").read_bytes()


def test_a_candidate_that_none_beats_beyond_chance_makes_the_model(data: GraphData, whole: Path) -> None:
    lines, model = history(whole), load_trained_model(whole)
    best = next(line for line in lines if line["ndcg_at_5"] == model.metrics["best"])
    views = round(HELD_OUT_SHARE * int((data.tags_of_image.degrees() > 0).sum()))
    assert max(line["ndcg_at_5"] for line in lines) <= best["ndcg_at_5"] + margin_of(views)
    config = model.model.config
    assert {name: getattr(config, name) for name in best["candidate"] if hasattr(config, name)} == {
        name: value for name, value in best["candidate"].items() if hasattr(config, name)
    }


def test_a_longer_search_never_ends_with_a_worse_candidate(data: GraphData, tmp_path: Path) -> None:
    best = [trained(data, tmp_path / str(n), epochs=n).metrics["best"] for n in (1, 3, 40)]
    assert best == sorted(best)


def test_a_search_ends_when_there_is_nothing_left_to_try(data: GraphData, tmp_path: Path) -> None:
    _, steps = train_kernel(
        data,
        DEFAULT,
        tmp_path,
        epochs=1000,
        seed=0,
        resume=False,
        device="cpu",
        progress=SilentProgress(),
    )
    assert steps == len(history(tmp_path)) < 100


def test_a_saved_model_comes_back_as_it_was(data: GraphData, tmp_path: Path) -> None:
    model = trained(data, tmp_path)
    model.save(tmp_path)
    again = load_trained_model(tmp_path)
    assert (again.preset, again.tag_names, again.balance) == (model.preset, model.tag_names, model.balance)
    assert (again.calibration, again.metrics, again.data) == (model.calibration, model.metrics, model.data)
    assert (again.encoder, again.text_encoder) == (model.encoder, model.text_encoder)
    state = again.model.state_dict()
    assert all(tensor.equal(state[name]) for name, tensor in model.model.state_dict().items())


def test_a_large_catalogue_is_solved_for_from_files_that_do_not_stay(
    data: GraphData, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_training, "MOST_SOLVED", 10)
    made = []

    def noting(path: Path, shape: tuple[int, ...]) -> Float32Array:
        made.append(path.name)
        return new_mapped_array(path, shape)

    monkeypatch.setattr(embedding, "new_mapped_array", noting)
    (tmp_path / ".states.tmp").mkdir()
    (tmp_path / ".states.tmp" / "image_1.npy").write_bytes(b"of a run that was killed")
    trained(data, tmp_path, epochs=STEPS).save(tmp_path)
    assert made == ["image_0.npy", "image_1.npy"]
    assert not (tmp_path / ".states.tmp").exists()
    assert (tmp_path / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_settling_on_views_takes_no_more_room_for_a_larger_vocabulary() -> None:
    tags = np.array([1, 6, 20_000, 20_001, 100_000, 200_000])
    views = np.array([most_held_out(num) for num in tags])
    assert views.tolist() == [1000, 1000, 1000, 999, 200, 100]
    assert (views * tags).max() <= 20_000_000
    assert most_held_out(1_000_000) == 100


@pytest.mark.parametrize(("tagged", "images"), [(0.4, 3000), (0.05, 3000), (1.0, 3000), (0.5, 200)])
def test_a_large_catalogue_is_searched_with_as_many_tagged_images_as_there_may_be(
    tagged: float, images: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_training, "SEARCHED_IMAGES", 200)
    monkeypatch.setattr(kernel_training, "MOST_HELD_OUT", 50)
    monkeypatch.setattr(kernel_training, "SEARCHED_UNTAGGED", 500)
    chosen = np.zeros((images, len(TAGS)), dtype=bool)
    chosen[: round(tagged * images), 0] = True
    data = data_of(chosen)
    rows = kernel_training._searched(data, np.random.default_rng(0))
    carried = int((data.tags_of_image.degrees()[rows] > 0).sum())
    there, others = round(tagged * images), images - round(tagged * images)
    assert carried == min(there, 250) if images > 250 else len(rows) == images
    if images > 250:
        assert len(rows) - carried == min(round(others * carried / there), 500)
    assert (np.diff(rows) > 0).all()
