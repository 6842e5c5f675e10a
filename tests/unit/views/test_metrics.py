from __future__ import annotations

import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness_llm.errors import HostError
from harness_llm.results.live_records import DeviceState, HostState, LiveRecord, ReplicaState, TestState
from harness_llm.views.metrics import MetricsServer


def _served(server: MetricsServer) -> dict[tuple[str, ...], float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
        text = answer.read().decode()
    return {
        (sample.name.removeprefix("harness_llm_"), *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_is_served_is_what_the_records_say() -> None:
    server = MetricsServer(0)
    try:
        assert ("samples_done", "Server/performance") not in _served(server)
        test = TestState(
            name="Server/performance", began_at_s=0.0, issued=12, done=10, tokens=640, ttft={1200: 9, 1400: 1}
        )
        server.take(
            LiveRecord(
                at_s=9.0, began_at_s=0.0, tests=(test,), host=HostState(other_cores=1.4),
                replicas=(
                    ReplicaState(
                        name="Server/replica-0", in_flight=2, kv_cache=0.61,
                        metrics={"vllm:num_requests_waiting": 3.0, "of its own": 1.0},
                    ),
                ),
                devices=(DeviceState(index=0, watts=698.0),),
            )
        )  # fmt: skip
        found = _served(server)
        with pytest.raises(HostError, match=f"--metrics-port {server.port}: cannot listen"):
            MetricsServer(server.port)
    finally:
        server.close()
    assert found["samples_done", "Server/performance"] == 10
    assert found["ttft_seconds_bucket", "0.2", "Server/performance"] == 9
    assert found["ttft_seconds_count", "Server/performance"] == 10
    assert found["ttft_seconds_sum", "Server/performance"] == pytest.approx(9 * 0.1541 + 1.127, rel=0.01)
    assert found["replica_in_flight", "Server/replica-0"] == 2
    assert found["replica_kv_cache", "Server/replica-0"] == 0.61
    assert found["vllm:num_requests_waiting", "Server/replica-0"] == 3
    assert found["of_its_own", "Server/replica-0"] == 1
    assert found["device_watts", "0"] == 698 and found["host_other_cores",] == 1.4
    assert ("device_celsius", "0") not in found and ("host_own_cores",) not in found
