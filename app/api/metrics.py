"""What Prometheus reads: time by stage, requests by route and status, and what is being served."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

STAGES = ("decode", "encode", "attach", "search", "total")
MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_VERSION = "imsage_index_version"

_BUCKETS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip


class _OfAllWorkers(Collector):
    """What all workers have counted, without the snapshots that none of them serves any more."""

    def collect(self) -> Iterator[Metric]:
        collector = MultiProcessCollector(None)  # type: ignore[no-untyped-call]  # it has no annotations
        for metric in collector.collect():  # type: ignore[no-untyped-call]
            if metric.name == _VERSION:
                metric.samples = [sample for sample in metric.samples if sample.value]
            yield metric


class Metrics:
    """The metrics of one application. With several workers they add up over all (see `imsage serve`)."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        stage = Histogram(
            "imsage_stage_seconds",
            "Seconds that one stage of an answer took: decode, encode, attach, search, total; decode and "
            "encode also of each picture that is stored.",
            ["stage"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._observe = {name: stage.labels(name).observe for name in STAGES}
        self._requests = Counter(
            "imsage_requests",
            "Requests answered, by route and status.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._children: dict[tuple[str, str, int], Counter] = {}
        self._images = self._gauge(
            "imsage_index_images", "Images that can be found: those of the snapshot and those written since."
        )
        self._tags = self._gauge("imsage_index_tags", "Tags of the images that can be found.")
        self._delta = self._gauge(
            "imsage_index_delta_images",
            "Images that were added or changed since the snapshot was made; the next reindex takes them in.",
        )
        self._degraded = self._gauge(
            "imsage_index_degraded",
            "1 while the newest snapshot cannot be served, the catalogue cannot be read or a replica cannot "
            "follow its store, as /readyz tells.",
        )
        self._version = Gauge(
            _VERSION,
            "1 for the snapshot that is served.",
            ["version"],
            registry=self._registry,
            multiprocess_mode="mostrecent",
        )
        self._served = ""
        self._shared: list[Collector] = []

    def include(self, collector: Collector) -> None:
        """Also tell what `collector` does, which says the same in every worker."""
        self._registry.register(collector)
        self._shared.append(collector)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self._registry, multiprocess_mode="mostrecent")

    def observe(self, seconds: Mapping[str, float]) -> None:
        """Record the stages of one answer, in seconds."""
        for name, value in seconds.items():
            self._observe[name](value)

    def count(self, method: str, route: str, status: int) -> None:
        """Record one answered request."""
        key = (method, route, status)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._requests.labels(method, route, str(status))
        child.inc()

    def serving(self, version: str, images: int, tags: int, delta: int, degraded: bool) -> None:
        """Record what is being served now."""
        self._images.set(images)
        self._tags.set(tags)
        self._delta.set(delta)
        self._degraded.set(int(degraded))
        if self._served != version:
            if self._served:
                self._leave(self._served)
            self._served = version
        if version:
            self._version.labels(version).set(1)

    def _leave(self, version: str) -> None:
        if MULTIPROCESS_VARIABLE in os.environ:
            self._version.labels(version).set(0)  # a series of several workers cannot be removed
        else:
            self._version.remove(version)

    def exposition(self) -> bytes:
        """Everything in the text format of Prometheus."""
        if MULTIPROCESS_VARIABLE not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        registry.register(_OfAllWorkers())
        for collector in self._shared:
            registry.register(collector)
        return generate_latest(registry)
