"""VllmEngine around a vLLM that the test holds in its hands; the real one is in tests/integration."""

from __future__ import annotations

import asyncio
import os
import struct
import sys
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from harness_llm.core import Request
from harness_llm.engines import vllm
from harness_llm.engines.base import SOCKETS_VARIABLE
from harness_llm.engines.vllm import VllmEngine
from harness_llm.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine


class _Llm:
    """Answers with what the test puts into a request's queue; ends at a finish reason."""

    def __init__(self) -> None:
        self.queues: dict[str, asyncio.Queue[Any]] = {}
        self.prompts: list[Any] = []
        self.aborted: list[str] = []
        self.busy_looks = 0
        self.errored = False

    async def generate(self, prompt: Any, parameters: Any, request_id: str) -> AsyncIterator[Any]:
        del parameters
        self.prompts.append(prompt)
        queue = self.queues.setdefault(request_id, asyncio.Queue())
        reason = None
        while reason is None:
            item = await queue.get()
            if isinstance(item, Exception):
                raise item
            tokens, reason = item
            yield SimpleNamespace(outputs=[SimpleNamespace(token_ids=tokens, finish_reason=reason)])

    async def abort(self, request_ids: list[str]) -> None:
        self.aborted += request_ids

    async def reset_prefix_cache(self) -> bool:
        self.busy_looks -= 1
        return self.busy_looks < 0


class _Sink:
    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []

    def first_token(self, request_id: int, token: int) -> None:
        self.said.append(("first", request_id, token))

    def finished(self, request_id: int, tokens: bytes) -> None:
        self.said.append(("finished", request_id, [token for (token,) in struct.iter_unpack("<i", tokens)]))

    def failed(self, request_id: int, reason: str) -> None:
        self.said.append(("failed", request_id, reason))


def _with_engine(test: Callable[[VllmEngine, _Llm, _Sink], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        engine, llm, sink = VllmEngine({}), _Llm(), _Sink()
        engine._llm, engine._sink = llm, sink
        engine._sampling = lambda request: None  # type: ignore[method-assign]
        await test(engine, llm, sink)

    asyncio.run(run())


def _request(number: int, first: bool = True) -> Request:
    return Request(number, struct.pack("<3i", 9, 8, number), 2, 9, first)


async def _settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def _start(engine: VllmEngine, llm: _Llm, *requests: Request) -> None:
    engine.submit(requests)
    await _settle()
    assert len(llm.queues) == len(requests)


@pytest.mark.parametrize("reason", ["stop", "length"])
def test_the_first_token_comes_first_and_the_answer_is_whole(reason: str) -> None:
    async def test(engine: VllmEngine, llm: _Llm, sink: _Sink) -> None:
        await _start(engine, llm, _request(1), _request(2, first=False))
        assert llm.prompts[0] == {"type": "token", "prompt_token_ids": [9, 8, 1]}
        llm.queues["1"].put_nowait(([5], None))
        await _settle()
        assert sink.said == [("first", 1, 5)]
        llm.queues["1"].put_nowait(([6, 7], reason))
        llm.queues["2"].put_nowait(([4, 4], reason))
        await _settle()
        assert sorted(sink.said[1:], key=lambda word: word[1]) == [
            ("finished", 1, [5, 6, 7]),
            ("finished", 2, [4, 4]),
        ]
        assert not engine._tasks

    _with_engine(test)


@pytest.mark.parametrize("reason", ["abort", "error", "repetition"])
def test_an_answer_that_vllm_cut_short_is_a_failure_not_an_answer(reason: str) -> None:
    async def test(engine: VllmEngine, llm: _Llm, sink: _Sink) -> None:
        await _start(engine, llm, _request(1, first=False))
        llm.queues["1"].put_nowait(([5, 6], reason))
        await _settle()
        assert sink.said == [("failed", 1, f"vLLM cut the answer short after 2 tokens: {reason}")]

    _with_engine(test)


@pytest.mark.parametrize(
    ("asked", "facts", "missing", "instead"),
    [
        ("linear", {"fp8_linear.cublaslt_fast_accumulation": 320}, "", ""),
        ("linear,attention", {"fp8_linear.cublaslt_fast_accumulation": 320}, "attention", "linear"),
        ("linear", {"random_weights": {"seed": 0}}, "linear", "off"),
        ("on", {}, "attention and linear", "off"),
    ],
)
def test_a_kernel_that_replaced_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, asked: str, facts: dict[str, object], missing: str, instead: str
) -> None:
    monkeypatch.setenv("HARNESS_LLM_KERNELS", asked)

    async def test(engine: VllmEngine, llm: _Llm, sink: _Sink) -> None:
        async def told(method: str) -> list[dict[str, object]]:
            assert method == "harness_llm_facts"
            return [facts]

        llm.collective_rpc = told  # type: ignore[attr-defined]
        if not missing:
            assert await engine._replaced() == facts
            return
        with pytest.raises(EngineError, match=f"asks for {missing}, which replaced nothing") as found:
            await engine._replaced()
        assert found.value.remedy == f'Write harness_config.engine_env.HARNESS_LLM_KERNELS: "{instead}".'

    _with_engine(test)


@dataclass
class _Arguments:
    load_format: str = "auto"
    worker_extension_cls: str = ""
    stream_interval: int = 1
    enable_prefix_caching: bool = True
    disable_log_stats: bool = False


@dataclass
class _Config:
    model_config: Any = field(default_factory=lambda: SimpleNamespace(max_model_len=64))
    scheduler_config: Any = field(default_factory=lambda: SimpleNamespace(max_num_seqs=4))


@pytest.mark.parametrize(
    ("given", "worker", "asked"),
    [
        ({}, vllm._WORKER, ["harness_llm_freeze"]),
        ({"worker_extension_cls": "my.Worker"}, "my.Worker", []),
        ({"load_format": "random"}, vllm._WORKER, ["harness_llm_facts", "harness_llm_freeze"]),
    ],
)
def test_the_collector_is_kept_from_what_the_workers_have_loaded(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], worker: str, asked: list[str]
) -> None:
    calls: list[str] = []
    started: list[_Arguments] = []

    async def told(method: str) -> list[Any]:
        calls.append(method)
        return [{}]

    def from_engine_args(arguments: _Arguments, stat_loggers: object) -> SimpleNamespace:
        del stat_loggers
        started.append(arguments)
        return SimpleNamespace(vllm_config=_Config(), collective_rpc=told)

    for name, holds in (
        ("vllm", {"__version__": "1"}),
        ("vllm.engine.arg_utils", {"AsyncEngineArgs": _Arguments}),
        ("vllm.v1.engine.async_llm", {"AsyncLLM": SimpleNamespace(from_engine_args=from_engine_args)}),
    ):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**holds))
    monkeypatch.setattr(vllm, "_place_sockets", lambda: None)
    asyncio.run(VllmEngine(given).load())
    assert (started[0].worker_extension_cls, calls) == (worker, asked)


