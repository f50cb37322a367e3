"""API keys: who may do what, and that keys stay secret."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

from app import keys
from app.api.access import needed_scope
from app.api.application import create_app
from app.api.local_names import LocalNames
from app.key_ring import KeyRing
from app.keys import create_key, digest_of, keys_path, matching, read_keys, revoke_key
from app.settings import Settings, load_settings
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput, CorruptFile, NotFound, UnknownName
from tests.api.conftest import png, problem, serving
from tests.shapes import Shape

SEARCH = {"tags": ["red"], "limit": 1}


@pytest.fixture
def key(built_copy: DataDir) -> str:
    return create_key(built_copy, "reader", "read")


@pytest.fixture
def guarded(built_copy: DataDir, key: str) -> Iterator[TestClient]:
    with serving(built_copy.root) as client:
        yield client


def bearing(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


# -- keys as they are kept


def test_only_the_hash_of_a_key_is_kept(built_copy: DataDir) -> None:
    made = create_key(built_copy, "shop", "write")
    stored = keys_path(built_copy).read_text()
    assert made not in stored and made.removeprefix("imsage_") not in stored
    assert digest_of(made.encode()).hex() in stored
    assert [(key.name, key.scopes) for key in read_keys(keys_path(built_copy))] == [
        ("shop", ("read", "write"))
    ]


def test_every_key_is_compared_in_constant_time(built_copy: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [create_key(built_copy, name, "read") for name in ("a", "b", "c")]
    known = read_keys(keys_path(built_copy))
    compared: list[bytes] = []
    real = keys.hmac.compare_digest

    def counting(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return real(one, other)

    monkeypatch.setattr(keys.hmac, "compare_digest", counting)
    found = matching(known, made[0].encode())
    assert found is not None and found.name == "a"
    assert len(compared) == 3  # it does not stop at the one that fits


def test_a_name_is_taken_once_and_plain(built_copy: DataDir) -> None:
    create_key(built_copy, "shop", "read")
    with pytest.raises(BadInput, match="already"):
        create_key(built_copy, "shop", "write")
    with pytest.raises(BadInput, match="no name"):
        create_key(built_copy, "two words", "read")
    with pytest.raises(UnknownName, match="admin"):
        create_key(built_copy, "other", "admin")
    with pytest.raises(NotFound, match="nobody"):
        revoke_key(built_copy, "nobody")


def test_a_key_is_revoked_also_while_a_long_job_holds_the_data_directory(built_copy: DataDir) -> None:
    create_key(built_copy, "shop", "read")
    with built_copy.lock("training"):
        assert revoke_key(built_copy, "shop") == 0


@pytest.mark.parametrize(
    "text", ["", "{", '{"schema": 2, "keys": []}', '{"schema": 1, "keys": [{"name": "a"}]}']
)
def test_keys_that_cannot_be_read_do_not_open_the_service(built_copy: DataDir, text: str) -> None:
    keys_path(built_copy).write_text(text)
    with pytest.raises(CorruptFile, match=r"keys\.json"):
        create_app(Settings(data=built_copy.root))


# -- calls


def test_without_keys_the_service_is_open(client: TestClient) -> None:
    assert client.post("/v1/search", json=SEARCH).status_code == 200


def test_a_read_key_may_search_predict_and_look(guarded: TestClient, key: str) -> None:
    headers = bearing(key)
    assert guarded.post("/v1/search", json=SEARCH, headers=headers).status_code == 200
    assert guarded.post("/v1/search/batch", json={"queries": [SEARCH]}, headers=headers).status_code == 200
    assert guarded.get("/v1/index", headers=headers).status_code == 200
    assert guarded.get("/metrics", headers=headers).status_code == 200
    assert guarded.get("/v1/index", headers={"authorization": f"bearer {key}"}).status_code == 200


@pytest.mark.parametrize("header", [None, "", "Basic YTpi", "Bearer", "Bearer ", "Bearer imsage_wrong"])
def test_without_a_known_key_every_call_is_refused(guarded: TestClient, header: str | None) -> None:
    headers = {} if header is None else {"authorization": header}
    for response in (
        guarded.post("/v1/search", json=SEARCH, headers=headers),
        guarded.get("/v1/index", headers=headers),
        guarded.get("/v1/nothing", headers=headers),
        guarded.get("/metrics", headers=headers),
    ):
        problem(response, 401, "unauthorized")
        assert response.headers["www-authenticate"].startswith('Bearer realm="imsage"')
        assert response.headers["x-request-id"] and response.headers["content-security-policy"]


def test_a_read_key_may_not_change_anything(guarded: TestClient, key: str) -> None:
    for method, path in (("POST", "/v1/images"), ("DELETE", "/v1/images/a"), ("POST", "/v1/jobs")):
        refused = guarded.request(method, path, headers=bearing(key))
        assert "write" in problem(refused, 403, "insufficient-scope")["detail"]
        assert 'scope="write"' in refused.headers["www-authenticate"]


def test_a_write_key_may_also_read(built_copy: DataDir) -> None:
    made = create_key(built_copy, "importer", "write")
    with serving(built_copy.root) as client:
        assert client.post("/v1/search", json=SEARCH, headers=bearing(made)).status_code == 200
        assert client.request("PUT", "/v1/images/a", headers=bearing(made)).status_code not in (401, 403)


def test_probes_and_pages_need_no_key(guarded: TestClient) -> None:
    for path in ("/livez", "/readyz", "/", "/static/main.js", "/openapi.json"):
        assert guarded.get(path).status_code == 200, path


def test_every_call_of_the_description_but_the_probes_is_guarded(guarded: TestClient) -> None:
    description = guarded.get("/openapi.json").json()
    for path, calls in description["paths"].items():
        for method, call in calls.items():
            filled = path.replace("{id}", "a")
            refused = guarded.request(method, filled).status_code == 401
            assert refused == (path not in ("/livez", "/readyz")), (method, path)
            assert ("401" in call["responses"]) == refused and ("security" in call) == refused


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("POST", "/v1/search", "read"),
        ("POST", "/v1/search/upload", "read"),
        ("POST", "/v1/tags/predict", "read"),
        ("GET", "/v1/jobs", "read"),
        ("HEAD", "/v1/images/a", "read"),
        ("POST", "/v1/images", "write"),
        ("PATCH", "/v1/images/a", "write"),
        ("DELETE", "/v1/images/search", "write"),
        ("POST", "/v1/jobs/1/cancel", "write"),
        ("POST", "/v1/anything/new", "write"),
        ("POST", "/v1/searches", "write"),
        ("GET", "/livez", None),
        ("GET", "/jobs", None),
    ],
)
def test_what_changes_something_needs_write(method: str, path: str, needed: str | None) -> None:
    assert needed_scope(method, path) == needed


def test_a_setting_closes_the_service_before_there_is_a_key(built_data_dir: DataDir) -> None:
    with serving(built_data_dir.root, require_keys=True) as client:
        problem(client.post("/v1/search", json=SEARCH), 401, "unauthorized")


def test_a_running_service_learns_of_new_and_revoked_keys(built_copy: DataDir) -> None:
    def until(client: TestClient, key: str, status: int) -> None:
        end = time.monotonic() + 30
        while client.get("/v1/index", headers=bearing(key)).status_code != status:
            assert time.monotonic() < end

    with serving(built_copy.root) as client:
        first = create_key(built_copy, "first", "read")
        until(client, "nonsense", 401)
        until(client, first, 200)
        create_key(built_copy, "second", "read")
        revoke_key(built_copy, "first")
        until(client, first, 401)


def test_keys_damaged_while_the_service_runs_change_nothing(built_copy: DataDir, key: str) -> None:
    ring = KeyRing(keys_path(built_copy), required=False)
    keys_path(built_copy).write_text("{")
    ring.look()
    assert ring.closed and ring.find(key.encode()) is not None


def test_keys_that_appear_and_cannot_be_read_close_the_service_until_they_are_gone(
    built_copy: DataDir,
) -> None:
    ring = KeyRing(keys_path(built_copy), required=False)
    assert not ring.closed
    keys_path(built_copy).mkdir()
    ring.look()
    assert ring.closed
    keys_path(built_copy).rmdir()
    ring.look()
    assert not ring.closed


def test_a_service_with_keys_stays_closed_when_their_file_is_gone(built_copy: DataDir, key: str) -> None:
    ring = KeyRing(keys_path(built_copy), required=False)
    aside = built_copy.root / "aside"
    keys_path(built_copy).rename(aside)
    ring.look()
    assert ring.closed and ring.find(key.encode()) is not None
    other = create_key(built_copy, "other", "read")
    ring.look()
    assert ring.find(other.encode()) is not None and ring.find(key.encode()) is None


def test_a_file_of_keys_that_goes_while_it_is_read_opens_nothing(
    built_copy: DataDir, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = KeyRing(keys_path(built_copy), required=False)
    create_key(built_copy, "other", "read")

    def gone(path: Path) -> Any:
        path.unlink(missing_ok=True)
        return read_keys(path)

    monkeypatch.setattr("app.key_ring.read_keys", gone)
    ring.look()
    ring.look()
    assert ring.closed and ring.find(key.encode()) is not None


def test_revoking_the_last_key_opens_a_running_service(built_copy: DataDir, key: str) -> None:
    ring = KeyRing(keys_path(built_copy), required=False)
    revoke_key(built_copy, "reader")
    ring.look()
    assert not ring.closed


def test_a_key_is_never_in_the_log_but_its_name_is(
    guarded: TestClient, key: str, capfd: pytest.CaptureFixture[str]
) -> None:
    guarded.get("/v1/index", headers=bearing(key))
    guarded.get("/v1/index", headers=bearing("imsage_wrongwrongwrong"))
    written = "".join(capfd.readouterr())
    assert key not in written and "wrongwrongwrong" not in written
    assert "reader" in written


def test_the_description_names_the_way_to_send_a_key(guarded: TestClient) -> None:
    schemes = json.loads(guarded.get("/openapi.json").text)["components"]["securitySchemes"]
    assert [(scheme["type"], scheme["scheme"]) for scheme in schemes.values()] == [("http", "bearer")]


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_site_may_not_write_to_a_service_without_keys(
    built_copy: DataDir, site: str
) -> None:
    headers = {"sec-fetch-site": site, "origin": "https://elsewhere.test"}
    writes = (("POST", "/v1/images/delete"), ("POST", "/v1/jobs"), ("POST", "/v1/jobs/1/cancel"))
    with serving(built_copy.root) as client:
        for method, path in writes:
            problem(client.request(method, path, headers=headers), 403, "cross-site")
        own = client.request("DELETE", "/v1/images/a", headers={"sec-fetch-site": "same-origin"})
        assert own.status_code == 404
    with serving(built_copy.root, cors_origins=["https://elsewhere.test"]) as client:
        assert client.request("DELETE", "/v1/images/a", headers=headers).status_code == 404


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_site_may_not_ask_a_service_without_keys(
    built_data_dir: DataDir, indexed: list[Shape], site: str
) -> None:
    headers = {"sec-fetch-site": site, "origin": "https://elsewhere.test"}

    def asked(client: TestClient) -> list[Any]:
        picture = {"image": ("a.png", png(indexed[0]), "image/png")}
        return [
            client.post("/v1/search", json=SEARCH, headers=headers),
            client.post("/v1/search/upload", files=picture, headers=headers),
        ]

    with serving(built_data_dir.root) as client:
        for response in asked(client):
            problem(response, 403, "cross-site")
        assert client.get("/v1/index", headers=headers).status_code == 200
    with serving(built_data_dir.root, cors_origins=["https://elsewhere.test"]) as client:
        assert [response.status_code for response in asked(client)] == [200, 200]


OWN = [
    *("localhost", "127.0.0.1:8000", "[::1]:8000", "shop.localhost:9", "LOCALHOST:8000", "shop:8000"),
    *("192.0.2.1", "192.0.2.1:8000", "[2001:db8::1]:8000"),
]
FOREIGN = ["rebound.test", "rebound.test:8000", "127.0.0.1.rebound.test", "a@rebound.test", "["]


@pytest.mark.parametrize("host", OWN)
def test_a_service_of_this_machine_goes_by_the_names_of_it(host: str) -> None:
    assert LocalNames("127.0.0.1").include(host.encode())
    assert LocalNames("0.0.0.0", only=True).include(host.encode())


@pytest.mark.parametrize("host", FOREIGN)
def test_a_service_of_this_machine_goes_by_no_other_name(host: str) -> None:
    assert not LocalNames("127.0.0.1").include(host.encode())
    assert not LocalNames("0.0.0.0", only=True).include(host.encode())
    assert LocalNames("0.0.0.0").include(host.encode())
    assert LocalNames("::1", ["*"]).include(host.encode())


def test_a_service_of_this_machine_goes_by_the_hosts_of_the_origins_that_are_let_in() -> None:
    names = LocalNames("127.0.0.1", ["https://shop.test", "http://other.test:8000"])
    assert names.include(b"shop.test") and names.include(b"other.test:9")
    assert not names.include(b"rebound.test")


def test_a_page_whose_name_leads_to_this_machine_reads_nothing_from_a_service_without_keys(
    built_copy: DataDir,
) -> None:
    rebound = {"host": "rebound.test:8000"}
    with serving(built_copy.root) as client:
        for path in ("/v1/index", "/metrics", "/"):
            told = problem(client.get(path, headers=rebound), 403, "cross-site")
            assert "rebound.test:8000" in told["detail"]
        problem(client.post("/v1/search", json=SEARCH, headers=rebound), 403, "cross-site")
        assert client.get("/v1/index", headers={"host": "127.0.0.1:8000"}).status_code == 200
    key = create_key(built_copy, "reader", "read")
    with serving(built_copy.root) as client:
        assert client.get("/v1/index", headers=rebound | bearing(key)).status_code == 200


def test_the_compose_file_lets_no_name_be_led_to_its_service_without_keys(
    built_copy: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).parents[2]
    service = yaml.safe_load((root / "docker-compose.yml").read_text())["services"]["imsage"]
    image = re.findall(r"(IMSAGE_\w+)=(\S+)", (root / "Dockerfile").read_text())
    for name, value in (*image, *service["environment"].items()):
        if name.startswith("IMSAGE_") and name != "IMSAGE_DATA":
            monkeypatch.setenv(name, re.sub(r"\$\{\w+:-(.*)\}", r"\1", value))
    settings = load_settings(data=built_copy.root)
    assert settings.host == "0.0.0.0"
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        problem(client.get("/v1/index", headers={"host": "rebound.test:8000"}), 403, "cross-site")
        assert client.get("/v1/index").status_code == 200


def test_a_refused_preflight_is_a_problem(built_copy: DataDir) -> None:
    with serving(built_copy.root, cors_origins=["https://shop.test"]) as client:

        def preflight(origin: str, method: str) -> Any:
            headers = {"origin": origin, "access-control-request-method": method}
            return client.options("/v1/search", headers=headers)

        assert preflight("https://shop.test", "POST").status_code == 200
        told = problem(preflight("https://other.test", "POST"), 400, "bad-request")
        assert "origin" in told["detail"] and told["instance"] == "/v1/search"
        refused = preflight("https://shop.test", "PUT")
        assert "method" in problem(refused, 400)["detail"]
        assert refused.headers["access-control-allow-origin"] == "https://shop.test"


def test_a_body_without_a_type_writes_nothing(built_copy: DataDir) -> None:
    with serving(built_copy.root) as client:
        problem(client.post("/v1/images/delete", content=b'{"ids": ["a"]}'), 415)
        problem(client.post("/v1/jobs", content=b'{"kind": "reindex"}'), 415)
        assert client.post("/v1/search", content=b'{"tags": ["red"]}').status_code == 200


@pytest.mark.parametrize("path", ["/v1/search", "/v1/search/batch", "/v1/tags/predict"])
def test_a_page_has_to_say_of_which_type_its_question_is(client: TestClient, path: str) -> None:
    response = client.post(path, content=b'{"tags": ["red"]}', headers={"origin": "http://elsewhere.test"})
    problem(response, 415, "unsupported-media-type")
