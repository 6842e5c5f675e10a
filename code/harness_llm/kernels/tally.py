"""What vLLM's workers are asked: their kernels and weights, for run.json, and to spare the collector."""

from __future__ import annotations

import gc
from typing import Any

_facts: dict[str, Any] = {}


def note(name: str, value: object) -> None:
    """Keep a JSON-able fact."""
    _facts[name] = value


def count(name: str) -> None:
    """Count one more of something, e.g. layers that a kernel computes."""
    _facts[name] = int(_facts.get(name, 0)) + 1


def facts() -> dict[str, Any]:
    """All facts of this process; empty where nothing was replaced or made up."""
    return dict(_facts)


class Worker:
    """What vLLM's `worker_extension_cls` takes: gives its workers methods that an engine calls by name.

    With `worker_extension_cls: harness_llm.kernels.tally.Worker`, an engine's
    `collective_rpc("harness_llm_facts")` returns one dictionary a worker.
    """

    def harness_llm_freeze(self) -> int:
        """Keep the garbage collector from walking what is there now; the objects that it leaves alone.

        vLLM's workers for GPUs do so themselves, those for CPUs do not (v1/worker/cpu_worker.py, 0.32.0).
        """
        gc.collect()
        gc.freeze()
        return gc.get_freeze_count()

    def harness_llm_facts(self) -> dict[str, Any]:
        """Facts of this worker's process."""
        return facts()
