"""The Kubernetes example names what there is: settings, paths, images, and one another."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.api.access import needed_scope
from app.api.application import create_app
from app.settings import ENV_PREFIX, Settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
OTHERS_SETTINGS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
"""Read by the library that reaches the store."""


def documents() -> list[dict[str, Any]]:
    return [
        document
        for file in sorted(FOLDER.glob("*.yaml"))
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))
    ]


def named(kind: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in documents() if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


WORKLOADS = [each for each in documents() if each["kind"] in ("Deployment", "StatefulSet")]
PODS = pytest.mark.parametrize(
    "pod", [each["spec"]["template"]["spec"] for each in WORKLOADS], ids=[each["kind"] for each in WORKLOADS]
)


def containers(pod: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from pod.get("initContainers", [])
    yield from pod["containers"]


def environment(container: dict[str, Any]) -> dict[str, str]:
    """What the process finds, from wherever the manifests take it."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        if "configMapRef" in source:
            found |= named("ConfigMap", source["configMapRef"]["name"])["data"]
        else:
            found |= named("Secret", source["secretRef"]["name"])["stringData"]
    return found | {each["name"]: each["value"] for each in container.get("env", [])}


def settings_in(environment: dict[str, str]) -> Settings:
    ours = {name: value for name, value in environment.items() if name.startswith(ENV_PREFIX)}
    assert set(environment) - set(ours) <= OTHERS_SETTINGS
    # A name that is no setting is refused, and so is a value that cannot be.
    return Settings(**{name.removeprefix(ENV_PREFIX).lower(): value for name, value in ours.items()})


def test_there_are_a_writer_and_stateless_replicas() -> None:
    (writer,) = [each for each in WORKLOADS if each["kind"] == "StatefulSet"]
    (replica,) = [each for each in WORKLOADS if each["kind"] == "Deployment"]
    assert writer["spec"]["replicas"] == 1 < replica["spec"]["replicas"]
    of_writer = settings_in(environment(writer["spec"]["template"]["spec"]["containers"][0]))
    of_replica = settings_in(environment(replica["spec"]["template"]["spec"]["containers"][0]))
    assert of_replica.replica and not of_writer.replica
    assert of_replica.snapshot_store == of_writer.snapshot_store
    assert of_writer.reindex_every_hours > 0
    assert of_writer.require_keys and of_replica.require_keys
    data = next(each for each in replica["spec"]["template"]["spec"]["volumes"] if each["name"] == "data")
    assert "emptyDir" in data


@PODS
def test_every_environment_variable_is_a_setting_with_a_value_that_can_be(pod: dict[str, Any]) -> None:
    for container in containers(pod):
        assert environment(container)
        settings_in(environment(container))


@PODS
def test_no_service_of_the_namespace_sets_our_variables(pod: dict[str, Any]) -> None:
    # One named imsage would set IMSAGE_PORT=tcp://…
    assert pod["enableServiceLinks"] is False


def test_what_is_commented_out_is_a_setting_too() -> None:
    lines = [line.strip("# ") for file in FOLDER.glob("*.yaml") for line in file.read_text().splitlines()]
    spoken_of = {line.partition(":")[0] for line in lines if line.startswith(ENV_PREFIX)}
    known = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert f"{ENV_PREFIX}MILVUS_URI" in spoken_of and spoken_of <= known


@PODS
def test_probes_ask_paths_that_are_there_and_need_no_key(pod: dict[str, Any]) -> None:
    described = create_app(Settings(data=Path("nowhere"))).openapi()["paths"]
    (container,) = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    for asked in probes.values():
        assert "get" in described[asked["path"]] and needed_scope("GET", asked["path"]) is None
        assert ports[asked["port"]] == Settings().port
    assert probes["liveness"]["path"] == probes["startup"]["path"] == "/livez"
    assert probes["readiness"]["path"] == "/readyz"


@PODS
def test_nothing_has_rights_that_it_does_not_need(pod: dict[str, Any]) -> None:
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    context = pod["securityContext"]
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"USER {context['runAsUser']}:{context['runAsGroup']}\n" in dockerfile
    assert context["runAsNonRoot"] is True and context["fsGroup"] == context["runAsGroup"]
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(pod):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]


@PODS
def test_what_is_written_is_a_volume_and_every_volume_is_there(pod: dict[str, Any]) -> None:
    workload = next(each for each in WORKLOADS if each["spec"]["template"]["spec"] is pod)
    claims = workload["spec"].get("volumeClaimTemplates", [])
    there = {each["name"] for each in pod["volumes"]} | {each["metadata"]["name"] for each in claims}
    for container in containers(pod):
        mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
        assert {each["name"] for each in mounts.values()} <= there
        for path in ("/data", "/tmp"):  # where the image writes
            assert not mounts[path].get("readOnly", False)


