"""Changes to a recipe: what they reach, and what is refused."""

from __future__ import annotations

import pytest

from gnn.presets import DEFAULT, GRAPH_RISE, PRESETS, Preset
from gnn.recipe_options import OPTIONS, options_of, training_of, variant_of, with_options, with_recipe
from graph_store.errors import BadInput, UnknownName


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_every_option_of_a_preset_changes_it(preset: Preset) -> None:
    for name in options_of(preset):
        option = OPTIONS[name]
        value = option.choices[-1] if option.choices else "3"
        assert with_options(preset, {name: value}) != preset


def test_an_option_reaches_its_part_and_nothing_else() -> None:
    changed = with_options(GRAPH_RISE, {"alpha": "0.7"})
    assert changed.rise is not None
    assert changed.rise.alpha == 0.7
    assert with_options(changed, {"alpha": "0.1"}) == GRAPH_RISE


def test_an_unknown_option_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="'alhpa'") as refused:
        with_options(GRAPH_RISE, {"alhpa": "1"})
    assert "alpha" in refused.value.hint


def test_a_changed_recipe_has_a_name_of_its_own_which_says_how_to_train_it() -> None:
    assert variant_of(GRAPH_RISE) == "graph-rise"
    assert variant_of(with_options(DEFAULT, {"related": "10"})) == "default"  # as it is anyway
    changed = variant_of(with_options(GRAPH_RISE, {"normaliser": "degree", "agreement": "2"}))
    assert changed == "graph-rise+agreement=2+normaliser=degree"
    told = "imsage train --preset graph-rise --option agreement=2 --option normaliser=degree"
    assert training_of(changed) == told


def test_an_option_of_another_preset_is_refused() -> None:
    with pytest.raises(BadInput, match="'default' has no option 'alpha'"):
        with_options(DEFAULT, {"alpha": "1"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alpha", "-1"),
        ("alpha", "nan"),
        ("alpha", "inf"),
        ("alpha", "much"),
        ("neighbours", "0"),
        ("neighbours", "2.5"),
        ("normaliser", "nodes"),
        ("related", "-1"),
    ],
)
def test_a_value_that_an_option_cannot_take_is_refused(name: str, value: str) -> None:
    with pytest.raises(BadInput, match=f"{name} cannot be '{value}'"):
        with_options(GRAPH_RISE, {name: value})


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_a_recorded_recipe_is_read_back(preset: Preset) -> None:
    changed = with_options(preset, {"neighbours": "7", "related": "3"})
    assert with_recipe(preset, changed.to_dict()) == changed


def test_what_an_older_file_does_not_name_is_as_the_preset_has_it() -> None:
    assert with_recipe(GRAPH_RISE, {"name": "graph-rise", "rise": {"alpha": 0.5}}) == with_options(
        GRAPH_RISE, {"alpha": "0.5"}
    )
