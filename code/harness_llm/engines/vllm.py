"""vLLM in this process, by its AsyncLLM; the only importer of `vllm`.

vLLM runs its own engine-core process; this side tokenizes nothing and detokenizes nothing. A
`stream_interval` above every output length makes vLLM report exactly twice a request: the first token
at once, then the rest (vllm/v1/engine/output_processor.py, RequestState.make_request_output, 0.32.0).
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from array import array
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from harness_llm.engines.base import EngineFacts
from harness_llm.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness_llm.engines.base import Request, Sink

__all__ = ["VllmEngine"]

_log = logging.getLogger(__name__)
_NEVER = 1 << 30  # tokens between reports: longer than any answer
_WARM_UP_PROMPTS = (16, 64, 256)
_SET_BY_HARNESS = {
    "stream_interval": _NEVER,
    "enable_prefix_caching": False,
    "disable_log_stats": True,
}
_JSON_DEPTH = 4


class VllmEngine:
    """One AsyncLLM.

    Args:
        arguments: Fields of vLLM's AsyncEngineArgs, as the user wrote them.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self._given = dict(arguments)
        self._tasks: set[asyncio.Task[None]] = set()
        self._llm: Any = None

    async def start(self, sink: Sink) -> EngineFacts:
        """Load the model and answer a few made-up prompts.

        Raises:
            EngineError: An argument that this vLLM does not know or refuses, or the load failed.
        """
        import vllm
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        self._sink = sink
        known = {field.name for field in dataclasses.fields(AsyncEngineArgs)}
        _check_arguments(self._given, known, vllm.__version__)
        try:
            arguments = AsyncEngineArgs(**{**self._given, **_SET_BY_HARNESS})
            self._llm = AsyncLLM.from_engine_args(arguments)
        except Exception as error:  # noqa: BLE001 - vLLM raises many types; all mean that it will not serve
            raise EngineError(
                f"vLLM {vllm.__version__} did not start: {type(error).__name__}: {error}",
                "The replica's log has vLLM's own words; check llm_config against them.",
            ) from error
        config = self._llm.vllm_config
        await self._warm_up(int(config.model_config.max_model_len))
        return EngineFacts(
            name="vllm",
            version=vllm.__version__,
            is_simulated=False,
            max_sequence_tokens=int(config.model_config.max_model_len),
            max_concurrent=int(config.scheduler_config.max_num_seqs),
            resolved={
                "changed_by_vllm": _changes(self._given, config),
                "config": _jsonable(config, _JSON_DEPTH),
            },
        )

    def submit(self, requests: Sequence[Request]) -> None:
        """Start a task for each request."""
        for request in requests:
            task = asyncio.create_task(self._answer(request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def check(self) -> None:
        """Raise if vLLM's engine core is dead.

        Raises:
            EngineError: It is.
        """
        if self._llm.errored:
            raise EngineError(
                "vLLM's engine core process died",
                "The replica's log has vLLM's own words (often: out of memory).",
            )

    async def stop(self) -> None:
        """Shut vLLM down, engine core included."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._llm is not None:
            self._llm.shutdown()

    async def _answer(self, request: Request) -> None:
        try:
            tokens = array("i")
            async for output in self._generate(request):
                is_first = not tokens
                tokens.extend(output.outputs[0].token_ids)
                if is_first and tokens and request.wants_first_token:
                    self._sink.first_token(request.id, tokens[0])
            self._sink.finished(request.id, tokens.tobytes())
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever vLLM raises, the sample has no answer
            self._sink.failed(request.id, f"{type(error).__name__}: {error}")

    def _generate(self, request: Request) -> Any:
        from vllm import SamplingParams
        from vllm.inputs import TokensPrompt
        from vllm.sampling_params import RequestOutputKind

        kind = RequestOutputKind.DELTA if request.wants_first_token else RequestOutputKind.FINAL_ONLY
        parameters = SamplingParams(
            temperature=0.0,
            min_tokens=request.min_tokens,
            max_tokens=request.max_tokens,
            detokenize=False,
            output_kind=kind,
        )
        prompt = array("i")
        prompt.frombytes(request.prompt)
        return self._llm.generate(TokensPrompt(prompt_token_ids=prompt.tolist()), parameters, str(request.id))

    async def _warm_up(self, max_sequence_tokens: int) -> None:
        from harness_llm.engines.base import Request as EngineRequest

        async def answer(place: int, length: int) -> None:
            prompt = array("i", [5 + place] * length).tobytes()
            async for _ in self._generate(EngineRequest(-1 - place, prompt, 4, 4, True)):
                pass

        lengths = [length for length in _WARM_UP_PROMPTS if length + 4 <= max_sequence_tokens]
        try:
            await asyncio.gather(*(answer(place, length) for place, length in enumerate(lengths)))
        except Exception as error:  # noqa: BLE001 - vLLM raises many types; all mean that it does not serve
            raise EngineError(
                f"vLLM failed to answer a warm-up prompt: {type(error).__name__}: {error}"
            ) from error


def _check_arguments(given: Mapping[str, Any], known: set[str], version: str) -> None:
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise EngineError(
                f"llm_config.{name}: vLLM {version} has no such argument",
                (f"Did you mean {near[0]}? " if near else "")
                + "docs/vllm-arguments.md says what replaced older ones.",
            )
    for name, value in _SET_BY_HARNESS.items():
        if name in given and given[name] != value:
            raise EngineError(
                f"llm_config.{name} is set by the harness to {value!r}, found {given[name]!r}", "Remove it."
            )


def _changes(given: Mapping[str, Any], config: Any) -> dict[str, dict[str, Any]]:
    """Arguments whose value in vLLM's resolved configuration is not the one that was given."""
    parts = [config, *(getattr(config, field.name) for field in dataclasses.fields(config))]
    changes = {}
    for name, value in given.items():
        resolved = [_jsonable(getattr(part, name), 1) for part in parts if hasattr(part, name)]
        # torch.bfloat16 is what `bfloat16` means
        names = {str(item).rpartition(".")[2] for item in resolved} | {str(item) for item in resolved}
        if resolved and value not in (None, "auto") and str(value) not in names:
            changes[name] = {"given": value, "resolved": resolved[0]}
            _log.warning("llm_config.%s: given %r, vLLM uses %r", name, value, resolved[0])
    return changes


def _jsonable(value: Any, depth: int) -> Any:
    """A JSON-able picture of vLLM's configuration; what has no such picture becomes its text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if depth == 0:
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _jsonable(getattr(value, field.name, None), depth - 1)
            for field in dataclasses.fields(value)
        }
    if isinstance(value, dict):
        return {str(key): _jsonable(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_jsonable(item, depth - 1) for item in value]
    return str(value)
