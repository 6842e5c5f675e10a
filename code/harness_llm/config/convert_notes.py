"""What a conversion has to say of each key."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Weight(StrEnum):
    """What the reader of a note has to do."""

    CHECK = "check"
    REPLACED = "replaced"
    NO_EFFECT = "no effect here"


_WARM_UP = "every engine is warmed up before a test begins"
_ROUTING = "a query goes to the replica with the fewest tokens in flight"
_NO_BATCHER = "there is no batcher before the engine"
_COUNTED = "the data set and the rules say how many samples there are"
_DEBUG = "events.npy and LoadGen's logs are always written"
_ARGUMENT = "taken from vllm_engine_config"
NO_EFFECT = {
    "test_mode": "choose with `run --test performance` or `--test accuracy`; without it, both run",
    "engine_version": "there is one way to run vLLM here",
    "server_version": "there is one way to run vLLM here",
    "backend": "harness_config.engine is vllm unless it says otherwise",
    "defaults": "write `extends: base.yaml` for files that share keys",
    "mlperf_conf_path": "LoadGen has mlperf.conf built in",
    "output_log_dir": "choose with `run --output`",
    "enable_log_trace": "LoadGen's trace is never written",
    "total_sample_count": _COUNTED,
    "accuracy_sample_count": _COUNTED,
    "duration_sec": "min_duration in user.conf says how long a test lasts",
    "enable_warmup": _WARM_UP,
    "enable_warm_up": _WARM_UP,
    "warmup_config": _WARM_UP,
    "warmup_duration": _WARM_UP,
    "warm_up_sample_count_per_server": _WARM_UP,
    "schedule_algo": _ROUTING,
    "load_balance_token_weight": _ROUTING,
    "load_balance_window_size": _ROUTING,
    "prefill_backlog_weight": _ROUTING,
    "enable_batcher": _NO_BATCHER,
    "batcher_threshold": _NO_BATCHER,
    "gpu_batch_size": _NO_BATCHER,
    "sorting": "samples are served in LoadGen's order",
    "resource_checker_abort_on_failure": "`harness-llm doctor` checks the host",
    "tensor_parallelism": _ARGUMENT,
    "pipeline_parallelism": _ARGUMENT,
    "max_num_batched_tokens": _ARGUMENT,
    "debug_dump_model_output": _DEBUG,
    "debug_record_sample_latencies": _DEBUG,
    "debug_latency_output_path": _DEBUG,
    "debug_model_output_path": _DEBUG,
    "debug_print_finished": _DEBUG,
    "debug_dataset_sampling_size": "write `samples: N` under dataset for a part of it",
    "debug_dataset_sampling_num_bins": "write `samples: N` under dataset for a part of it",
    "debug_dataset_sampling_random_seed": "write `samples: N` under dataset for a part of it",
}
"""Keys of that form that nothing here reads, each with the reason."""


@dataclass(frozen=True)
class Note:
    """One sentence on one or more keys.

    Attributes:
        weight: What it asks of the reader.
        keys: The keys as the file has them.
        said: What became of them and why, a clause.
    """

    weight: Weight
    keys: tuple[str, ...]
    said: str

    def __str__(self) -> str:
        return f"{', '.join(self.keys)}: {self.said}"


@dataclass
class Notes:
    """Notes as they are made; keys with one and the same reason share a note."""

    _found: dict[tuple[Weight, str], list[str]] = field(default_factory=dict)

    def add(self, weight: Weight, key: str, said: str) -> None:
        """Note something of a key."""
        keys = self._found.setdefault((weight, said), [])
        if key not in keys:
            keys.append(key)

    def all(self) -> tuple[Note, ...]:
        """Every note, what must be looked at first."""
        notes = [Note(weight, tuple(keys), said) for (weight, said), keys in self._found.items()]
        return tuple(sorted(notes, key=lambda note: list(Weight).index(note.weight)))