def test_what_vllm_raises_is_a_failure_by_its_name() -> None:
    async def test(engine: VllmEngine, llm: _Llm, sink: _Sink) -> None:
        await _start(engine, llm, _request(1))
        llm.queues["1"].put_nowait(ValueError("too long"))
        await _settle()
        assert sink.said == [("failed", 1, "ValueError: too long")]
        assert not engine._tasks

    _with_engine(test)


def test_requests_of_a_dead_engine_core_are_no_failed_samples() -> None:
    async def test(engine: VllmEngine, llm: _Llm, sink: _Sink) -> None:
        await _start(engine, llm, _request(1), _request(2))
        llm.errored = True
        llm.queues["1"].put_nowait(ValueError("EngineDeadError"))
        llm.queues["2"].put_nowait(([5], "abort"))
        await _settle()
        assert not engine._tasks and [what for what, *_ in sink.said if what == "failed"] == []
        with pytest.raises(EngineError, match="engine core process died"):
            engine.check()

    _with_engine(test)


@pytest.mark.parametrize(
    ("codes", "says", "remedy"),
    [
        ([None, -9], "died: it was killed by SIGKILL", "want of memory"),
        ([1], "died: it ended with exit code 1", "The replica's log"),
        ([None], "died\n", "The replica's log"),
    ],
)
def test_how_an_engine_core_ended_is_said(codes: list[int | None], says: str, remedy: str) -> None:
    async def test(engine: VllmEngine, llm: _Llm, sink: _Sink) -> None:
        llm.errored = True
        processes = [SimpleNamespace(exitcode=code) for code in codes]
        manager = SimpleNamespace(processes=processes)
        llm.engine_core = SimpleNamespace(resources=SimpleNamespace(engine_manager=manager))  # type: ignore[attr-defined]
        with pytest.raises(EngineError, match=says) as raised:
            engine.check()
        assert remedy in raised.value.remedy

    _with_engine(test)


