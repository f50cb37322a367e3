"""How tags and places on the slider are written on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from app.api.job_schemas import TrainRequest
from app.cli import run
from app.cli.asking import slider_value, tag_and_weight
from app.cli.errors import FAILURE, USAGE
from app.cli.options import MOST_SEED, recipe_changes
from graph_store.errors import BadInput


@pytest.mark.parametrize(
    ("given_", "name", "weight"),
    [
        ("dog", "dog", 1.0),
        ("dog:2", "dog", 2.0),
        ("people:-0.5", "people", -0.5),
        ("flag: Peru", "flag: Peru", 1.0),
        ("flag: Peru:0.5", "flag: Peru", 0.5),
        ("16:9:1", "16:9", 1.0),
        (" dog ", "dog", 1.0),
        ("dog:", "dog:", 1.0),
    ],
)
def test_a_tag_may_carry_a_weight_after_its_last_colon(given_: str, name: str, weight: float) -> None:
    assert tag_and_weight(given_) == (name, weight)


@given(st.text(min_size=1).filter(lambda text: text.strip()), st.floats(-100, 100).filter(bool))
def test_a_tag_written_with_its_weight_is_read_back(name: str, weight: float) -> None:
    assert tag_and_weight(f"{name}:{weight!r}") == (name.strip(), weight)


@pytest.mark.parametrize("wrong", ["", "  ", ":1", "dog:0", "dog:nan", "dog:inf", "dog:101", "dog:-1e39"])
def test_what_is_no_tag_is_a_usage_error(wrong: str) -> None:
    with pytest.raises(typer.BadParameter):
        tag_and_weight(wrong)


@given(st.floats(0, 1))
def test_every_place_from_0_to_1_is_on_the_slider(value: float) -> None:
    assert slider_value(repr(value), "--stops") == value


@pytest.mark.parametrize("wrong", ["-0.1", "1.01", "nan", "inf", "", "half"])
def test_no_other_place_is_on_the_slider(wrong: str) -> None:
    with pytest.raises(typer.BadParameter):
        slider_value(wrong, "--stops")


def test_changes_to_a_recipe_are_names_and_values() -> None:
    assert recipe_changes(["alpha=0.5", "normaliser = degree"]) == {"alpha": "0.5", "normaliser": "degree"}
    assert recipe_changes(None) == {}


@pytest.mark.parametrize("wrong", ["alpha", "alpha=", "=1", ""])
def test_a_change_without_name_or_value_is_a_usage_error(wrong: str) -> None:
    with pytest.raises(typer.BadParameter):
        recipe_changes([wrong])


@pytest.mark.parametrize(("seed", "bound"), [(-1, "equal to 0"), (MOST_SEED + 1, f"equal to {MOST_SEED}")])
def test_a_seed_outside_32_bits_is_a_usage_error_that_says_the_bound(
    seed: int, bound: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", "--data", str(tmp_path / "data"), "--seed", str(seed)]) == USAGE
    told = capsys.readouterr().err
    assert "--seed" in told
    assert bound in told


def test_the_api_takes_the_seeds_that_the_command_line_takes() -> None:
    seed = TrainRequest.model_json_schema()["properties"]["seed"]
    assert (seed["minimum"], seed["maximum"]) == (0, MOST_SEED)


@pytest.mark.parametrize(("option", "device"), [([], "cuda"), (["--device", "cpu"], "cpu")])
@pytest.mark.parametrize("command", [["ingest", "SOURCE"], ["train"]])
def test_the_setting_of_the_device_counts_unless_the_option_says_another(
    command: list[str], option: list[str], device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []

    def noted(*_: object, **given: str) -> None:
        used.append(given["device"])
        raise BadInput("enough")

    monkeypatch.setattr("app.ingest.pipeline.ingest", noted)
    monkeypatch.setattr("gnn.training.train", noted)
    monkeypatch.setenv("IMSAGE_DEVICE", "cuda")
    named = [str(tmp_path) if each == "SOURCE" else each for each in command]
    assert run([*named, "--data", str(tmp_path / "data"), *option]) == FAILURE
    assert used == [device]
