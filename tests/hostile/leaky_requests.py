"""Run by test_keys_stay_secret: a service that asks for keys gets one in every place where none belongs.

Arguments: the data directory, the key. All requests are sent once for each form of logs. Logs go to standard
error, all answers to standard output.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.api.application import create_app
from app.logs import Format, configure_logs
from app.settings import Settings


def send_all(data: Path, form: Format, key: str) -> None:
    """Send the requests and print what came back."""
    configure_logs("debug", form)
    app = create_app(Settings(data=data))
    _add_a_fault(app)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        allowed = {"authorization": f"Bearer {key}"}
        answers = [
            client.get("/v1/index", headers=allowed),
            client.get("/fault", headers=allowed),
            client.get(f"/v1/index?key={key}"),
            client.get(f"/v1/tags?prefix={key}&{key}=1", headers=allowed),
            client.get(f"/v1/images/{key}", headers=allowed),
            client.get(f"/{key}"),
            client.get("/v1/index", headers={"authorization": key}),
            client.get("/v1/index", headers={"authorization": f"Basic {key}"}),
            client.get("/v1/index", headers={"authorization": f"Bearer {key}x"}),
            client.get("/v1/index", headers={"x-request-id": key, "user-agent": key, "cookie": f"key={key}"}),
            client.post("/v1/search", json={key: key}, headers=allowed),
            client.post("/v1/search", json={"cursor": key, "tags": ["red"]}, headers=allowed),
            client.post("/v1/search", content=key.encode(), headers={**allowed, "content-type": key}),
            client.post("/v1/search/upload", files={key: (key, b"x")}, headers=allowed),
            client.post("/v1/jobs", json={"kind": key}, headers={**allowed, "idempotency-key": key}),
            client.get("/metrics", headers=allowed),
        ]
        for answer in answers:
            print(answer.status_code, answer.text)


def _add_a_fault(app: FastAPI) -> None:
    @app.get("/fault")
    async def fault() -> None:
        raise RuntimeError("something unexpected")


if __name__ == "__main__":
    send_all(Path(sys.argv[1]), "json", sys.argv[2])
    send_all(Path(sys.argv[1]), "console", sys.argv[2])
