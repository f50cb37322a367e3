"""Kills imsage with SIGKILL at every step and at random moments, and looks what is left after the next start.

    python -m tests.chaos.kill_anywhere --kills 200

One small data directory lives through all kills. Each operation first runs once to its end, and the points
that it comes by are noted; then it is begun again and again, each time in a process of its own, which is
killed at one of those points or at a random moment. After each kill the service is started on what is left:
it must answer with all that was acknowledged and nothing else, leave nothing lying about, and let the
operation be taken up and brought to its end. Exits with 1 at the first thing that is otherwise.
"""

from __future__ import annotations

import argparse
import os

# One thread: a process is forked for every kill, and only that thread of it goes on in the child.
os.environ["OMP_NUM_THREADS"] = "1"

import json
import random
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi.testclient import TestClient

from app.api.application import create_app
from app.logs import configure_logs
from app.settings import Settings
from gnn.reindex import reindex
from gnn.training import train
from graph_store.catalog import Catalog
from graph_store.checksums import sha256_of_bytes
from graph_store.data_dir import DataDir
from tests.chaos.left_behind import complaints
from tests.chaos.operations import (
    EPOCHS,
    INCREMENTAL,
    OPERATIONS,
    World,
    do_ingest,
    do_serve,
    forget_training,
    weights,
)
from tests.chaos.plan_of_kills import Kill, drawn, planned, strike_until
from tests.chaos.points import Points
from tests.chaos.traffic_of_writes import Ledger, Tags, write_until_killed

WRITES = "upsert and delete"
_MOST_WRITES = 12
_START_SECONDS = 120.0
_LAST_STEPS_SECONDS = 2.0
"""What a service may still do after an answer: its delta is folded, its logs are written."""


@dataclass
class Figures:
    """What came of it. `kills` found their process, by operation; `completed` came to its end before."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    points: int = 0
    completed: int = 0
    acknowledged: int = 0
    resumed: int = 0
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "kills": dict(self.kills), "all_kills": self.kills.total()}


class Broken(Exception):
    """Something was not as it must be after a kill."""


def in_child(work: Callable[[], Any]) -> Any:
    """What `work` returns, as JSON, from a process of its own. Raises Broken with what went wrong there."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            answer = json.dumps({"value": work()})
        except BaseException:
            answer = json.dumps({"error": traceback.format_exc()})
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    told = json.loads(data or b'{"error": "it died"}')
    if "error" in told:
        raise Broken(told["error"])
    return told["value"]


def begun(work: Callable[[], Any]) -> int:
    """Starts `work` in a process that is to be killed; returns its number. It ends with 3 when it fails."""
    child = os.fork()
    if child == 0:
        code = 0
        try:
            work()
        except BaseException:
            traceback.print_exc()
            code = 3
        os._exit(code)
    return child


def ended(child: int) -> bool:
    """Waits for a child; whether it was killed. Raises Broken when it failed by itself."""
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status) == signal.SIGKILL
    if os.WEXITSTATUS(status) != 0:
        raise Broken("the operation failed without being killed; its traceback stands above")
    return False


