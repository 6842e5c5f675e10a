"""`load_format: random` through real vLLM on a CPU, found by vLLM's own entry point."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from runs import Run

pytestmark = [pytest.mark.vllm, pytest.mark.long]

MODEL = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 320,
    "max_position_embeddings": 256,
    "torch_dtype": "bfloat16",
    "bos_token_id": 1,
    "eos_token_id": 2,
}
CODE = """
import json, sys
def main():
    from vllm import LLM, SamplingParams
    llm = LLM(
        model=sys.argv[1], load_format="random", skip_tokenizer_init=True, enforce_eager=True, max_num_seqs=4,
        max_model_len=256, worker_extension_cls="harness_llm.kernels.tally.Worker",
        model_loader_extra_config={"seed": 3},
    )
    facts = llm.collective_rpc("harness_llm_facts")
    parameters = SamplingParams(temperature=0, max_tokens=8, detokenize=False, ignore_eos=True)
    answers = llm.generate([{"prompt_token_ids": [5, 6, 7]}] * 2, parameters, use_tqdm=False)
    print("ANSWER", json.dumps([facts, [list(one.outputs[0].token_ids) for one in answers]]))
if __name__ == "__main__":
    main()
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch and vLLM
def test_every_integer_code_is_drawn() -> None:
    import torch

    from harness_llm.kernels import random_weights

    codes = torch.empty((64, 256), dtype=torch.int8)
    random_weights.fill(codes, "model.layers.0.mlp.down_proj.weight", 0)
    assert len(codes.unique()) == 256


@pytest.mark.timeout(600)
def test_a_run_on_made_up_weights_says_so_everywhere(new_run: Callable[..., Run], tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(MODEL))
    arguments = {
        "model": str(model), "load_format": "random", "skip_tokenizer_init": True, "enforce_eager": True,
        "max_num_seqs": 4, "max_model_len": 256,
    }  # fmt: skip
    harness = {
        "scenarios": ["Offline"], "tests": ["performance"], "engine": "vllm", "max_tokens": 8,
        "dataset": {"kind": "synthetic", "shape": "8:20-60:4-8"},
        "engine_env": {"VLLM_CPU_KVCACHE_SPACE": "1"},
    }  # fmt: skip
    conf = "sim.Offline.target_qps = 4\nsim.Offline.min_duration = 100\nsim.Offline.min_query_count = 8\n"
    run = new_run(user_conf=conf, harness=harness, llm=arguments)
    code, errors = run.complete(seconds=500)
    assert code in (0, 1), errors
    assert "made-up weights" in run.out and "made-up weights" in run.json("run.json")["marker"]
    made = run.json("replicas/Offline/0/facts.json")["resolved"]["kernels"]["random_weights"]
    assert made["parameters"] > 200_000


@pytest.mark.timeout(600)
def test_a_model_without_weights_answers_and_says_what_it_is(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(MODEL))
    installed = tmp_path / "site" / "plugin-1.dist-info"  # as the package's own installation has it
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1\n")
    (installed / "entry_points.txt").write_text(
        "[vllm.general_plugins]\nharness_llm = harness_llm.kernels:register\n"
    )
    (tmp_path / "main.py").write_text(CODE)
    path = [str(Path(__file__).parents[2] / "code"), str(installed.parent), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, str(tmp_path / "main.py"), str(model)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path), "VLLM_CPU_KVCACHE_SPACE": "1"},
        capture_output=True,
        text=True,
        timeout=560,
        check=False,
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("ANSWER ")] or [
        done.stderr[-3000:]
    ]
    facts, answers = json.loads(line.removeprefix("ANSWER "))
    (worker,) = facts
    assert worker["random_weights"]["seed"] == 3
    assert worker["random_weights"]["parameters"] > 200_000
    assert answers[0] == answers[1]
    assert len(answers[0]) == 8
    assert len(set(answers[0])) > 1, "weights are drawn, so not every token is the same"
