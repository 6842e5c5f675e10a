"""On a card: FLASHINFER attention without its wait gives the same tokens as with it, one by one.

Weights are made up, so that the slightest difference in a number soon gives another token. Two processes need
not agree at all (on 2026-11-28 they differed in the first token of a prompt that the very first step read
whole, before there was anything to wait for), so one engine answers both ways, and each way twice.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA card here"),
]

_LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 4,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
    "torch_dtype": "bfloat16",
    "quantization_config": {"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_quant_algo": "FP8"},
}
"""The layers of llama2-70b, four of them."""

_PROGRAM = """
import gc, json, sys
import numpy as np
from vllm import LLM, SamplingParams
llm = LLM(model=sys.argv[1], load_format="random", skip_tokenizer_init=True, attention_backend="FLASHINFER",
          kv_cache_dtype="fp8", max_model_len=1024, max_num_batched_tokens=256, max_num_seqs=64,
          cudagraph_capture_sizes=[16, 64], enable_prefix_caching=False, gpu_memory_utilization=0.6,
          worker_extension_cls="harness_llm.kernels.tally.Worker",
          kernel_config={"enable_flashinfer_autotune": False})
from harness_llm.kernels.attention import NoWaitBuilder
gc.unfreeze()  # vLLM froze what it loaded, and get_objects() skips what is frozen
builders = [it for it in gc.get_objects() if isinstance(it, NoWaitBuilder)]
random = np.random.default_rng(1)
lengths = random.integers(1, 400, 96)
prompts = [{"prompt_token_ids": random.integers(3, 32000, int(n)).tolist()} for n in lengths]
limits = [SamplingParams(temperature=0.0, max_tokens=int(n), ignore_eos=True, detokenize=False)
          for n in random.integers(1, 150, 96)]
passes = []
for waits in (False, True, False, True):
    for builder in builders:
        builder._exact = not waits
    passes.append([list(one.outputs[0].token_ids) for one in llm.generate(prompts, limits)])
facts = llm.collective_rpc("harness_llm_facts")[0]
json.dump({"builders": len(builders), "passes": passes, "facts": facts}, open(sys.argv[2], "w"))
"""
"""Prompts are cut by a small budget and answers end at different steps, so most steps mix both."""


def test_without_the_wait_every_token_is_the_same(tmp_path: Path) -> None:
    pytest.importorskip("vllm")
    pytest.importorskip("flashinfer")
    (tmp_path / "config.json").write_text(json.dumps(_LLAMA))
    out = tmp_path / "answers.json"
    environment = {
        **os.environ,
        "HARNESS_LLM_KERNELS": "attention",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process: the same steps each time, builders in reach
        "VLLM_HAS_FLASHINFER_CUBIN": "1",
        "VLLM_USE_FLASHINFER_SAMPLER": "0",
        "FLASHINFER_CUDA_ARCH_LIST": "9.0a",
    }
    command = [sys.executable, "-c", _PROGRAM, str(tmp_path), str(out)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = json.loads(out.read_text())
    assert found["builders"] and found["facts"]["attention.flashinfer_without_wait"] > 0
    without, waiting, *again = found["passes"]
    assert len({tuple(answer) for answer in waiting}) > 90  # not one token over and over
    assert waiting == again[1], "the engine does not repeat itself, so nothing can be compared with it"
    apart = [(at, *_first_difference(*pair)) for at, pair in enumerate(zip(without, waiting, strict=True))]
    assert not (wrong := [it for it in apart if it[1] is not None]), f"{len(wrong)} answers, first {wrong[0]}"
    assert without == again[0]


def _first_difference(one: list[int], other: list[int]) -> tuple[int | None, list[int], list[int]]:
    at = next((at for at, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1]), None)
    return at, one[at or 0 : (at or 0) + 3], other[at or 0 : (at or 0) + 3]
