"""An engine whose answer is one forward pass of a transformers model over a batch of prompts.

It has no KV cache and no scheduler: what is queued, up to a batch of equal lengths, is one pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from array import array
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

from harness_llm.core import Request
from harness_llm.engines.base import EngineFacts, Sink
from harness_llm.engines.forward_shapes import SHAPES, shape_of
from harness_llm.engines.kind import EngineKind, Weights
from harness_llm.engines.vitals import Vitals
from harness_llm.errors import ConfigError, EngineError, named

CORES_VARIABLE = "HARNESS_LLM_FORWARD_CORES"
_CAUSAL = ("ForCausalLM", "LMHeadModel")
_WEIGHTS = ("*.safetensors", "*.bin")  # of a checkpoint, as transformers reads it


class ForwardEngine:
    """Answers each request with one token: the model's arg-max at the last place of the prompt.

    Of an encoder it is the arg-max over the hidden state, so it is computed, too.

    Args:
        arguments: Fields of `Forward`.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self._options = Forward.model_validate(arguments)
        self._waiting: deque[Request] = deque()
        self._running: dict[int, Request] = {}
        self._pass: asyncio.Task[list[int]] | None = None
        self._working: asyncio.Task[None] | None = None
        self._death: EngineError | None = None
        self._passes = 0

    async def start(self, sink: Sink) -> EngineFacts:
        """Load the model; warming up, for its first passes are slower, is left to the caller."""
        self._sink = sink
        try:
            return await asyncio.to_thread(self._load)
        except Exception as error:  # noqa: BLE001 - whatever it raises, the model will not serve
            raise EngineError(
                f"forward: {self._options.model} did not load: {named(error)}",
                "The replica's log has more; a smaller model or batch_size needs less memory.",
            ) from error

    def _load(self) -> EngineFacts:
        import torch
        import transformers

        options = self._options
        if cores := os.environ.get(CORES_VARIABLE):
            os.sched_setaffinity(0, map(int, cores.split(",")))
            torch.set_num_threads(len(cores.split(",")))
        folder, facts = Path(options.model), shape_of(options.model, tiny=options.tiny)
        has_folder = folder.is_dir() and not options.tiny
        has_weights = has_folder and any(next(folder.glob(it), None) for it in _WEIGHTS)
        if has_folder:
            config = transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True)
        elif facts is not None:
            config = transformers.AutoConfig.for_model(**facts)
        else:
            raise EngineError(f"no folder and no known shape; known: {', '.join(SHAPES)}")
        self._device = "cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu"
        if options.device == "cuda" and self._device == "cpu":
            raise EngineError("device: cuda, and torch sees no GPU")
        self._is_causal = any(name.endswith(_CAUSAL) for name in config.architectures or ())
        kind: Any = transformers.AutoModelForCausalLM if self._is_causal else transformers.AutoModel
        dtype = torch.float16 if self._device == "cuda" else torch.float32
        torch.manual_seed(0)
        with torch.device(self._device):
            model = (
                kind.from_pretrained(str(folder), dtype=dtype, local_files_only=True)
                if has_weights
                else kind.from_config(config, dtype=dtype)
            )
        self._model = model.to(self._device).eval()
        return EngineFacts(
            name="forward", version=transformers.__version__, is_simulated=False,
            max_sequence_tokens=getattr(config, "max_position_embeddings", None),
            max_concurrent=options.batch,
            resolved={
                "device": self._device, "dtype": str(dtype).removeprefix("torch."),
                "torch": str(torch.__version__), "made_up_weights": not has_weights,
                "parameters": sum(it.numel() for it in model.parameters()),
            },
        )  # fmt: skip

    def submit(self, requests: Sequence[Request]) -> None:
        """Queue requests; those of one call are one batch where they fit."""
        for request in requests:
            if request.min_tokens > 1:
                asked = f"at least {request.min_tokens} were asked for"
                self._sink.failed(request.id, f"the engine forward gives one token, {asked}")
            else:
                self._waiting.append(request)
        if self._waiting and (self._working is None or self._working.done()):
            self._working = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft()]
            while (
                self._waiting
                and len(batch) < self._options.batch
                and len(self._waiting[0].prompt) == len(batch[0].prompt)
            ):
                batch.append(self._waiting.popleft())
            self._running = {request.id: request for request in batch}
            prompts = [request.prompt for request in batch]
            self._pass = asyncio.create_task(asyncio.to_thread(self._forward, prompts))
            try:
                tokens = await self._pass
            except Exception as error:  # noqa: BLE001 - e.g. out of memory: of no use from here on
                self._death = EngineError(f"forward: {named(error)}")
                return
            self._passes += 1
            for request, token in zip(batch, tokens, strict=True):
                if request.id not in self._running:
                    continue
                if request.wants_first_token:
                    self._sink.first_token(request.id, token)
                self._sink.finished(request.id, array("i", [token]).tobytes())

    def _forward(self, prompts: Sequence[bytes]) -> list[int]:
        """One pass; it is over when the tokens are on the host."""
        import torch

        ids = torch.tensor([array("i", prompt).tolist() for prompt in prompts], device=self._device)
        span: Any = (
            torch.cuda.nvtx.range(f"forward::{self._options.name}")
            if self._device == "cuda" and torch.version.cuda
            else contextlib.nullcontext()
        )
        with span, torch.inference_mode():
            out = self._model(ids)
            last = out.logits[:, -1] if self._is_causal else out.last_hidden_state[:, -1]
            tokens: list[int] = last.argmax(-1).tolist()
        return tokens

    async def abort(self, request_ids: Collection[int]) -> None:
        """Forget what waits, and wait for the pass that runs."""
        given_up = set(request_ids)
        self._waiting = deque(request for request in self._waiting if request.id not in given_up)
        is_running = bool(given_up & self._running.keys())
        self._running = {number: it for number, it in self._running.items() if number not in given_up}
        if is_running and self._pass is not None:
            await asyncio.wait([self._pass])

    def check(self) -> None:
        """Return if no pass has failed."""
        if self._death is not None:
            raise self._death

    def generated(self) -> int:
        """Passes."""
        return self._passes

    def vitals(self) -> Vitals:
        """It says nothing of itself."""
        return Vitals()

    async def stop(self) -> None:
        """Wait for the pass that runs."""
        self._waiting.clear()
        if self._pass is not None:
            await asyncio.wait([self._pass])


