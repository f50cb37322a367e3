"""Settings: flag over environment over file over default; each says what it is."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import structlog

from app.api.application import app_from_environment
from app.cli import run
from app.cli.errors import DEBUG_VARIABLE
from app.settings import Settings, load_settings
from app.variables import NO_SETTINGS, unread_variables
from gnn.encoders.onnx_cache import CACHE_VARIABLE
from graph_store.errors import BadInput, WrongUsage


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


@pytest.mark.parametrize(
    ("mistyped", "right"),
    [
        ("IMSAGE_RATE_LIMT", "IMSAGE_RATE_LIMIT"),
        ("IMSAGE_REQUIRE_KEY", "IMSAGE_REQUIRE_KEYS"),
        ("imsage_workrs", "IMSAGE_WORKERS"),
        ("IMSAGE_SETTING_FILE", "IMSAGE_SETTINGS_FILE"),
    ],
)
def test_a_mistyped_variable_is_refused_with_the_one_that_is_meant(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mistyped: str, right: str
) -> None:
    monkeypatch.setenv(mistyped, "5")
    assert run(["serve"]) == 2
    told = capsys.readouterr().err
    assert mistyped in told and f"{right} " in told


@pytest.mark.parametrize("service", ["imsage", "imsage-replica", "imsage-url-fetch", "imsage-snapshot-store"])
def test_what_kubernetes_says_of_services_is_nobodys_typing_error(
    monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    before = unread_variables(os.environ, Settings.model_fields)
    name = service.upper().replace("-", "_")
    told = {"SERVICE_HOST": "10.0.0.7", "SERVICE_PORT": "80", "SERVICE_PORT_HTTP": "80"}
    told |= {"PORT_80_TCP": "tcp://10.0.0.7:80", "PORT_80_TCP_PROTO": "tcp", "PORT_80_TCP_ADDR": "10.0.0.7"}
    if name != "IMSAGE":
        told["PORT"] = "tcp://10.0.0.7:80"
    for part, value in told.items():
        monkeypatch.setenv(f"{name}_{part}", value)
    load_settings()
    assert unread_variables(os.environ, Settings.model_fields) == before


def test_a_port_that_kubernetes_has_put_over_ours_says_how_to_be_rid_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("IMSAGE_PORT", "tcp://10.0.0.7:80")
    with pytest.raises(WrongUsage, match="enableServiceLinks: false"):
        load_settings()


def test_what_the_deployment_files_and_the_makefile_set_is_refused_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = Path(__file__).parents[2]
    texts = [root / "Makefile", root / "Dockerfile", root / "docker-compose.yml"]
    texts += [*(root / "deploy").rglob("*.yaml"), *(root / "tests").rglob("conftest.py")]
    named = {
        name for text in texts for name in re.findall(r"\bIMSAGE_[A-Z_]*[A-Z]\b", text.read_text("utf-8"))
    }
    others = {name for name in named if name.removeprefix("IMSAGE_").lower() not in Settings.model_fields}
    others -= {"IMSAGE_SETTINGS_FILE"}  # which names a file that must be there
    assert {"IMSAGE_EXTRA", "IMSAGE_KEYS_FILE", "IMSAGE_CHAOS", "IMSAGE_TEST_DATA"} <= others
    for name in others:
        monkeypatch.setenv(name, "1")
    load_settings()


def test_a_server_says_which_variables_nothing_reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("app.api.application.configure_logs", lambda *_: None)
    monkeypatch.setenv("IMSAGE_DATA", str(tmp_path))
    monkeypatch.setenv("IMSAGE_DATA_DIR", str(tmp_path))
    with structlog.testing.capture_logs() as logged:
        app_from_environment()
    (told,) = [line for line in logged if line["event"] == "variables_not_read"]
    assert told["log_level"] == "warning"
    assert "IMSAGE_DATA_DIR" in told["variables"] and "IMSAGE_DATA" not in told["variables"]


def test_variables_of_ours_that_are_no_settings_are_those_that_the_page_lists() -> None:
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text("utf-8")
    table = page.partition("variables are not settings")[2]
    assert set(re.findall(r"^\| `(IMSAGE_\w+)`", table, re.MULTILINE)) == NO_SETTINGS
    assert {CACHE_VARIABLE, DEBUG_VARIABLE} < NO_SETTINGS


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
