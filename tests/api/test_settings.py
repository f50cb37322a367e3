"""Settings: flag over environment over file over default; each says what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli import run
from app.settings import Settings, load_settings
from graph_store.errors import BadInput


@pytest.fixture(autouse=True)
def no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*Settings.model_fields, "settings_file"):
        monkeypatch.delenv(f"IMSAGE_{name.upper()}", raising=False)


def test_every_setting_has_a_description() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_a_flag_beats_the_environment_which_beats_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "imsage.toml"
    file.write_text('port = 1001\nworkers = 3\nhost = "::1"\n')
    monkeypatch.setenv("IMSAGE_SETTINGS_FILE", str(file))
    monkeypatch.setenv("IMSAGE_PORT", "1002")
    monkeypatch.setenv("IMSAGE_WORKERS", "2")
    settings = load_settings(port=1003, host=None)
    assert (settings.port, settings.workers, settings.host) == (1003, 2, "::1")


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("IMSAGE_PORT", "many", "port"),
        ("IMSAGE_WORKERS", "0", "workers"),
        ("IMSAGE_DEVICE", "gpu", "device: .*auto.cpu.cuda"),
        ("IMSAGE_LOG_LEVEL", "loud", "log_level"),
        ("IMSAGE_INDEX", "tree", "index: Input should be 'auto', 'flat', 'hnsw' or 'ivfpq'"),
        ("IMSAGE_INDEX_MEMORY", "-1", "index_memory: .*greater than or equal to 0"),
    ],
)
def test_a_wrong_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, named: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(BadInput, match=named):
        load_settings()


def test_a_settings_file_with_an_unknown_name_or_none_at_all_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "imsage.toml"
    monkeypatch.setenv("IMSAGE_SETTINGS_FILE", str(file))
    with pytest.raises(BadInput, match="does not exist"):
        load_settings()
    file.write_text("prot = 1\n")
    with pytest.raises(BadInput, match="prot"):
        load_settings()
    file.write_text("port = ")
    with pytest.raises(BadInput, match="cannot be read"):
        load_settings()


@pytest.mark.parametrize(
    "text",
    [b"host = [" + b"[" * 5000, b"\xff", b"port = " + b"1" * 5000, b"port = nan", b"host = 1\x00", b"["],
)
def test_a_settings_file_that_makes_no_sense_is_refused_in_plain_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    file = tmp_path / "imsage.toml"
    file.write_bytes(text)
    monkeypatch.setenv("IMSAGE_SETTINGS_FILE", str(file))
    with pytest.raises(BadInput, match="setting"):
        load_settings()


@pytest.mark.parametrize("text", ["", "0", "65536", "http", "[80", "[" * 5000])
def test_ports_to_fetch_from_are_numbers_with_commas(text: str) -> None:
    assert load_settings(url_fetch_ports="443, 8443").url_fetch_ports == (443, 8443)
    with pytest.raises(BadInput, match="setting"):
        load_settings(url_fetch_ports=text)


def test_a_worker_gets_the_settings_of_its_parent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    parent = load_settings(data=tmp_path / "a b", url_fetch=True, batch_wait_ms=0.5)
    for name, value in parent.to_environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == parent


def test_origins_are_listed_with_commas_and_must_be_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMSAGE_CORS_ORIGINS", "https://a.example, http://localhost:3000")
    settings = load_settings()
    assert settings.cors_origins == ("https://a.example", "http://localhost:3000")
    monkeypatch.setenv("IMSAGE_CORS_ORIGINS", settings.to_environment()["IMSAGE_CORS_ORIGINS"])
    assert load_settings() == settings
    monkeypatch.setenv("IMSAGE_CORS_ORIGINS", "a.example/path")
    with pytest.raises(BadInput, match="cors_origins"):
        load_settings()


@pytest.mark.parametrize(
    "name", [name for name, field in Settings.model_fields.items() if field.default is not None]
)
def test_every_setting_can_be_given_as_text_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    served: list[Settings] = []
    monkeypatch.setattr("app.serve.serve", served.append)
    text = Settings().to_environment()[f"IMSAGE_{name.upper()}"]
    assert run(["serve", "--set", f"{name}={text}"]) == 0
    assert served == [Settings()]


def test_a_setting_given_wrongly_on_the_command_line_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "--set", "rate_limit"]) == 2
    assert run(["serve", "--set", "prot=1"]) == 2
    assert "prot" in capsys.readouterr().err
