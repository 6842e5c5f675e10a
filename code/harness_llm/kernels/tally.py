"""What the kernels and the weights of this process are, for run.json."""

from __future__ import annotations

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
    """What vLLM's `worker_extension_cls` takes: gives its workers a method that answers with the facts.

    With `worker_extension_cls: harness_llm.kernels.tally.Worker`, an engine's
    `collective_rpc("harness_llm_facts")` returns one dictionary a worker.
    """

    def harness_llm_facts(self) -> dict[str, Any]:
        """Facts of this worker's process."""
        return facts()
