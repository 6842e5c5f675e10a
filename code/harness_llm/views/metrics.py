"""A run's records for Prometheus: what `run --metrics-port` serves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from harness_llm.errors import HostError
from harness_llm.results.latency_bins import Percentiles
from harness_llm.results.live_records import LiveRecord
from harness_llm.views.so_far import RunSoFar

_ADDRESS = "127.0.0.1"
_NOT_A_NAME = re.compile(r"^(?=\d)|[^a-zA-Z0-9_:]")
_EDGES_S = tuple(float(f"{digit}e{power}") for power in range(-3, 3) for digit in (1, 2, 5))


class MetricsServer:
    """Serves the last record at http://127.0.0.1:PORT/metrics; a feed, see `ToldRun`.

    Args:
        port: Where; 0 takes a free one.

    Attributes:
        port: Where it listens.

    Raises:
        HostError: The port is in use or not ours to use.
    """

    def __init__(self, port: int) -> None:
        self._run = RunSoFar()
        registry = CollectorRegistry()
        registry.register(_Collected(self))
        try:
            self._server, self._thread = start_http_server(port, addr=_ADDRESS, registry=registry)
        except OSError as error:
            raise HostError(
                f"--metrics-port {port}: cannot listen on {_ADDRESS}: {error.strerror}",
                "Choose another port, or 0 for a free one.",
            ) from error
        self.port = int(self._server.server_port)

    def take(self, record: LiveRecord) -> None:
        """The next record."""
        self._run.take(record)

    def close(self) -> None:
        """Serve nothing any more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def collect(self) -> Iterator[Metric]:
        """Every metric as it is now."""
        tests = [(test.state.name, test) for test in list(self._run.tests.values())]
        yield from _gauges("test", tests, {
            "samples_issued": ("Samples that LoadGen asked for", lambda test: test.state.issued),
            "samples_done": ("Samples complete", lambda test: test.state.done),
            "samples_expected": ("Samples expected in all", lambda test: test.state.expected),
            "output_tokens": ("Output tokens of complete samples", lambda test: test.state.tokens),
            "ttft_over_limit": ("Samples over the limit of TTFT", lambda test: test.state.ttft_over),
            "tpot_over_limit": ("Samples over the limit of TPOT", lambda test: test.state.tpot_over),
            "over_limit_allowed": ("Samples that may be over a limit", lambda test: test.state.allowed),
            "p_valid": ("Probability that the limits hold to the end", lambda test: test.p_valid),
        })  # fmt: skip
        yield _histogram("ttft_seconds", "Time to first token", [(name, test.ttft) for name, test in tests])
        yield _histogram("tpot_seconds", "Time for each further token", [(n, test.tpot) for n, test in tests])
        replicas = [(name, each.state) for name, each in list(self._run.replicas.items())]
        yield from _gauges("replica", replicas, {
            "replica_in_flight": ("Requests unfinished", lambda state: state.in_flight),
            "replica_answers": ("Answers since its start", lambda state: state.answers),
            "replica_tokens": ("Output tokens of them", lambda state: state.tokens),
            "replica_kv_cache": ("Share of the KV cache in use", lambda state: state.kv_cache),
        })  # fmt: skip
        yield from _engines(replicas)
        devices = [(str(device.index), device) for device in self._run.last.devices]
        yield from _gauges("device", devices, {
            "device_watts": ("Power, mean of the last second", lambda device: device.watts),
            "device_joules": ("Energy since the start, by its counter", lambda device: device.counter_j),
            "device_mhz": ("Clock", lambda device: device.mhz),
            "device_celsius": ("Temperature", lambda device: device.celsius),
        })  # fmt: skip
        host = [("", self._run.last.host)]
        yield from _gauges("", host, {
            "host_own_cores": ("Cores that the run uses", lambda state: state.own_cores),
            "host_other_cores": ("Cores that others use", lambda state: state.other_cores),
        })  # fmt: skip


class _Collected(Collector):
    def __init__(self, server: MetricsServer) -> None:
        self._server = server

    def collect(self) -> Iterator[Metric]:
        return self._server.collect()


def _gauges(label: str, owners: list[tuple[str, Any]], wanted: dict[str, Any]) -> Iterator[Metric]:
    for name, (says, value_of) in wanted.items():
        family = GaugeMetricFamily(f"harness_llm_{name}", f"{says}.", labels=[label] if label else [])
        for owner, state in owners:
            if (value := value_of(state)) is not None:
                family.add_metric([owner] if label else [], value)
        yield family


def _engines(replicas: list[tuple[str, Any]]) -> Iterator[Metric]:
    """The engines' own metrics under their own names, so that what reads an engine's server reads these."""
    for name in dict.fromkeys(name for _, state in replicas for name in state.metrics):
        family = GaugeMetricFamily(_NOT_A_NAME.sub("_", name), "By the engine.", labels=["replica"])
        for replica, state in replicas:
            if name in state.metrics:
                family.add_metric([replica], state.metrics[name])
        yield family


def _histogram(name: str, says: str, owners: list[tuple[str, Percentiles]]) -> Metric:
    family = HistogramMetricFamily(f"harness_llm_{name}", f"{says}.", labels=["test"])
    for owner, times in owners:
        buckets = [(str(edge), float(times.within(edge))) for edge in _EDGES_S]
        family.add_metric([owner], [*buckets, ("+Inf", float(times.count))], sum_value=times.sum_s)
    return family
