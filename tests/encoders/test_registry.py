from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gnn.encoders.base import EncoderSpec, check_same_encoder
from gnn.encoders.device import resolve_device
from gnn.encoders.onnx_cache import CACHE_VARIABLE, cache_dir, exported
from gnn.encoders.registry import image_encoder, text_encoder
from graph_store.errors import BadInput, EncoderMismatch, EncoderMissing, Exhausted, UnknownName

SPEC = EncoderSpec("some/model", "ab" * 32, 16, "RGB")


def test_an_unknown_encoder_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"efficientnet_lite0.*open_clip.*precomputed\[:LABEL\]"):
        image_encoder("resnet")
    with pytest.raises(UnknownName, match="minilm"):
        text_encoder("bert")


def test_brought_features_encode_nothing_and_say_what_to_do() -> None:
    with pytest.raises(BadInput, match="by image id"):
        image_encoder("precomputed:dino")


@pytest.mark.parametrize(
    "error", [FileNotFoundError("gone"), ModuleNotFoundError("no module"), RuntimeError("bad")]
)
def test_weights_that_are_gone_are_said_to_be(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def gone() -> Path:
        raise error

    monkeypatch.setattr("gnn.encoders.efficientnet.weights_path", gone)
    monkeypatch.setattr("gnn.encoders.minilm.model_dir", gone)
    with pytest.raises(EncoderMissing, match=rf"efficientnet_lite0.*{error}.*Install imsage again"):
        image_encoder()
    with pytest.raises(EncoderMissing, match="minilm"):
        text_encoder()


def test_memory_that_runs_out_is_not_taken_for_weights_that_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def short() -> Path:
        raise MemoryError

    monkeypatch.setattr("gnn.encoders.minilm.model_dir", short)
    with pytest.raises(Exhausted, match="memory"):
        text_encoder()


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(UnknownName, match="auto, cpu, cuda"):
        resolve_device("tpu")


def test_a_spec_survives_the_catalogue_and_names_a_file() -> None:
    assert EncoderSpec.from_dict(SPEC.to_dict()) == SPEC
    assert SPEC.slug == "some-model-abababababab"
    with pytest.raises(BadInput, match="dim"):
        EncoderSpec.from_dict({"name": "x", "weights_sha256": ""})


@pytest.mark.parametrize(
    ("field", "value"), [("weights_sha256", "cd" * 32), ("dim", 17), ("preprocessing", "BGR")]
)
def test_another_encoder_is_refused_with_the_difference(field: str, value: object) -> None:
    with pytest.raises(EncoderMismatch, match=field):
        check_same_encoder(SPEC, replace(SPEC, **{field: value}))


def test_brought_features_of_another_label_are_refused() -> None:
    mine = EncoderSpec("precomputed:dino", "", 16, "")
    check_same_encoder(mine, mine)
    with pytest.raises(EncoderMismatch, match="name"):
        check_same_encoder(mine, replace(mine, name="precomputed:clip"))


def test_importing_the_encoders_imports_neither_torch_nor_onnx() -> None:
    code = (
        "import sys, gnn.encoders.registry, app.ingest.pipeline\n"
        "heavy = {'torch', 'onnxruntime', 'open_clip', 'sentence_transformers', 'transformers'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


def test_an_export_is_made_once_and_a_damaged_one_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    made: list[int] = []

    def make() -> bytes:
        made.append(1)
        return b"graph" * 100

    assert exported("net", make) == exported("net", make) == b"graph" * 100
    assert len(made) == 1
    (file,) = cache_dir().iterdir()
    file.write_bytes(file.read_bytes()[:-7])
    assert exported("net", make) == b"graph" * 100
    assert len(made) == 2


def test_an_export_is_used_where_the_cache_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "cache"))

    assert exported("net", lambda: b"graph") == b"graph"
