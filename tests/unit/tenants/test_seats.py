"""What is loaded for a tenant: beside others, or alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness_llm.engines import vllm_arguments
from harness_llm.engines.forward_shapes import SHAPES
from harness_llm.study.study_file import read_study
from harness_llm.system import accelerators
from harness_llm.system.facts import Accelerator
from harness_llm.tenants.seats import seats_of
from harness_llm.tenants.tenants_file import TenantsConfig

ENGINE = """\
llm_config: {{model: {model}, load_format: random, skip_tokenizer_init: true, max_model_len: 1024{more}}}
harness_config:
  benchmark: tenants
  scenario: Offline
  dataset: {{kind: synthetic, shape: "4:8:8"}}
  max_tokens: 8
  user_conf: {conf}
"""


def _loads_beside(folder: Path, more: str) -> list[bool]:
    (folder / "config.json").write_text(json.dumps({**SHAPES["llama-3.2-1b-instruct"], "eos_token_id": 2}))
    (folder / "user.conf").write_text("tenants.Offline.target_qps = 1\n")
    text = ENGINE.format(model=folder, more=more, conf=folder / "user.conf")
    (folder / "engine.yaml").write_text(text)
    asks = "workload: {kind: closed, concurrency: 1, iterations: 2}"
    tenants = [f"  - {{name: {name}, harness: {folder}/engine.yaml, {asks}}}" for name in ("a", "b")]
    (folder / "study.yaml").write_text("\n".join(["experiment_name: x", "tenants:", *tenants]))
    return [it.plan.loads_beside for it in seats_of(read_study(folder / "study.yaml", TenantsConfig))]


@pytest.mark.parametrize("gpus", [0, 2])
@pytest.mark.parametrize(
    ("more", "says"), [(", kv_cache_memory_bytes: 1000000", True), (", gpu_memory_utilization: 0.4", False)]
)
def test_an_engine_loads_beside_others_where_it_says_what_it_takes_of_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: int, more: str, says: bool
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = accelerators.Found((Accelerator(name="H100", vendor="NVIDIA"),) * gpus)
    monkeypatch.setattr(accelerators, "read", lambda: found)
    monkeypatch.setattr(vllm_arguments, "is_built_for_cpus", lambda: False)
    assert _loads_beside(tmp_path, more) == [says and gpus > 0] * 2
