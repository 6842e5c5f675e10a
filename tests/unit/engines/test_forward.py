from __future__ import annotations

import asyncio
import dataclasses
import json
from array import array
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from harness_llm.core import Request
from harness_llm.engines.forward import Forward, ForwardEngine
from harness_llm.engines.forward_shapes import SHAPES, shape_of
from harness_llm.errors import ConfigError, EngineError
from harness_llm.testing import RecordingSink


def _request(number: int, length: int = 8, tokens: int = 1) -> Request:
    return Request(number, array("i", range(3, 3 + length)).tobytes(), tokens, tokens, True)


def _with(
    model: str, work: Callable[[ForwardEngine, RecordingSink], Awaitable[None]], batch: int = 4
) -> RecordingSink:
    sink = RecordingSink()

    async def run() -> None:
        engine = ForwardEngine(
            Forward(model=model, batch=batch, tiny=True, device="cpu").replica_arguments({}, 0)
        )
        facts = await engine.start(sink)
        assert facts.resolved["made_up_weights"] and not facts.is_simulated and facts.max_concurrent == batch
        assert json.loads(msgspec.json.encode(dataclasses.asdict(facts)))["name"] == "forward"
        await work(engine, sink)
        await engine.stop()
        engine.check()

    asyncio.run(run())
    return sink


async def _until(sink: RecordingSink, ends: int) -> None:
    async with asyncio.timeout(20):
        while sum(said[0] != "first" for said in sink.said) < ends:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("model", ["distilgpt2", "roberta-large"])  # one that generates, one that encodes
def test_each_request_has_the_token_that_the_model_gives_and_a_batch_is_one_pass(model: str) -> None:
    async def work(engine: ForwardEngine, sink: RecordingSink) -> None:
        engine.submit([_request(n) for n in range(4)])
        await _until(sink, 4)
        assert engine.generated() == 1
        engine.submit([_request(4, length=5), _request(5)])  # of unequal lengths
        engine.submit([_request(6, tokens=2)])
        await _until(sink, 7)
        assert engine.generated() == 3

    sink = _with(model, work)
    done = {number: value for what, number, value in sink.said if what == "finished"}
    first = {number: [value] for what, number, value in sink.said if what == "first"}
    assert done == first and len({tuple(done[n]) for n in (0, 1, 2, 3, 5)}) == 1
    (failed,) = [it for it in sink.said if it[0] == "failed"]
    assert failed[1] == 6 and "gives one token" in failed[2]


def test_what_is_given_up_is_never_reported() -> None:
    async def work(engine: ForwardEngine, sink: RecordingSink) -> None:
        engine.submit([_request(n) for n in range(8)])
        await asyncio.sleep(0)
        await engine.abort([0, 1, 5, 99])
        await _until(sink, 5)
        await asyncio.sleep(0.1)

    sink = _with("distilgpt2", work)
    assert sorted(number for what, number, _ in sink.said if what == "finished") == [2, 3, 4, 6, 7]


def test_a_model_that_cannot_be_loaded_is_said() -> None:
    engine = ForwardEngine({"model": "who/knows"})
    with pytest.raises(EngineError, match="who/knows did not load.*known: distilgpt2"):
        asyncio.run(engine.start(RecordingSink()))


def test_a_folder_that_holds_a_configuration_alone_gets_made_up_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(shape_of("distilgpt2", tiny=True)))
    engine = ForwardEngine({"model": str(tmp_path), "device": "cpu"})
    facts = asyncio.run(engine.start(RecordingSink()))
    assert facts.resolved["made_up_weights"] and facts.resolved["parameters"] < 10**6


def test_no_harness_file_may_name_it() -> None:
    with pytest.raises(ConfigError, match="a.yaml:1:1: the engine forward answers with one token"):
        Forward().preflight({}, lambda _: "a.yaml:1:1")


def test_a_tiny_shape_is_the_same_kind_of_model() -> None:
    for name, facts in SHAPES.items():
        tiny = shape_of(f"anyone/{name.upper()}", tiny=True)
        assert tiny is not None and tiny["vocab_size"] == 1000
        assert tiny["architectures"] == facts["architectures"]
    assert shape_of("who/knows") is None
