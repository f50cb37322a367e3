"""The container files keep their promises: not root, a health check, a profile of its own for Milvus."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.keys import read_keys
from app.settings import ENV_PREFIX, Settings
from gnn.encoders.onnx_cache import CACHE_VARIABLE
from tests.docs.test_kubernetes import OTHERS_SETTINGS

ROOT = Path(__file__).parents[2]


def instructions() -> list[str]:
    """The instructions of all stages, continued lines joined and comments left out."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    return [line for line in "\n".join(lines).replace("\\\n", "").splitlines() if line.strip()]


@pytest.fixture(scope="module")
def dockerfile() -> list[str]:
    """Those of the last stage."""
    found = instructions()
    last_from = max(i for i, line in enumerate(found) if line.startswith("FROM "))
    return found[last_from:]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    parsed = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert isinstance(parsed, dict)
    return parsed


def instruction(dockerfile: list[str], name: str) -> str:
    found = [line.removeprefix(name).strip() for line in dockerfile if line.startswith(f"{name} ")]
    assert found, f"there is no {name}"
    return found[-1]


def test_the_image_does_not_run_as_root(dockerfile: list[str]) -> None:
    user, _, group = instruction(dockerfile, "USER").partition(":")

    assert int(user) > 0
    assert int(group) > 0


def test_the_image_asks_the_service_whether_it_is_ready(dockerfile: list[str]) -> None:
    command = json.loads(re.sub(r"^.*?CMD ", "", instruction(dockerfile, "HEALTHCHECK")))

    assert command[:2] == ["python", "-c"]
    assert "/readyz" in command[2]
    compile(command[2], "HEALTHCHECK", "exec")


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_whether_the_service_is_ready_is_asked_past_any_proxy(
    dockerfile: list[str], status: int, code: int
) -> None:
    command = json.loads(re.sub(r"^.*?CMD ", "", instruction(dockerfile, "HEALTHCHECK")))

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.handle_request).start()
        asked = {"IMSAGE_PORT": str(server.server_port), "http_proxy": "http://127.0.0.1:9"}
        assert subprocess.run([sys.executable, *command[1:]], env=asked, check=False).returncode == code


def test_the_image_serves_by_default(dockerfile: list[str]) -> None:
    assert json.loads(instruction(dockerfile, "ENTRYPOINT")) == ["imsage"]
    assert json.loads(instruction(dockerfile, "CMD")) == ["serve"]


def test_the_image_leaves_the_number_of_threads_to_each_command() -> None:
    # Serving sets its own; training and reindexing take all cores where nothing is said.
    assert not [line for line in instructions() if re.search(r"\bOMP_", line)]


def test_the_image_holds_the_graphs_that_its_workers_would_export_at_every_start(tmp_path: Path) -> None:
    runs = [shlex.split(line) for line in instructions() if line.startswith("RUN ")]
    (code,) = [run[3] for run in runs if run[1].endswith("/python") and run[2] == "-c"]

    environment = {**os.environ, CACHE_VARIABLE: str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)

    made = {path.name.partition("-v1-")[0] for path in tmp_path.glob("*.onnx.checked")}
    assert made == {"efficientnet_lite0", "minilm"}
    # Where they are put is where the service looks for them.
    places = re.findall(rf"{CACHE_VARIABLE}=(\S+)", "\n".join(instructions()))
    assert len(places) == 2 and len(set(places)) == 1


@pytest.mark.parametrize("extra", ["", "milvus", "s3", "s3,milvus"])
def test_what_reaches_s3_is_not_held_to_a_package_that_it_does_not_take(extra: str, tmp_path: Path) -> None:
    (install,) = [line for line in instructions() if "requirements.lock;; esac" in line]
    locked = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    (tmp_path / "requirements.lock").write_text(locked, encoding="utf-8")

    loosen = install.removeprefix("RUN ").partition(" && ")[0]
    subprocess.run(["sh", "-c", loosen], cwd=tmp_path, env={**os.environ, "EXTRA": extra}, check=True)

    pinned = re.compile(r"^\S+==\S+", re.MULTILINE)
    left = pinned.findall((tmp_path / "requirements.lock").read_text(encoding="utf-8"))
    gone = [each for each in pinned.findall(locked) if each not in left]
    assert [each.partition("==")[0] for each in gone] == (["python-dateutil"] if "s3" in extra else [])


