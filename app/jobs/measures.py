"""What Prometheus reads of jobs: it comes from the history, so every server process says the same."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.jobs.job import KINDS, STATES
from app.jobs.store import JobStore
from graph_store.errors import ImsageError


class JobMeasures(Collector):
    """Jobs by kind and state, and how long the last of each kind took."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    def describe(self) -> Iterable[Metric]:
        """The names, asked for at registration; nothing is read for them."""
        return self._families()

    def collect(self) -> Iterable[Metric]:
        """What the history says now; nothing where it cannot be read, since other metrics can."""
        jobs, seconds = self._families()
        try:
            counts = self._store.counts()
            for kind in KINDS:
                for state in STATES:
                    jobs.add_metric([kind, state], counts.get((kind, state), 0))
                took = self._store.seconds_of_last(kind)
                if took is not None:
                    seconds.add_metric([kind], took)
        except ImsageError:
            return []
        return [jobs, seconds]

    @staticmethod
    def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
        return (
            GaugeMetricFamily(
                "imsage_jobs", "Jobs in the history, by kind and state.", labels=["kind", "state"]
            ),
            GaugeMetricFamily(
                "imsage_job_seconds",
                "Seconds that the last job of a kind took that succeeded.",
                labels=["kind"],
            ),
        )