class Forward(EngineKind):
    """One forward pass a batch; answers have one token, so no LoadGen test can use it.

    Attributes:
        model: Checkpoint folder, or a name of `forward_shapes.SHAPES`. A name, or a folder without
            weights, gets made-up weights.
        batch: Most requests of one pass.
        device: `auto`: a GPU where there is one.
        tiny: Two thin layers of the same kind of model, with made-up weights.
        name: What its NVTX ranges are called.
    """

    engine_class = ForwardEngine
    needs_checkpoint = takes_arguments = False
    marker = "made-up weights: only speed means anything, and no answer does"
    end_tokens = frozenset()

    kind: Literal["forward"] = "forward"
    model: Annotated[str, Field(min_length=1)] = "distilgpt2"
    batch: PositiveInt = 8
    device: Literal["auto", "cuda", "cpu"] = "auto"
    tiny: bool = False
    name: str = ""

    def preflight(self, arguments: Mapping[str, Any], place: Callable[[str], str]) -> None:
        """Refuse any harness YAML file: a study makes this engine of its own keys."""
        del arguments
        raise ConfigError(
            f"{place('harness_config.engine')}: the engine forward answers with one token, and no LoadGen "
            "test counts such answers",
            "Use it as a tenant: model_name in the file of `harness-llm study tenants`; or choose vllm.",
        )

    def bound_to(self, cores: Sequence[int]) -> dict[str, str]:
        """A variable of the engine's own."""
        return {CORES_VARIABLE: ",".join(map(str, cores))}

    @classmethod
    def weights(cls, arguments: Mapping[str, Any], facts: Mapping[str, Any]) -> Weights:
        """As the engine loaded them."""
        return Weights(str((facts.get("resolved") or {}).get("dtype", "not stated")))