def test_every_image_of_the_compose_file_has_a_version(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert re.search(r":[vR]?\S*\d", service["image"]), name
        assert not service["image"].endswith(":latest"), name


def test_only_the_service_starts_without_a_profile(compose: dict[str, Any]) -> None:
    services = compose["services"]

    assert [name for name, service in services.items() if "profiles" not in service] == ["imsage"]
    assert {name for name, service in services.items() if service.get("profiles") == ["milvus"]} == {
        "etcd",
        "minio",
        "milvus",
    }
    assert [name for name, service in services.items() if service.get("profiles") == ["scale"]] == ["replica"]


def test_the_service_runs_on_a_read_only_root_with_its_data_in_a_volume(compose: dict[str, Any]) -> None:
    service = compose["services"]["imsage"]

    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    volume, place = service["volumes"][0].split(":")
    assert volume in compose["volumes"]
    assert place == "/data"


@pytest.mark.parametrize("name", ["imsage", "replica"])
def test_the_service_has_no_rights_that_it_does_not_need(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]

    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not {"privileged", "cap_add", "pid", "network_mode", "user", "devices"} & set(service)
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["read_only"] is True and service["tmpfs"] == ["/tmp"]


def test_replicas_serve_what_the_service_publishes_and_cannot_change_it(compose: dict[str, Any]) -> None:
    service, replica = compose["services"]["imsage"], compose["services"]["replica"]

    assert replica["image"] == service["image"]
    volume, place, mode = replica["volumes"][0].split(":")
    assert mode == "ro" and f"{volume}:{place}" in service["volumes"]
    assert replica["environment"]["IMSAGE_SNAPSHOT_STORE"].endswith(f":-file://{place}}}")
    assert replica["environment"]["IMSAGE_REPLICA"] == "true"
    assert "/store" in (ROOT / "Dockerfile").read_text().partition("install --directory")[2].splitlines()[0]


def test_replicas_are_given_keys_and_start_without_any(compose: dict[str, Any]) -> None:
    services = compose["services"]
    given = re.fullmatch(
        r"\$\{IMSAGE_KEYS_FILE:-(\S+)\}:/data/keys\.json:ro", services["replica"]["volumes"][1]
    )
    assert given is not None
    assert read_keys(ROOT / given[1]) == ()
    closed = {services[name]["environment"]["IMSAGE_REQUIRE_KEYS"] for name in ("imsage", "replica")}
    assert closed == {"${IMSAGE_REQUIRE_KEYS:-false}"}


@pytest.mark.parametrize("name", ["imsage", "replica"])
def test_every_variable_is_a_setting_or_is_handed_on(compose: dict[str, Any], name: str) -> None:
    known = {f"{ENV_PREFIX}{field.upper()}" for field in Settings.model_fields}
    handed_on = compose["x-store-login"]
    environment = compose["services"][name]["environment"]

    assert set(environment) - set(handed_on) <= known
    assert OTHERS_SETTINGS <= set(handed_on) <= set(environment)
    assert all(environment[variable] is None for variable in handed_on)


def test_every_named_volume_is_declared(compose: dict[str, Any]) -> None:
    used = {
        volume.partition(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", [])
        if not volume.startswith("${IMSAGE_KEYS_FILE:-./")  # a file of this folder
    }

    assert used == set(compose["volumes"])


def test_the_volume_of_the_compose_file_is_filled_before_it_is_served() -> None:
    page = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    shown = [block for block in re.findall(r"```\n(.*?)```", page, re.DOTALL) if "docker compose up" in block]

    assert shown == ["docker compose run --rm imsage demo --data /data --no-serve\ndocker compose up\n"]


def test_every_dependency_is_a_service(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert set(service.get("depends_on", {})) <= set(compose["services"])