class Chaos:
    """The world, what is known of it, and the kills."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.world = World(DataDir(folder / "data"), folder / "source" / "tags.jsonl")
        self.figures = Figures(seed)
        self._random = random.Random(seed)
        self._ledger = Ledger()
        self._round = 0
        self._seconds: dict[str, float] = {}
        self._weights: dict[str, dict[str, str]] = {}

    # -- what there is

    def build(self) -> None:
        """The catalogue, trained and indexed."""
        self._next_source()

        def work() -> None:
            do_ingest(self.world, Points(self.world.data_dir))
            train(self.world.data_dir, "paper", epochs=EPOCHS)
            train(self.world.data_dir, epochs=EPOCHS)
            reindex(self.world.data_dir)

        in_child(work)
        self._ledger.acknowledged()
        self._note_weights()

    def visited(self, operation: str) -> Counter[str]:
        """The points of an operation, by how often it comes by; it runs to its end once."""
        with tempfile.NamedTemporaryFile() as file:
            seen = Path(file.name)
            self._prepare(operation)
            points = Points(self.world.data_dir, seen=seen)
            began = time.monotonic()
            if operation == WRITES:
                self._write(points, random_moment=False)
            else:
                in_child(lambda: self._do(operation, points))
                self._ledger.acknowledged()
            self._seconds[operation] = time.monotonic() - began
            self._look("uninterrupted")
            return Counter(seen.read_text(encoding="utf-8").splitlines())

    def take(self) -> None:
        """What is known begins with the catalogue as it is: it was built elsewhere."""

        def work() -> dict[str, list[str]]:
            with Catalog.open(self.world.data_dir.catalog_path) as catalog:
                return {record.id: [tag.name for tag in record.tags] for record in catalog.records()}

        self._ledger.sure = {name: frozenset(tags) for name, tags in in_child(work).items()}

    # -- one kill

    def make(self, kill: Kill) -> bool:
        """Kill, start, look, take up what was interrupted, look again. False when the operation came to its
        end before it was killed. Raises Broken.
        """
        self._prepare(kill.operation)
        die_at = (kill.point, kill.visit) if kill.visit else None
        points = Points(self.world.data_dir, die_at=die_at)
        if kill.operation == WRITES:
            killed = self._write(points, random_moment=not kill.visit)
        else:
            child = begun(lambda: self._do(kill.operation, points))
            if not kill.visit:
                time.sleep(self._random.uniform(0, self._seconds[kill.operation]))
                os.kill(child, signal.SIGKILL)  # a child that has ended waits for `ended`
            killed = ended(child)
        self.figures.kills[kill.operation] += killed
        self.figures.completed += not killed
        self._look(f"after a kill in {kill.operation} at {kill.point} (visit {kill.visit})")
        if kill.operation != WRITES:
            in_child(lambda: self._do(kill.operation, Points(self.world.data_dir)))
            if kill.operation == "ingest":
                self._next_known()
            self._look(
                f"after taking up {kill.operation} again, killed at {kill.point}",
                reindexed=kill.operation.endswith("reindex"),
            )
            self.figures.resumed += killed
            if kill.operation.startswith("train"):
                self._compare_weights(kill)
        return killed

    def _do(self, operation: str, points: Points) -> None:
        points.watch_files()
        OPERATIONS[operation](self.world, points)

    def _prepare(self, operation: str) -> None:
        if operation == "ingest":
            self._next_source()
        elif operation.startswith("train"):
            forget_training(self.world)
        elif operation == INCREMENTAL:
            self._change_some()

    def _change_some(self) -> None:
        """Other pictures and tags than the snapshot holds, so that there is something to index."""
        self._next_source()
        in_child(lambda: do_ingest(self.world, Points(self.world.data_dir)))
        self._ledger.acknowledged()

    def _write(self, points: Points, random_moment: bool) -> bool:
        """A service that is killed while it is written to; whether it died where it was meant to."""
        door = socket.socket()
        door.bind(("127.0.0.1", 0))
        door.listen()
        address = f"http://127.0.0.1:{door.getsockname()[1]}"

        def work() -> None:
            points.watch_files()
            do_serve(self.world, door)

        child = begun(work)
        door.close()
        with httpx.Client(base_url=address, timeout=_START_SECONDS, trust_env=False) as client:
            until = time.monotonic() + _START_SECONDS
            while time.monotonic() < until and not _is_ready(client):
                time.sleep(0.02)
            most = self._random.randrange(1, 3 * _MOST_WRITES) if random_moment else _MOST_WRITES
            before = self._ledger.answered
            write_until_killed(client, self._ledger, self._random.randrange(2**31), most)
            if random_moment:
                # One more, which nobody waits for.
                _send_and_leave(client, self._ledger, self._random.randrange(2**31))
                time.sleep(self._random.uniform(0, 0.05))
            self.figures.acknowledged += self._ledger.answered - before
        died = random_moment or _died_by_itself(child)
        if random_moment or not died:
            os.kill(child, signal.SIGKILL)
            ended(child)
        return died

    # -- looking

    def _look(self, when: str, reindexed: bool = False) -> None:
        """Start the service on what there is and compare. Raises Broken."""
        try:
            found = in_child(lambda: self._started(reindexed))
        except Broken as error:
            raise Broken(f"{when}: {error}") from error
        there = {name: frozenset(tags) for name, tags in found["catalogue"].items()}
        wrong = list(found["complaints"])
        for name in {*there, *self._ledger.sure, *self._ledger.open}:
            if not self._ledger.allows(name, there.get(name)):
                wrong.append(f"{name} is {there.get(name)}, and was {self._ledger.sure.get(name)}")
        if set(found["searched"]) != set(found["searchable"]):
            wrong.append(f"a search finds {set(found['searched']) ^ set(found['searchable'])} or does not")
        if wrong:
            raise Broken(f"{when}: " + "; ".join(wrong[:10]))
        self._ledger.settle(there)

    def _started(self, reindexed: bool) -> dict[str, Any]:
        data_dir = self.world.data_dir
        app = create_app(Settings(data=data_dir.root, snapshot_poll_seconds=0.05))
        with TestClient(app, base_url="http://localhost") as client:
            ready = client.get("/readyz").json()
            hits = client.post("/v1/search", json={"tags": ["red"], "limit": 1000}).json()["hits"]
        with Catalog.open(data_dir.catalog_path) as catalog:
            records = {record.id: record for record in catalog.records()}
        told = {hit["id"]: sorted(tag["name"] for tag in hit["tags"]) for hit in hits}
        tags = {name: sorted(tag.name for tag in record.tags) for name, record in records.items()}
        wrong = [] if ready["status"] == "ok" else [f"not ready: {ready}"]
        wrong += [f"{name} is told with {told[name]}" for name in told if told[name] != tags.get(name)]
        return {
            "catalogue": tags,
            "searchable": [name for name, record in records.items() if record.split == "train"],
            "searched": list(told),
            "complaints": wrong + complaints(data_dir, reindexed),
        }

    # -- what is to be expected

    def _next_source(self) -> None:
        self._round += 1
        self.world.draw_source(self._round)
        lines = [json.loads(line) for line in self.world.source.read_text(encoding="utf-8").splitlines()]
        self._coming: dict[str, Tags | None] = {line["id"]: frozenset(line["tags"]) for line in lines}
        self._ledger.begin(self._coming)

    def _next_known(self) -> None:
        self._ledger.begin(self._coming)
        self._ledger.acknowledged()

    def _note_weights(self) -> None:
        for preset in ("default", "paper"):
            self._weights[preset] = self._digests(preset)

    def _digests(self, preset: str) -> dict[str, str]:
        digests: dict[str, str] = in_child(
            lambda: {name: sha256_of_bytes(data) for name, data in weights(self.world, preset).items()}
        )
        return digests

    def _compare_weights(self, kill: Kill) -> None:
        """An interrupted training that was taken up gives the model of one that was not."""
        preset = "paper" if kill.operation.endswith("paper") else "default"
        if self._weights[preset] != self._digests(preset):
            raise Broken(f"training {preset} gave another model after a kill at {kill.point}")

    def refer_to_uninterrupted_training(self) -> None:
        """The catalogue has changed since the last training, so what training gives is learnt anew."""

        def work() -> None:
            for preset in ("paper", "default"):
                train(self.world.data_dir, preset, epochs=EPOCHS)

        in_child(work)
        self._note_weights()


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return True  # it was killed while it started: nobody needs to wait


def _died_by_itself(child: int) -> bool:
    """Whether a child is killed at its point, perhaps a moment after its last answer. Raises Broken when it
    failed in another way.
    """
    until = time.monotonic() + _LAST_STEPS_SECONDS
    while time.monotonic() < until:
        number, status = os.waitpid(child, os.WNOHANG)
        if number:
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
                return True
            raise Broken("the service ended without being killed")
        time.sleep(0.02)
    return False


def _send_and_leave(client: httpx.Client, ledger: Ledger, seed: int) -> None:
    with httpx.Client(base_url=client.base_url, timeout=0.03, trust_env=False) as hasty:
        write_until_killed(hasty, ledger, seed, 1)


def run(folder: Path, kills: int, seed: int, say: Callable[[str], None]) -> Figures:
    """All of it. Raises Broken."""
    began = time.monotonic()
    chaos = Chaos(folder, seed)
    chaos.build()
    visited = {
        name: chaos.visited(name)
        for name in ("ingest", WRITES, "train", "train paper", "reindex", INCREMENTAL)
    }
    chosen = random.Random(seed)
    say(f"{sum(map(len, visited.values()))} points, {kills} kills, seed {seed}")
    before = ""

    def strike(kill: Kill) -> bool:
        nonlocal before
        if kill.operation.startswith("train") and not before.startswith("train"):
            chaos.refer_to_uninterrupted_training()
        before = kill.operation
        struck = chaos.make(kill)
        told = "" if struck else " (it had ended)"
        say(f"{chaos.figures.kills.total()}/{kills} {kill.operation}: {kill.point}{told}")
        return struck

    made = strike_until(kills, planned(visited, kills, chosen), strike, lambda n: drawn(visited, n, chosen))
    chaos.figures.points = len({(kill.operation, kill.point) for kill in made if kill.visit})
    say(f"{chaos.figures.kills.total()} kills struck of {len(made)} that were tried")
    if chaos.figures.kills.total() < kills:
        raise Broken(f"no {kills} kills found their process in {len(made)} attempts")
    chaos.figures.seconds = time.monotonic() - began
    return chaos.figures


def run_some(folder: Path, kills: Sequence[Kill], say: Callable[[str], None]) -> Figures:
    """Those kills in the built data directory `folder`/data. Raises Broken, also when one is not reached."""
    chaos = Chaos(folder, seed=0)
    chaos.take()
    for kill in kills:
        chaos.make(kill)
        say(f"{kill.operation}: {kill.point}")
    if chaos.figures.completed:
        raise Broken(f"{chaos.figures.completed} of the points were not reached")
    return chaos.figures


def _say(line: str) -> None:
    print(line, flush=True)


def _kill_of(text: str) -> Kill:
    operation, point, visit = text.split(":")
    return Kill(operation, point, int(visit))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--folder", type=Path, help="a folder with a built data directory data/ to work in")
    parser.add_argument("--at", type=_kill_of, nargs="+", help="OPERATION:POINT:VISIT in that data directory")
    given = parser.parse_args(arguments)
    configure_logs("error", "json")
    with tempfile.TemporaryDirectory() as folder:
        try:
            if given.folder is not None:
                figures = run_some(given.folder, given.at, _say)
            else:
                figures = run(Path(folder), given.kills, given.seed, _say)
        except Broken as error:
            print(f"broken: {error}", file=sys.stderr)
            return 1
    told = json.dumps(figures.to_dict(), indent=2)
    print(told)
    if given.json is not None:
        given.json.write_text(told, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
