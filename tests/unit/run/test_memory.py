"""A model that does not fit is refused before it loads, and one that fits never is."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from harness_llm.config.harness import RunConfig
from harness_llm.errors import ModelError
from harness_llm.run.memory import memory_notes
from harness_llm.system import accelerators
from harness_llm.system.facts import Accelerator

GIB = 1 << 30
SHAPE = {"num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8, "hidden_size": 8192}


def _config(folder: Path, gib: int, **arguments: Any) -> RunConfig:
    """A Llama of 70B's shape with so many GiB of bfloat16 weights, in a sparse file."""
    (folder / "config.json").write_text(json.dumps({**SHAPE, "max_position_embeddings": 4096}))
    header = json.dumps({"w": {"dtype": "BF16", "shape": [gib * GIB // 2], "data_offsets": [0, gib * GIB]}})
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header.encode())
        file.truncate(8 + len(header) + gib * GIB)
    return RunConfig.model_validate(
        {
            "llm_config": {"model": str(folder), **arguments},
            "harness_config": {
                "benchmark": "mine", "scenario": "Offline", "max_tokens": 8,
                "dataset": {"kind": "synthetic", "shape": "20:8:4"},
            },
        }
    )  # fmt: skip


@pytest.fixture(autouse=True)
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Accelerator(name="H100", vendor="NVIDIA", memory_bytes=80 * GIB)
    monkeypatch.setattr(accelerators, "read", lambda: accelerators.Found((one,) * 8))


@pytest.mark.parametrize(
    ("gib", "arguments", "fits"),
    [
        (130, {}, False),
        (130, {"tensor_parallel_size": 2}, True),
        (130, {"pipeline_parallel_size": 2}, True),
        (130, {"cpu_offload_gb": 100}, True),
        (130, {"quantization": "fp8"}, True),
        (72, {}, True),
        (72, {"gpu_memory_utilization": 0.8}, False),
        (72, {"max_model_len": 131_072}, False),  # 40 GiB for one sequence
        (72, {"load_format": "dummy", "max_model_len": 131_072}, True),
    ],
)
def test_weights_and_one_sequence_must_fit(
    tmp_path: Path, gib: int, arguments: dict[str, Any], fits: bool
) -> None:
    config = _config(tmp_path, gib, **arguments)
    if fits:
        memory_notes([config])
        return
    with pytest.raises(ModelError, match=f"does not fit one H100.* needs {gib}.0 GiB for weights"):
        memory_notes([config])


@pytest.fixture
def _cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerators, "read", lambda: accelerators.Found(()))
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)


@pytest.mark.usefixtures("_cpu")
def test_on_a_cpu_one_sequence_must_fit_the_cache_that_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config(tmp_path, 1, max_model_len=16_384)  # 5 GiB
    memory_notes([config])
    config.harness_config.engine_env["VLLM_CPU_KVCACHE_SPACE"] = "5"
    memory_notes([config])
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "6")  # of the shell: the configuration goes before it
    config.harness_config.engine_env["VLLM_CPU_KVCACHE_SPACE"] = "4"
    said = (
        r"16,384 tokens needs 5.0 GiB, and VLLM_CPU_KVCACHE_SPACE provides 4.0 GiB, enough for 13,107 tokens"
    )
    with pytest.raises(ModelError, match=said) as caught:
        memory_notes([config])
    assert "Lower llm_config.max_model_len to 12928 or below" in caught.value.remedy
    wide = _config(tmp_path, 1, max_model_len=4096, dtype="float32", kv_cache_dtype="auto")
    with pytest.raises(ModelError, match="VLLM_CPU_KVCACHE_SPACE provides 2.0 GiB"):
        memory_notes([_with_cache(wide, "2")])
    memory_notes([_with_cache(wide, "3")])


def _with_cache(config: RunConfig, gib: str) -> RunConfig:
    config.harness_config.engine_env["VLLM_CPU_KVCACHE_SPACE"] = gib
    return config


@pytest.mark.parametrize(
    ("gib", "cache", "said"),
    [
        (40, 2 * GIB, ""),
        (40, GIB, "4,096 tokens needs 1.2 GiB, and llm_config.kv_cache_memory_bytes provides"),
        (40, "10G", ""),
        (76, 5 * GIB, "5.0 GiB for the KV cache, by llm_config.kv_cache_memory_bytes"),
        (79, 2 * GIB, "does not fit one H100"),
        (79, "10G", "does not fit one H100"),
        (75, 5 * GIB, ""),  # all of the card, whatever gpu_memory_utilization is
    ],
)
def test_a_cache_of_a_given_size_must_hold_one_sequence_and_fit_beside_the_weights(
    tmp_path: Path, gib: int, cache: int | str, said: str
) -> None:
    config = _config(tmp_path, gib, kv_cache_memory_bytes=cache)
    if not said:
        memory_notes([config])
        return
    with pytest.raises(ModelError, match=said):
        memory_notes([config])


def test_a_cache_for_fewer_sequences_than_are_asked_for_is_a_note(tmp_path: Path) -> None:
    # 320 KiB a token: 1.25 GiB for each sequence of 4,096
    (note,) = memory_notes([_config(tmp_path, 40, max_num_seqs=256)])
    assert "at most 26 sequences of 4,096 tokens; max_num_seqs is 256" in note
    assert memory_notes([_config(tmp_path, 40, max_num_seqs=26)]) == []
