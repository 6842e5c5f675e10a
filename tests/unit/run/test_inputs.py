"""Configurations, checkpoints and decoding that cannot work, found before a start."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from own_benchmark import OFFICIAL, TEST07, Setup, synthetic

from harness_llm.accuracy.reference import Reference
from harness_llm.errors import ConfigError, DatasetError, HostError, ModelError
from harness_llm.run.prepare import prepare


@pytest.mark.parametrize(
    ("second", "named"),
    [
        ({"scenario": "Offline"}, "Offline is configured twice"),
        ({"scenario": "Server", "benchmark": "other"}, "harness_config.benchmark differs"),
        (
            {"scenario": "Server", "dataset": synthetic(seed=4)},
            "harness_config.dataset.seed differs between Offline .0. and Server .4.",
        ),
        ({"scenario": "Server", "max_tokens": 9}, "harness_config.max_tokens differs"),
        ({"scenario": "Server", "interface": "127.0.0.1"}, "harness_config.interface differs"),
        ({"scenario": "Server", "tests": TEST07}, "harness_config.tests.TEST07 differs"),
    ],
)
def test_configurations_of_different_runs_are_refused(
    setup: Setup, second: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        prepare([setup.config("Offline"), setup.config(**second)])


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (None, "no such checkpoint folder"),
        ({}, "no config.json"),
        ({"config.json": "{}"}, "no weights"),
        ({"config.json": "{", "model.safetensors": ""}, "not valid JSON"),
    ],
)
def test_a_missing_model_is_found_before_a_start(
    setup: Setup, files: dict[str, str] | None, named: str
) -> None:
    model = setup.folder / "model"
    if files is not None:
        model.mkdir()
        for name, text in files.items():
            (model / name).write_text(text)
    with pytest.raises(ModelError, match=named) as caught:
        prepare([setup.config("Offline", {"model": str(model)}, engine="vllm")], ["performance"])
    assert str(model) in str(caught.value)


@pytest.mark.parametrize(("limit", "source"), [(7, "llm_config"), (None, "config.json")])
def test_samples_beyond_the_context_are_found_before_a_start(
    setup: Setup, limit: int | None, source: str
) -> None:
    model = setup.checkpoint(context=4096 if limit else 7)
    llm = {"model": model, **({"max_model_len": limit} if limit else {})}
    with pytest.raises((DatasetError, ModelError), match="7"):
        prepare([setup.config("Offline", llm, engine="vllm")], ["performance"])


@pytest.mark.parametrize(
    ("benchmark", "generation", "named"),
    [
        (
            "gpt-oss-120b",
            None,
            "temperature 0, .*uses sampling with temperature=1.0, top_p=1.0, and top_k disabled",
        ),
        ("gpt-oss-120b", {"temperature": 0.5}, "temperature 0.5, .*uses sampling with"),
        ("llama2-70b-99.9", {"temperature": 1.0}, "temperature 1, .*use greedy search"),
    ],
)
def test_decoding_against_the_rules_is_refused(
    setup: Setup, benchmark: str, generation: dict[str, float] | None, named: str
) -> None:
    name = benchmark.removesuffix("-99.9")
    setup.conf.write_text(f"{name}.Offline.target_qps = 10\n")
    llm = {"model": setup.checkpoint(), **({"override_generation_config": generation} if generation else {})}
    with pytest.raises(ConfigError, match=named):
        prepare([setup.config("Offline", llm, engine="vllm", benchmark=benchmark)], ["performance"])


def test_an_engine_that_only_decodes_greedily_is_refused_where_the_rules_sample(
    setup: Setup,
) -> None:
    server = {"kind": "openai", "base_urls": ["http://localhost:1"]}
    setup.conf.write_text("gpt-oss-120b.Offline.target_qps = 10\nllama2-70b.Offline.target_qps = 10\n")
    with pytest.raises(ConfigError, match="temperature 0, .*uses sampling with"):
        prepare([setup.config("Offline", engine=server, benchmark="gpt-oss-120b")], ["performance"])
    assert prepare([setup.config("Offline", engine=server, benchmark="llama2-70b-99.9")], ["performance"])


def test_dummy_weights_need_no_files(setup: Setup) -> None:
    llm = {"model": setup.checkpoint(), "load_format": "dummy"}
    (setup.folder / "model" / "model.safetensors").unlink()
    assert prepare([setup.config("Offline", llm, engine="vllm")], ["performance"]).tests


def test_a_loadgen_of_other_rules_is_refused_before_a_start(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its mlperf.conf would decide by another limit than the rules table has."""
    setup.conf.write_text(OFFICIAL)
    config = setup.config("Server", benchmark="gpt-oss-120b", dataset=synthetic("6396:2:4"))
    ask = subprocess.run

    def older(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
        answer = ask(*arguments, **options)
        settings = json.loads(answer.stdout.splitlines()[-1])
        settings["tpot_latency"] += 1_000_000
        return subprocess.CompletedProcess(answer.args, 0, f"LoadGen speaks\n{json.dumps(settings)}\n", "")

    assert prepare([config], ["performance"]).tests
    monkeypatch.setattr(subprocess, "run", older)
    with pytest.raises(ConfigError, match="tpot"):
        prepare([config], ["performance"])
    monkeypatch.setattr(
        subprocess, "run", lambda *_, **__: subprocess.CompletedProcess((), 1, "", "no symbol\n")
    )
    with pytest.raises(HostError, match="LoadGen does not load: no symbol"):
        prepare([config], ["performance"])


def test_a_reference_that_was_made_for_other_samples_is_refused_before_a_start(setup: Setup) -> None:
    data, reference = setup.folder / "data.jsonl", setup.folder / "reference.json"
    data.write_text(json.dumps({"token_ids": [5], "reference": "text"}) + "\n")
    reference.write_text(
        Reference(
            benchmark="mine", model_digest="0" * 64, dataset_digest="1" * 64, dtype="float32",
            transformers="5", torch="2", max_tokens=8, min_tokens=2, samples=77, tokens_per_sample=5.0,
            scores={"rouge1": 20.0}, made_by="python", date="2026-01-01",
        ).model_dump_json()
    )  # fmt: skip
    config = setup.config(
        "Offline", {"model": setup.checkpoint()}, engine="vllm", reference=str(reference),
        dataset={"kind": "jsonl", "path": str(data), "chat_template": False},
    )  # fmt: skip
    with pytest.raises(ConfigError, match="the reference of mine is for 77 samples"):
        prepare([config], ["accuracy"])
    assert prepare([config], ["performance"]).tests
