"""What gpu_offline.py has vLLM load into its engine's process: a scheduler that notes its steps, and traces.

vLLM takes both by name, as `scheduler_cls` and `worker_extension_cls`; they change nothing of what is
computed.
"""

from __future__ import annotations

import json
import os
import re
import struct
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from vllm.v1.core.sched.async_scheduler import AsyncScheduler

from harness_llm.kernels.tally import Worker

__all__ = ["STEP", "STEP_LOG_VARIABLE", "NotingScheduler", "TracingWorker"]

STEP_LOG_VARIABLE = "GPU_OFFLINE_STEP_LOG"
"""Environment variable with the file that steps are appended to."""

STEP = struct.Struct("<dd6i")
"""A step: when it was scheduled and when its tokens were taken in (monotonic, s), then tokens computed,
requests in it, tokens put out, requests waiting, preemptions so far, and KV cache in use (1/10,000)."""

_GAPS_US = (5, 20, 100)  # idle time is told apart by the length of the gaps
_TOP = 30


class NotingScheduler(AsyncScheduler):  # type: ignore[misc]  # vLLM has no types for us
    """vLLM's scheduler, with a row a step in a file."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._file = os.open(os.environ[STEP_LOG_VARIABLE], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._scheduled: dict[int, float] = {}
        self._preempted = 0

    def schedule(self, *arguments: Any, **named: Any) -> Any:
        """As vLLM does; notes when."""
        import time

        began = time.monotonic()
        step = super().schedule(*arguments, **named)
        self._scheduled[id(step)] = began
        return step

    def update_from_output(self, scheduler_output: Any, model_runner_output: Any) -> Any:
        """As vLLM does; notes what the step was."""
        import time

        outputs = super().update_from_output(scheduler_output, model_runner_output)
        emitted = sum(len(one.new_token_ids) for group in outputs.values() for one in group.outputs)
        row = STEP.pack(
            self._scheduled.pop(id(scheduler_output), 0.0),
            time.monotonic(),
            scheduler_output.total_num_scheduled_tokens,
            len(scheduler_output.num_scheduled_tokens),
            emitted,
            len(self.waiting),
            self._preempted,
            round(self.kv_cache_manager.usage * 10_000),
        )
        os.write(self._file, row)
        return outputs

    def _preempt_request(self, *arguments: Any, **named: Any) -> Any:
        self._preempted += 1
        return super()._preempt_request(*arguments, **named)


class TracingWorker(Worker):
    """Starts and ends a trace of the card in a worker's process, and says which kernels took the time."""

    _trace: Any = None

    def trace_start(self) -> None:
        """Begin to record kernels."""
        activities = [torch.profiler.ProfilerActivity.CUDA]
        self._trace = torch.profiler.profile(activities=activities)
        self._trace.__enter__()

    def trace_end(self) -> dict[str, Any]:
        """End the record; microseconds and launches of each kernel, and idle time by length of gap."""
        torch.cuda.synchronize()
        self._trace.__exit__(None, None, None)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trace.json"
            self._trace.export_chrome_trace(str(path))
            events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
        return _kernels(events)

    def vllm_facts(self) -> dict[str, Any]:
        """What vLLM resolved, as far as it decides speed."""
        config = self.vllm_config  # type: ignore[attr-defined]  # of vLLM's worker, which this class extends
        compilation = config.compilation_config
        return {
            "max_num_batched_tokens": config.scheduler_config.max_num_batched_tokens,
            "max_num_seqs": config.scheduler_config.max_num_seqs,
            "async_scheduling": config.scheduler_config.async_scheduling,
            "kv_cache_dtype": str(config.cache_config.cache_dtype),
            "block_size": config.cache_config.block_size,
            "blocks": config.cache_config.num_gpu_blocks,
            "gpu_memory_utilization": config.cache_config.gpu_memory_utilization,
            "attention_backend": str(config.attention_config.backend),
            "cudagraph_mode": str(compilation.cudagraph_mode),
            "largest_graph": max(compilation.cudagraph_capture_sizes or [0]),
            "compile_sizes": [str(size) for size in compilation.compile_sizes or []],
            "load_format": str(config.load_config.load_format),
            "peak_GiB": round(torch.cuda.max_memory_allocated() / 2**30, 1)
            if torch.cuda.is_available()
            else None,
        }


def _kernels(events: list[dict[str, Any]]) -> dict[str, Any]:
    on_card = sorted(
        (event["ts"], event["dur"], event["name"])
        for event in events
        if event.get("ph") == "X" and event.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset")
    )
    if not on_card:
        return {"error": "no kernel in the trace"}
    times: dict[str, float] = defaultdict(float)
    launches: dict[str, int] = defaultdict(int)
    idle: dict[str, float] = defaultdict(float)
    end = on_card[0][0]
    for start, duration, name in on_card:
        short = re.sub(r"\s+", " ", name)[:110]
        times[short] += duration
        launches[short] += 1
        if start > end:
            longest = next((str(limit) for limit in _GAPS_US if start - end < limit), "more")
            idle[longest] += start - end
        end = max(end, start + duration)
    top = sorted(times, key=times.__getitem__, reverse=True)[:_TOP]
    return {
        "span_us": round(end - on_card[0][0]),
        "idle_us": {f"gaps under {key} us": round(value) for key, value in idle.items()},
        "kernels": [[name, launches[name], round(times[name])] for name in top],
        "others_us": round(sum(times.values()) - sum(times[name] for name in top)),
    }
