"""What the rules of each round forbid of decoding, refused by prepare, package and check alike."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from golden.run_folder import build_run, edit
from own_benchmark import Setup, synthetic
from run_maker import Maker

from harness_llm import rules
from harness_llm.check import check_run, check_tree
from harness_llm.checkpoint import Checkpoint
from harness_llm.core import Scenario
from harness_llm.engines.vllm_kind import Vllm
from harness_llm.errors import ConfigError, FolderError
from harness_llm.results.paths import FACTS_JSON, replica_folder
from harness_llm.run.prepare import prepare

if TYPE_CHECKING:
    from pathlib import Path

GENERATION = "override_generation_config"
EAGLE = {
    "method": "eagle3", "num_speculative_tokens": 3, "model": "nvidia/gpt-oss-120b-Eagle3-long-context",
}  # fmt: skip
PLAIN = {"temperature": 1.0, "top_p": 1.0, "top_k": 0}

FORBIDDEN: list[tuple[str, dict[str, Any]]] = [
    ("decoding.sampling", {GENERATION: {"temperature": 0.7}}),
    ("decoding.alters", {GENERATION: {"repetition_penalty": 1.1}}),
    ("decoding.alters", {GENERATION: {"presence_penalty": 0.5}}),
    ("decoding.alters", {GENERATION: {"frequency_penalty": -1}}),
    ("decoding.alters", {GENERATION: {"logit_bias": {"2": 5}}}),
    ("decoding.alters", {GENERATION: {"bad_words": ["the"]}}),
    ("decoding.alters", {GENERATION: {"n": 2}}),
    ("decoding.alters", {"logits_processors": ["mine"]}),
    ("decoding.ends", {GENERATION: {"ignore_eos": True}}),
    ("decoding.ends", {GENERATION: {"stop": ["\n"]}}),
    ("decoding.ends", {GENERATION: {"stop_token_ids": [13]}}),
    ("decoding.ends", {GENERATION: {"thinking_token_budget": 10}}),
    ("decoding.speculation", {"speculative_config": {"method": "ngram", "num_speculative_tokens": 4}}),
    ("decoding.speculation", {"speculative_config": EAGLE}),
    ("decoding.speculation", {"spec_method": "ngram", "spec_tokens": 3}),
    ("decoding.reuses", {"enable_prefix_caching": True}),
    ("decoding.reuses", {"kv_offloading_size": 10}),
    ("decoding.reuses", {"kv_transfer_config": {"kv_connector": "LMCacheConnectorV1"}}),
    (
        "decoding.reuses",
        {
            "kv_transfer_config": {
                "kv_connector": "MultiConnector",
                "kv_connector_extra_config": {
                    "connectors": [{"kv_connector": "NixlConnector"}, {"kv_connector": "OffloadingConnector"}]
                },
            }
        },
    ),
    ("decoding.omits", {"hf_overrides": {"num_hidden_layers": 40}}),
    ("decoding.omits", {"hf_overrides": {"num_experts_per_tok": 1}}),
    ("decoding.omits", {"enable_lora": True}),
]
ALLOWED: list[dict[str, Any]] = [
    {},
    {"max_num_seqs": 512, "data_parallel_size": 8, "tensor_parallel_size": 1, "kv_cache_dtype": "fp8"},
    {"quantization": "modelopt", "enable_chunked_prefill": True, "enable_expert_parallel": True},
    {GENERATION: {"temperature": 0, "top_p": 1.0, "repetition_penalty": 1.0, "n": 1, "ignore_eos": False}},
    {GENERATION: {"temperature": 1, "top_k": 1, "top_p": 0}},  # as the reference of llama3.1-405b has it
    {GENERATION: {"stop_token_ids": [2]}},
    {"kv_transfer_config": {"kv_connector": "NixlConnector"}},
    {"hf_overrides": {"max_position_embeddings": 4096}},
]


def _broken(arguments: dict[str, Any], scenario: Scenario = Scenario.OFFLINE, **named: str) -> list[str]:
    known = rules.lookup(named.get("benchmark", "llama2-70b-99.9"), named.get("round", "v6.1"))
    assert known is not None
    made = Vllm.decoding(arguments, {})
    found = list(rules.decoding_findings(known, scenario, made, {2}))
    assert len(found) == 6 and all(finding.required and finding.source for finding in found)
    return [finding.name for finding in found if finding.passed is False]


@pytest.mark.parametrize(("name", "arguments"), FORBIDDEN, ids=str)
def test_what_the_rules_forbid_is_found_by_its_name(name: str, arguments: dict[str, Any]) -> None:
    assert _broken(arguments) == [name]


@pytest.mark.parametrize("arguments", ALLOWED, ids=str)
def test_what_the_rules_allow_is_left_alone(arguments: dict[str, Any]) -> None:
    assert _broken(arguments) == []


@pytest.mark.parametrize(
    ("round_name", "benchmark", "scenario", "changes", "is_allowed"),
    [
        ("v6.1", "gpt-oss-120b", "Interactive", {}, True),
        ("v6.1", "gpt-oss-120b", "Server", {}, False),
        ("v6.0", "gpt-oss-120b", "Interactive", {}, False),
        ("v6.1", "gpt-oss-120b", "Interactive", {"num_speculative_tokens": 4}, False),
        ("v6.1", "gpt-oss-120b", "Interactive", {"method": "eagle"}, False),
        ("v6.1", "gpt-oss-120b", "Interactive", {"quantization": "fp8"}, False),
        ("v6.1", "gpt-oss-120b", "Interactive", {"rejection_sample_method": "synthetic"}, False),
        ("v6.1", "gpt-oss-120b", "Interactive", {"synthetic_acceptance_length": 3.5}, False),
        ("v6.1", "deepseek-r1", "Interactive", {"method": "deepseek_mtp"}, True),
        ("v6.0", "deepseek-r1", "Interactive", {"method": "mtp"}, True),
        ("v5.1", "deepseek-r1", "Server", {"method": "mtp"}, False),
        ("v6.1", "deepseek-r1", "Offline", {"method": "mtp"}, False),
        ("v6.1", "llama2-70b-99.9", "Interactive", {}, False),
    ],
)
def test_speculation_is_allowed_where_and_as_the_round_says(
    round_name: str, benchmark: str, scenario: str, changes: dict[str, Any], is_allowed: bool
) -> None:
    arguments: dict[str, Any] = {"speculative_config": EAGLE | changes}
    if benchmark == "gpt-oss-120b":
        arguments[GENERATION] = PLAIN
    found = _broken(arguments, Scenario(scenario), benchmark=benchmark, round=round_name)
    assert found == ([] if is_allowed else ["decoding.speculation"])


@pytest.mark.parametrize("changed", [{"temperature": 0}, {"top_p": 0.9}, {"top_k": 40}, {"min_p": 0.1}])
def test_gpt_oss_samples_from_all_tokens(changed: dict[str, float]) -> None:
    assert _broken({GENERATION: PLAIN | changed}, benchmark="gpt-oss-120b") == ["decoding.sampling"]
    assert _broken({GENERATION: PLAIN}, benchmark="gpt-oss-120b") == []
    assert _broken({GENERATION: PLAIN | {"top_k": -1}}, benchmark="gpt-oss-120b") == []


def test_what_the_engine_said_of_itself_counts_too(tmp_path: Path) -> None:
    """A default of the engine that the user never wrote, and a sparse checkpoint, by either of both ways."""
    sparse = {
        "quantization_config": {
            "sparsity_config": {"format": "sparse-24-bitmask", "sparsity_structure": "2:4"}
        }
    }
    config = {
        "cache_config": {"enable_prefix_caching": True},
        "speculative_config": {"method": "ngram", "num_speculative_tokens": 2},
        "model_config": {"hf_config": f"LlamaConfig {json.dumps(sparse)}\n"},
    }
    found = Vllm.decoding({}, {"resolved": {"config": config}})
    assert found.reuses == {"enable_prefix_caching": True}
    assert found.draft is not None and found.draft.method == "ngram"
    assert found.omits == {"config.json quantization_config.sparsity_config": "2:4"}
    (tmp_path / "config.json").write_text(json.dumps(sparse))
    assert Vllm.decoding({}, {}, Checkpoint(tmp_path)).omits == found.omits
    (tmp_path / "config.json").write_text('{"quantization_config": {"sparsity_config": {"format": "dense"}}}')
    assert not Vllm.decoding({}, {}, Checkpoint(tmp_path)).omits


@pytest.mark.parametrize(
    "arguments",
    [
        {"speculative_config": {"method": "ngram", "num_speculative_tokens": 4}},
        {GENERATION: {"ignore_eos": True}},
    ],
)
def test_prepare_and_check_say_the_same(setup: Setup, maker: Maker, arguments: dict[str, Any]) -> None:
    """One sentence of the rules, from the plan, the run folder, the package and the tree."""
    setup.conf.write_text("llama2-70b.Offline.target_qps = 41\n")
    config = setup.config(
        "Offline", {"model": setup.checkpoint(), **arguments}, engine="vllm", benchmark="llama2-70b-99.9",
        dataset=synthetic("24576:2:1024"),
    )  # fmt: skip
    with pytest.raises(ConfigError) as refused:
        prepare([config], ["performance"])
    run = maker.run(config={"model": "/model/llama2", **arguments})
    for scenario in Scenario:
        folder = replica_folder(run, scenario, 0)
        folder.mkdir(parents=True)
        (folder / FACTS_JSON).write_text(json.dumps({"name": "vllm", "version": "1", "is_simulated": False}))
    with pytest.raises(FolderError) as kept_out:
        maker.package(run, division="closed")
    tree = maker.package(run, division="open").tree
    (tree / "open").rename(tree / "closed")
    for report in (check_run(run), check_tree(tree)):
        broken = {check.required for check in report.failures if check.name.startswith("decoding.")}
        assert len(broken) == 1
        (sentence,) = broken
        assert sentence in str(refused.value) and sentence in str(kept_out.value)


def test_a_run_whose_facts_are_damaged_is_refused(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run")
    edit(run / "run.json", benchmark="llama2-70b-99.9", official=True)
    names = {check.name: check.passed for check in check_run(run).checks}
    assert names["decoding.facts"] is None
    for scenario in ("Offline", "Server"):
        group = json.loads((run / scenario / "performance" / "test.json").read_text()).get("engines")
        path = replica_folder(run, group, 0) / FACTS_JSON
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{")
    assert "decoding.facts" in {check.name for check in check_run(run).failures}


def test_every_subject_has_a_sentence_in_every_round_that_has_an_llm() -> None:
    for round_name in rules.rounds():
        for subject in ("greedy", "ends", "speculation", "reuses", "omits"):
            assert rules.decoding_rule(subject, round_name).says
