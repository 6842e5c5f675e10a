"""What VllmEngine asks of vLLM for each request, in front of a stand-in for vLLM's own classes."""

from __future__ import annotations

import asyncio
import struct
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from harness_llm.core import Request
from harness_llm.engines.vllm import VllmEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class _Parameters:
    """SamplingParams of a vLLM that clones them for each request."""

    skip_clone = False

    def __init__(self, **given: Any) -> None:
        self.given = given


class _OlderParameters:
    """SamplingParams of a vLLM without that attribute."""

    __slots__ = ("given",)

    def __init__(self, **given: Any) -> None:
        self.given = given


class _Llm:
    def __init__(self) -> None:
        self.parameters: list[Any] = []

    async def generate(self, prompt: Any, parameters: Any, request_id: str) -> AsyncIterator[Any]:
        del prompt, request_id
        self.parameters.append(parameters)
        yield SimpleNamespace(outputs=[SimpleNamespace(token_ids=[1, 2, 3, 4], finish_reason="length")])


@pytest.fixture(params=[_Parameters, _OlderParameters])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[Any]:
    vllm, sampling = ModuleType("vllm"), ModuleType("vllm.sampling_params")
    vllm.SamplingParams = request.param  # type: ignore[attr-defined]
    sampling.RequestOutputKind = SimpleNamespace(DELTA="delta", FINAL_ONLY="final")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", sampling)
    found: type[Any] = request.param
    return found


class _Sink:
    def first_token(self, request_id: int, token: int) -> None: ...

    def finished(self, request_id: int, tokens: bytes) -> None: ...

    def failed(self, request_id: int, reason: str) -> None:
        raise AssertionError(reason)


def _asked(arguments: dict[str, Any], *requests: Request) -> list[Any]:
    async def run() -> list[Any]:
        engine, llm = VllmEngine(arguments), _Llm()
        engine._llm, engine._sink = llm, _Sink()
        engine.submit(requests)
        await asyncio.gather(*engine._tasks.values())
        return llm.parameters

    return asyncio.run(run())


def _request(number: int, least: int = 2, most: int = 9, first: bool = True) -> Request:
    return Request(number, struct.pack("<i", 7), least, most, first)


def test_decoding_is_greedy_and_within_the_samples_limits(kind: type[Any]) -> None:
    (parameters,) = _asked({"model": "m"}, _request(1, 3, 11))
    assert isinstance(parameters, kind)
    given = dict(parameters.given)
    assert (given.pop("temperature"), given.pop("min_tokens"), given.pop("max_tokens")) == (0.0, 3, 11)
    assert given.pop("detokenize") is False
    assert given == {"output_kind": "delta"}


def test_what_llm_config_says_of_sampling_is_what_vllm_is_asked(kind: type[Any]) -> None:
    """vLLM lays its override_generation_config under parameters that the caller makes, so they must agree."""
    sampled = {"temperature": 1.0, "top_p": 1.0, "top_k": 0}
    (parameters,) = _asked({"override_generation_config": sampled}, _request(1))
    assert {name: parameters.given[name] for name in sampled} == sampled
    (parameters,) = _asked({"override_generation_config": None}, _request(1))
    assert parameters.given["temperature"] == 0.0


def test_a_first_token_is_reported_only_where_it_is_wanted(kind: type[Any]) -> None:
    asked = _asked({}, _request(1, first=True), _request(2, first=False))
    assert [parameters.given["output_kind"] for parameters in asked] == ["delta", "final"]


def test_equal_parameters_are_made_once_and_never_cloned_where_vllm_lets_us(kind: type[Any]) -> None:
    first, same, shorter, least = _asked(
        {}, _request(1), _request(2), _request(3, most=8), _request(4, least=3)
    )
    assert first is same
    assert len({id(parameters) for parameters in (first, shorter, least)}) == 3
    if kind is _Parameters:
        assert first.skip_clone is True