@PODS
def test_the_image_is_that_of_the_compose_file(pod: dict[str, Any]) -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    assert {each["image"] for each in containers(pod)} == {compose["services"]["imsage"]["image"]}


@pytest.mark.parametrize("there, asked", [(False, "build /pictures"), (True, "reindex")])
def test_the_first_snapshot_is_published_also_when_that_failed_before(
    there: bool, asked: str, tmp_path: Path
) -> None:
    (writer,) = [each for each in WORKLOADS if each["kind"] == "StatefulSet"]
    (first,) = writer["spec"]["template"]["spec"]["initContainers"]
    *shell, script = first["command"]
    (tmp_path / "data").mkdir()
    if there:
        (tmp_path / "data" / "CURRENT").write_text("000001-0123abcd\n", encoding="utf-8")
    told = tmp_path / "told"
    imsage = tmp_path / "imsage"
    imsage.write_text(f'#!/bin/sh\necho "$*" >> {told}\nexit 1\n', encoding="utf-8")
    imsage.chmod(0o755)

    ran = subprocess.run(
        [*shell, script.replace("/data/", f"{tmp_path}/data/")],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        check=False,
    )

    assert told.read_text(encoding="utf-8") == f"{asked}\n"
    # A build that failed is tried again; a snapshot is served though its store is away.
    assert (ran.returncode == 0) == there


def test_services_find_their_pods_and_every_name_leads_somewhere() -> None:
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in WORKLOADS]
    for each in WORKLOADS:
        assert each["spec"]["selector"]["matchLabels"] == each["spec"]["template"]["metadata"]["labels"]
    services = {each["metadata"]["name"]: each for each in documents() if each["kind"] == "Service"}
    assert len(services) == 2
    for service in services.values():
        assert labels.count(service["spec"]["selector"]) == 1
        assert [port["targetPort"] for port in service["spec"]["ports"]] == ["http"]
    budget = named("PodDisruptionBudget", "imsage-replica")
    assert budget["spec"]["selector"]["matchLabels"] in labels


def test_what_a_replica_refuses_is_sent_to_the_writer() -> None:
    (rule,) = named("Ingress", "imsage")["spec"]["rules"]
    routes = {path["path"]: path["backend"]["service"]["name"] for path in rule["http"]["paths"]}
    described = create_app(Settings(data=Path("nowhere"))).openapi()["paths"]

    def goes_to(asked: str) -> str:
        return routes[max((path for path in routes if asked.startswith(path)), key=len)]

    for path, calls in described.items():
        if any(needed_scope(method.upper(), path) == "write" for method in calls):
            assert goes_to(path) == "imsage-writer", path
    assert goes_to("/v1/images/{id}/thumbnail") == "imsage-writer"
    for path in ("/", "/v1/search", "/v1/search/upload", "/v1/tags", "/readyz"):
        assert goes_to(path) == "imsage-replica"


def test_the_ingress_lets_through_what_the_service_takes_and_waits_for_its_answer() -> None:
    told = named("Ingress", "imsage")["metadata"]["annotations"]
    prefix = "nginx.ingress.kubernetes.io/proxy"
    assert told[f"{prefix}-body-size"] == f"{Settings().max_body_bytes // 2**20}m"
    assert int(told[f"{prefix}-read-timeout"]) > Settings().request_timeout


def test_the_secret_of_the_keys_can_be_made_again_and_the_pods_that_read_it_once_are_restarted() -> None:
    lines = (FOLDER / "writer.yaml").read_text(encoding="utf-8").splitlines()
    commands = [line.removeprefix("#").strip() for line in lines if line.startswith("#   kubectl ")]
    (made,) = [each for each in commands if " create secret " in each]
    replica = named("Deployment", "imsage-replica")["spec"]["template"]["spec"]
    (secret,) = [each["secret"]["secretName"] for each in replica["volumes"] if "secret" in each]
    # `create` alone refuses a name that is there.
    assert f" {secret} " in made and made.endswith("--dry-run=client -o yaml | kubectl apply -f -")
    assert "kubectl rollout restart deployment/imsage-replica" in commands


def test_no_secret_is_a_real_one() -> None:
    for document in documents():
        if document["kind"] == "Secret":
            assert all(value.startswith("change-this") for value in document["stringData"].values())
