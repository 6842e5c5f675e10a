"""vLLM in the replica's process, by its AsyncLLM; the only importer of `vllm`, which `load` imports.

vLLM runs its own engine-core process; this side tokenizes nothing and detokenizes nothing. A
`stream_interval` above every output length makes vLLM report exactly twice a request: the first token
at once, then the rest (vllm/v1/engine/output_processor.py, RequestState.make_request_output, 0.32.0).
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import signal
from array import array
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sized
from typing import Any, ClassVar

from harness_llm.core import Request
from harness_llm.ending import told_exit
from harness_llm.engines import cuda_compiler
from harness_llm.engines.base import SOCKETS_VARIABLE, CutShort, EngineFacts, TaskEngine
from harness_llm.engines.vitals import Vitals
from harness_llm.engines.vllm_arguments import REMEDY, SET_BY_HARNESS, argument_problems, as_read
from harness_llm.engines.vllm_stats import SchedulerEar
from harness_llm.errors import EngineError
from harness_llm.kernels.switch import KERNELS_VARIABLE, RANDOM, asked_for

_log = logging.getLogger(__name__)
_WHOLE = ("stop", "length")  # finish reasons of an answer; others (abort, error) leave it cut short
_JSON_DEPTH = 4
_LOOK_S = 0.05
_SOCKETS = "VLLM_RPC_BASE_PATH"
_SOCKET_NAME, _SOCKET_PATH = 37, 107  # a slash and a UUID; what the kernel takes
_WORKER = "harness_llm.kernels.tally.Worker"
_EXTENSION = "worker_extension_cls"


class VllmEngine(TaskEngine):
    """One AsyncLLM.

    Args:
        arguments: Fields of vLLM's AsyncEngineArgs, as the user wrote them.
    """

    name: ClassVar[str] = "vLLM"

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        super().__init__()
        self._given = dict(arguments)
        self._llm: Any = None
        self._parameters: dict[tuple[int, int, bool], Any] = {}
        self._counts = False
        self._ear = SchedulerEar()

    async def load(self) -> EngineFacts:
        """Load the model.

        Raises:
            EngineError: An argument that this vLLM does not know.
        """
        _place_sockets()
        cuda_compiler.provide_compiler()
        import vllm
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        known = {field.name for field in dataclasses.fields(AsyncEngineArgs)}
        problems = argument_problems(self._given, known, vllm.__version__)
        if problems:
            raise EngineError("\n".join(problems.values()), REMEDY)
        is_changed = bool(asked_for()) or as_read(self._given).get("load_format") == RANDOM
        is_extended = is_changed or not self._given.get(_EXTENSION)
        extended = {_EXTENSION: _WORKER} if is_extended else {}
        engine_arguments = AsyncEngineArgs(**{**self._given, **SET_BY_HARNESS, **extended})
        self._llm = AsyncLLM.from_engine_args(engine_arguments, stat_loggers=[self._ear.factory])
        self._ear.hear_alone(self._llm)
        self._count_steps()
        config = self._llm.vllm_config
        replaced = {"kernels": await self._replaced()} if is_changed else {}
        if is_extended:
            await self._llm.collective_rpc("harness_llm_freeze")
        return EngineFacts(
            name="vllm",
            version=vllm.__version__,
            is_simulated=False,
            max_sequence_tokens=int(config.model_config.max_model_len),
            max_concurrent=int(config.scheduler_config.max_num_seqs),
            resolved={"config": _jsonable(config, _JSON_DEPTH), **replaced},
            changed=_changes(self._given, config),
        )

    async def _replaced(self) -> Mapping[str, object]:
        """What `harness_llm.kernels` replaced or made up, as a worker tells it.

        Raises:
            EngineError: A kernel that was asked for replaced nothing.
        """
        facts: Mapping[str, object] = (await self._llm.collective_rpc("harness_llm_facts"))[0]
        asked = asked_for()
        worked = {it for it in asked if any(name.startswith(it.fact) for name in facts)}
        if idle := sorted(asked - worked):
            raise EngineError(
                f"{KERNELS_VARIABLE} asks for {' and '.join(idle)}, which replaced nothing in this model on "
                "this device",
                f'Write harness_config.engine_env.{KERNELS_VARIABLE}: "{",".join(sorted(worked)) or "off"}".',
            )
        return facts

    async def generate(self, request: Request) -> AsyncIterator[Iterable[int]]:
        """Ask vLLM: the first token where it is wanted, and the rest; cancelled, it tells its engine core."""
        reason = None
        async for output in self._outputs(request):
            (answer,) = output.outputs
            reason = answer.finish_reason
            yield answer.token_ids
        if reason not in _WHOLE:
            raise CutShort(str(reason))

    async def let_go(self, request_ids: Collection[int]) -> None:
        """Wait until no sequence holds a block of the KV cache."""
        # A task that was cancelled while it handed its request over has not aborted it.
        await self._llm.abort([str(number) for number in request_ids])
        # True only when all blocks are free (vllm/v1/core/block_pool.py, reset_prefix_cache); the
        # engine core answers between two steps, so the last step is over, too.
        while not await self._llm.reset_prefix_cache():
            await asyncio.sleep(_LOOK_S)

    async def unload(self) -> None:
        """Shut vLLM down, engine core included."""
        if self._llm is not None:
            self._llm.shutdown()

    def generated(self) -> int | None:
        """Tokens that the engine core has sent, one for each sequence and step; None where nobody counts."""
        return self.clock.tokens if self._counts else None

    def vitals(self) -> Vitals:
        """What vLLM's scheduler says, and the pauses between steps."""
        return Vitals(self._ear.kv_cache, self._ear.metrics, self.clock.pauses)

    def _count_steps(self) -> None:
        """Count what the engine core sends: each step's tokens come, though vLLM reports twice a request.

        AsyncLLM's output handler calls this method with them, their time, and what takes statistics of each
        token, which is left out: nobody reads it here (vllm/v1/engine/async_llm.py, 0.25 to 0.32).
        """
        processor: Any = getattr(self._llm, "output_processor", None)
        if not hasattr(processor, "process_outputs"):
            return
        process = processor.process_outputs
        self._counts = True

        def counted(outputs: Sized, at: float | None = None, *_: Any, **options: Any) -> Any:
            self.clock.step(len(outputs))
            return process(outputs, at, **options)

        processor.process_outputs = counted

    def check(self) -> None:
        """Raise if vLLM's engine core is dead.

        Raises:
            EngineError: It is.
        """
        super().check()
        if self._llm.errored:
            is_killed = (code := self._core_exit_code()) == -signal.SIGKILL
            raise EngineError(
                f"vLLM's engine core process died{'' if code is None else f': it {told_exit(code)}'}",
                "If nobody killed it, the kernel did for want of memory (see dmesg): lower "
                "VLLM_CPU_KVCACHE_SPACE or llm_config.max_num_seqs, or give the container more memory."
                if is_killed
                else "The replica's log has vLLM's own words (often: out of memory).",
            )

    def _core_exit_code(self) -> int | None:
        """Of an engine core that ended badly; None where vLLM does not tell."""
        client = getattr(self._llm, "engine_core", None)
        manager = getattr(getattr(client, "resources", None), "engine_manager", None)
        codes = [process.exitcode for process in getattr(manager, "processes", ())]
        return next(filter(None, codes), None)

    def _outputs(self, request: Request) -> Any:
        prompt = array("i", request.prompt)
        # A prompt with a type is taken as it is; one without takes vLLM's tokenizing path, from 0.32 on
        # by way of another thread (vllm/v1/engine/async_llm.py, add_request).
        typed = {"type": "token", "prompt_token_ids": prompt.tolist()}
        return self._llm.generate(typed, self._sampling(request), str(request.id))

    def _sampling(self, request: Request) -> Any:
        """SamplingParams for a request; equal ones are made once, for vLLM works on copies of its own.

        A flat copy will do, `skip_clone`: what vLLM adds to it is the same for all, its end tokens.
        """
        key = (request.min_tokens, request.max_tokens, request.wants_first_token)
        if key not in self._parameters:
            from vllm import SamplingParams
            from vllm.sampling_params import RequestOutputKind

            parameters = SamplingParams(
                **{"temperature": 0.0, **(self._given.get("override_generation_config") or {})},
                min_tokens=request.min_tokens,
                max_tokens=request.max_tokens,
                detokenize=False,
                output_kind=(
                    RequestOutputKind.DELTA if request.wants_first_token else RequestOutputKind.FINAL_ONLY
                ),
            )
            if hasattr(parameters, "skip_clone"):
                parameters.skip_clone = True
            self._parameters[key] = parameters
        return self._parameters[key]


