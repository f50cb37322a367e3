"""Run by test_read_only_root: serves, searches and stores where only two folders may be written.

Argument: the data directory.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path

from tests.api.conftest import png, serving
from tests.shapes import all_shapes

STATUS = Path("/proc/self/status")


def main(data: Path) -> None:
    """Use the service, and say what this process may do."""
    for place in (Path.cwd(), Path("/")):
        try:
            (place / "written").touch()
        except OSError as error:
            print("refused:", error.strerror)
    picture = base64.b64encode(png(all_shapes()[0])).decode()
    with serving(data) as client:
        assert client.post("/v1/search", json={"text": "a red thing", "limit": 3}).json()["hits"]
        assert client.post("/v1/search", json={"image": {"data": picture}}).json()["hits"]
        body = {"images": [{"id": "new", "image": {"data": picture}, "tags": ["new"]}]}
        assert client.post("/v1/images", json=body).json()["created"] == 1
        assert client.get("/v1/images/new/file").content == png(all_shapes()[0])
        print("served:", client.get("/readyz").json()["status"])
    told = dict(line.split(":\t", 1) for line in STATUS.read_text().splitlines() if ":\t" in line)
    print("capabilities:", int(told["CapEff"], 16), "new privileges:", 1 - int(told["NoNewPrivs"]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