def test_abort_silences_requests_and_waits_until_no_block_is_held() -> None:
    async def test(engine: VllmEngine, llm: _Llm, sink: _Sink) -> None:
        await _start(engine, llm, _request(1), _request(2), _request(3))
        llm.queues["1"].put_nowait(([5, 6], "stop"))  # on its way when the abort comes
        llm.busy_looks = 3
        await engine.abort([1, 2])
        assert llm.busy_looks == -1, "it looked until the answer was yes"
        assert llm.aborted == ["1", "2"]
        assert sink.said == []
        assert list(engine._tasks) == [3]
        llm.queues["3"].put_nowait(([4, 4], "stop"))
        await _settle()
        assert sink.said[-1] == ("finished", 3, [4, 4])

    _with_engine(test)


def test_requests_that_are_aborted_before_they_began_leave_nothing_behind() -> None:
    async def test(engine: VllmEngine, llm: _Llm, sink: _Sink) -> None:
        engine.submit([_request(1), _request(2)])
        await engine.abort([1, 2])
        await _settle()
        assert not engine._tasks
        assert not llm.queues
        assert sink.said == []

    _with_engine(test)


def test_abort_of_what_is_finished_or_never_was_is_no_error() -> None:
    async def test(engine: VllmEngine, llm: _Llm, sink: _Sink) -> None:
        await engine.abort([17])
        assert sink.said == []

    _with_engine(test)


def test_an_engine_that_never_lets_go_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(engine: VllmEngine, llm: _Llm, sink: _Sink) -> None:
        llm.busy_looks = 10**9
        monkeypatch.setattr(VllmEngine, "let_go_s", 0.1)
        with pytest.raises(EngineError, match="still works on aborted requests"):
            await engine.abort([1])

    _with_engine(test)


@pytest.mark.parametrize("step", ["abort", "reset_prefix_cache"])
def test_an_engine_core_that_answers_nothing_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    async def test(engine: VllmEngine, llm: _Llm, sink: _Sink) -> None:
        async def never(*_: Any) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(llm, step, never)
        monkeypatch.setattr(VllmEngine, "let_go_s", 0.1)
        async with asyncio.timeout(5):
            with pytest.raises(EngineError, match="still works on aborted requests"):
                await engine.abort([1])

    _with_engine(test)


@pytest.mark.parametrize(
    ("given", "chosen", "then"),
    [
        ("/tmp/run", None, "/tmp/run"),
        ("/tmp/run", "/mine", "/mine"),  # the user's own word
        ("/" + "x" * 80, None, None),  # too long for a socket: where vLLM would make it
        ("", None, None),
    ],
)
def test_vllms_sockets_lie_where_the_run_removes_them(
    monkeypatch: pytest.MonkeyPatch, given: str, chosen: str | None, then: str | None
) -> None:
    variables = {SOCKETS_VARIABLE: given} | ({"VLLM_RPC_BASE_PATH": chosen} if chosen else {})
    monkeypatch.setattr(vllm.os, "environ", variables)
    vllm._place_sockets()
    assert variables.get("VLLM_RPC_BASE_PATH") == then


def test_what_a_loader_of_weights_says_of_its_options_is_known_before_it_loads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def loader(config: SimpleNamespace) -> None:
        if config.model_loader_extra_config:
            raise ValueError("takes `seed`")

    module = SimpleNamespace(get_model_loader=loader)
    monkeypatch.setitem(sys.modules, "vllm.model_executor", SimpleNamespace(model_loader=module))
    assert vllm._loader_problems(SimpleNamespace(model_loader_extra_config={})) == {}
    found = vllm._loader_problems(SimpleNamespace(model_loader_extra_config={"sead": 3}))
    assert found == {"load_format": "takes `seed`"}


def test_a_variable_that_vllm_cannot_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    read = {
        "VLLM_CPU_KVCACHE_SPACE": lambda: int(os.environ["VLLM_CPU_KVCACHE_SPACE"]),
        "VLLM_UNSET": lambda: 1 / 0,
    }
    monkeypatch.setitem(sys.modules, "vllm.envs", SimpleNamespace(environment_variables=read))
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    assert vllm.try_variables() == {}
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "many")
    (said,) = vllm.try_variables().items()
    assert said[0] == "VLLM_CPU_KVCACHE_SPACE" and said[1].startswith("found 'many': invalid literal")