def _place_sockets() -> None:
    """Have vLLM make its sockets where the run removes them; by itself it leaves them in TMPDIR."""
    folder = os.environ.get(SOCKETS_VARIABLE, "")
    if folder and len(folder.encode()) + _SOCKET_NAME <= _SOCKET_PATH:
        os.environ.setdefault(_SOCKETS, folder)


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


def try_arguments(given: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    """What vLLM's own classes say of arguments, all that is wrong in one at once; nothing is loaded.

    Types and nested keys are checked one by one; if they are good, vLLM makes its configuration of them, and
    of that what would load the weights.

    Returns:
        What is wrong, by dotted key of llm_config, and what could not be checked on this machine.
    """
    import vllm.engine.arg_utils as module
    from pydantic import ValidationError
    from vllm import SamplingParams

    problems: dict[str, str] = {}
    for field in dataclasses.fields(module.AsyncEngineArgs):
        if field.name in given:
            problems |= _type_problems(field.name, field.type, given[field.name], vars(module))
    sampling = given.get("override_generation_config") or {}
    try:
        SamplingParams(**{"temperature": 0.0, **sampling}, detokenize=False)
    except Exception as error:  # noqa: BLE001 - vLLM's own classes of errors have no common base
        problems["override_generation_config"] = str(error)
    if problems:
        return problems, ""
    try:
        made = module.AsyncEngineArgs(**{**given, **SET_BY_HARNESS}).create_engine_config()
    except ValidationError as error:
        return {_key(item): _said(item) for item in error.errors()}, ""
    except RuntimeError as error:  # e.g. a build for GPUs where there is none: not the user's mistake
        return {}, f"vLLM could not look at llm_config as a whole on this machine: {error}"
    except Exception as error:  # noqa: BLE001 - as above
        return {"": str(error) or type(error).__name__}, ""
    return _loader_problems(made.load_config), ""


def try_variables() -> dict[str, str]:
    """What is wrong with variables of this process that vLLM reads, by name."""
    from vllm.envs import environment_variables

    problems = {}
    for name in environment_variables.keys() & os.environ.keys():
        try:
            environment_variables[name]()
        except Exception as error:  # noqa: BLE001 - whatever it raises, vLLM does not start with this value
            problems[name] = f"found {os.environ[name]!r}: {error}"
    return problems


def _loader_problems(config: Any) -> dict[str, str]:
    """What is wrong with the format of the weights and with the options of what loads it."""
    from vllm.model_executor import model_loader

    try:
        model_loader.get_model_loader(config)
    except Exception as error:  # noqa: BLE001 - each loader has errors of its own
        return {"load_format": str(error)}
    return {}


def _type_problems(name: str, hint: Any, value: Any, names: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the type of one argument, or with a key in it."""
    from pydantic import PydanticUserError, TypeAdapter, ValidationError

    try:
        known = eval(hint, dict(names)) if isinstance(hint, str) else hint  # noqa: S307 - vLLM's own annotation
        read = TypeAdapter(known).validate_python(value)
    except ValidationError as error:
        return {_key(item, name): _said(item) for item in error.errors()[:1]}
    except (NameError, TypeError, PydanticUserError):  # no type that pydantic can check
        return {}
    if isinstance(value, str) and isinstance(read, bool | int | float):
        return {name: f"{value!r} is text; write {read!r} without quotes"}
    return {}


def _key(item: Mapping[str, Any], name: str = "") -> str:
    """Dotted key of one of pydantic's errors, without the alternatives of a union."""
    parts = [str(part) for part in item["loc"] if str(part).isidentifier()]
    return ".".join([name, *parts] if name and parts[:1] != [name] else parts)


def _said(item: Mapping[str, Any]) -> str:
    text = item["msg"].removeprefix("Value error, ")
    return text if item["type"] == "value_error" else f"{text} (found {str(item['input'])[:60]})"
