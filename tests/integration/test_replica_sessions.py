"""A real replica process: what one session leaves unfinished does not slow the next one down."""

from __future__ import annotations

import importlib.util
import os
import time
from array import array
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import zmq

from harness_llm.core import Request
from harness_llm.fleet.roles import REPLICA
from harness_llm.launch.launcher import end_all
from harness_llm.launch.local import LocalLauncher
from harness_llm.loadgen.links import ReplicaLink
from harness_llm.transport.control import ControlServer
from harness_llm.transport.spec import ReplicaSpec, write_spec
from harness_llm.transport.wire import Failed, Ready

if TYPE_CHECKING:
    from collections.abc import Iterator

LOAD_S = 400.0


class _Replica:
    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], control: ControlServer, endpoint: str
    ) -> None:
        self.context, self._control, self._endpoint = context, control, endpoint

    def open(self, session: str) -> ReplicaLink:
        link = ReplicaLink(self.context, 0, self._endpoint, session, silence_s=8.0)
        link.open()
        return link

    def heartbeats(self, seconds: float) -> None:
        """Let the replica speak; any failure of it fails the test."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for _, message in self._control.receive(50, {"replica-0"}):
                assert not isinstance(message, Failed), message

    def answer(self, link: ReplicaLink, request: Request, seconds: float = 30) -> tuple[float, bytes]:
        """Seconds until the answer is there, and the answer."""
        began = time.monotonic()
        link.ask([request])
        while time.monotonic() < began + seconds:
            self.heartbeats(0)
            link.hear.poll(50)
            for events in link.heard():
                assert not events.failures, events.failures
                if events.finished_ids:
                    assert events.finished_ids == [request.id]
                    return time.monotonic() - began, events.finished_tokens[0]
        raise AssertionError("no answer")


@contextmanager
def _replica(folder: Path, engine: str, arguments: dict[str, Any]) -> Iterator[_Replica]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    control = ControlServer(context, f"ipc://{folder}/control")
    spec = ReplicaSpec("replica-0", control.endpoint, f"ipc://{folder}", engine, arguments)
    write_spec(spec, folder / "spec.json")
    environment = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    child = LocalLauncher().start(REPLICA, "replica-0", folder / "spec.json", folder / "log.txt", environment)
    try:
        endpoint = ""
        deadline = time.monotonic() + LOAD_S
        while not endpoint:
            assert child.exit_reason() is None, child.log_text(0)
            assert time.monotonic() < deadline
            for _, message in control.receive(200, {"replica-0"}):
                assert not isinstance(message, Failed), message
                endpoint = message.endpoint if isinstance(message, Ready) else endpoint
        yield _Replica(context, control, endpoint)
    finally:
        end_all([child], 0)
        control.close()
        context.destroy(linger=0)


def _request(number: int, tokens: int) -> Request:
    return Request(number, array("i", [5 + number % 50] * 32).tobytes(), tokens, tokens, True)


@pytest.mark.parametrize("way", ["close", "vanish"])
def test_the_simulated_engine_drops_the_session_before(tmp_path: Path, way: str) -> None:
    latency = {"first_token_ms": 100, "per_token_ms": 10, "concurrent": 4}
    with _replica(tmp_path, "simulated", latency) as replica:
        first = replica.open("first")
        alone, _ = replica.answer(first, _request(0, 4))
        first.ask([_request(number, 100) for number in range(1, 200)])  # 55 s of work
        replica.heartbeats(0.3)
        if way == "close":
            first.close()
        second = replica.open("second")
        beside, answer = replica.answer(second, _request(0, 4))
        assert len(answer) == 16
        assert beside < alone + 0.1
        second.close()
        if way == "vanish":
            first.close()
        third = replica.open("third")
        assert replica.answer(third, _request(0, 4))[0] < alone + 0.1
        third.close()


@pytest.mark.vllm
@pytest.mark.timeout(900)
def test_vllm_drops_the_session_before(tmp_path: Path) -> None:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    model = Path(os.environ.get("LAB_MODEL", "/data/inference/model")) / "smollm2-135m-instruct"
    if not (model / "config.json").is_file():
        pytest.skip(f"{model} is not there: run download_model.py --model smollm2-135m, or set LAB_MODEL")
    arguments = {
        "model": str(model), "dtype": "bfloat16", "max_model_len": 1024, "max_num_seqs": 8,
        "enforce_eager": True,
    }  # fmt: skip
    with _replica(tmp_path, "vllm", arguments) as replica:
        first = replica.open("first")
        alone, answer = replica.answer(first, _request(0, 8))
        first.ask([_request(number, 900) for number in range(1, 33)])  # minutes of work
        replica.heartbeats(2)
        second = replica.open("second")
        beside, again = replica.answer(second, _request(0, 8))
        assert again == answer, "greedy, and alone in its batch both times"
        assert beside < 2 * alone + 1
        second.close()
        first.close()
        log = (tmp_path / "log.txt").read_text()
        assert "a session ended with 32 unfinished requests" in log
