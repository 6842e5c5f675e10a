"""What vLLM's scheduler says of itself, heard as vLLM's own stat loggers hear it."""

from __future__ import annotations

from typing import Any

_METRICS = {
    "vllm:num_requests_running": "num_running_reqs",
    "vllm:num_requests_waiting": "num_waiting_reqs",
}
"""Names for Prometheus, and the attributes of SchedulerStats (vllm/v1/metrics/stats.py, 0.25 to 0.32)."""
_PER_TOKEN = "PrometheusStatLogger"


class SchedulerEar:
    """A stat logger of vLLM's that keeps the last word of each engine core; nothing is done per token."""

    def __init__(self) -> None:
        self._last: dict[int, Any] = {}

    def factory(self, config: Any, engine_index: int = 0) -> SchedulerEar:
        """For `stat_loggers`: this one hears every engine core."""
        del config, engine_index
        return self

    def hear_alone(self, llm: Any) -> None:
        """Leave out the logger that vLLM adds by itself: it observes each token, and nobody reads it here."""
        manager = getattr(llm, "logger_manager", None)
        if manager is not None:
            manager.stat_loggers = [it for it in manager.stat_loggers if type(it).__name__ != _PER_TOKEN]

    def record(self, scheduler_stats: Any, *_: Any, engine_idx: int = 0, **__: Any) -> None:
        """Keep what a step's scheduler said."""
        if scheduler_stats is not None:
            self._last[engine_idx] = scheduler_stats

    @property
    def kv_cache(self) -> float | None:
        """Share of the KV cache in use, of the fullest engine core; None before a word of it."""
        return max((float(it.kv_cache_usage) for it in self._last.copy().values()), default=None)

    @property
    def metrics(self) -> dict[str, float]:
        """Its own metrics by its own names: sums over engine cores, of the cache the fullest."""
        heard = list(self._last.copy().values())
        found = {
            name: float(sum(getattr(it, attribute, 0) for it in heard))
            for name, attribute in _METRICS.items()
        }
        return {**found, "vllm:kv_cache_usage_perc": self.kv_cache or 0.0} if heard else {}

    def log(self) -> None:
        """Nothing: what is heard goes to live.jsonl."""

    def log_engine_initialized(self) -> None:
        """Nothing, likewise."""

    def record_sleep_state(self, *_: Any, **__: Any) -> None:
        """It never sleeps."""

    def record_admission_rejection(self, *_: Any) -> None:
        """None is rejected: nothing bounds vLLM's queue here."""
