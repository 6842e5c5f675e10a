"""What a run is prepared from as a whole: order of tests, user.conf, fingerprint."""

from __future__ import annotations

import json
from typing import Any

import pytest
from own_benchmark import CONF, OFFICIAL, Setup, synthetic

from harness_llm import rules
from harness_llm.engines.openai import OpenAI
from harness_llm.errors import ConfigError
from harness_llm.run.prepare import prepare


def test_tests_that_share_an_engine_stand_together(setup: Setup) -> None:
    setup.conf.write_text(CONF + "mine-interactive.Server.target_qps = 2\n")
    configs = [setup.config("Offline"), setup.config("Server", {"a": 1}), setup.config("Interactive")]
    names = [test.name for test in prepare(configs, ["performance"]).tests]
    assert names == ["Offline/performance", "Interactive/performance", "Server/performance"]


def test_no_configuration_and_an_unknown_test_are_refused(setup: Setup) -> None:
    with pytest.raises(ConfigError, match="no configuration"):
        prepare([])
    with pytest.raises(ConfigError, match="perf"):
        prepare([setup.config("Offline")], ["perf"])


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("mine.Offline.target_qps", "mine.Offline.target_qsp", "target_qps"),
        ("mine.Offline.target_qps", "mien.Offline.target_qps", "mine"),
        ("mine.Offline.target_qps = 50\n", "", "no target_qps for Offline"),
    ],
)
def test_a_mistyped_user_conf_is_refused(setup: Setup, old: str, new: str, named: str) -> None:
    setup.conf.write_text(CONF.replace(old, new))
    with pytest.raises(ConfigError, match=named) as caught:
        setup.prepared()
    assert "user.conf" in str(caught.value)


def test_the_fingerprint_changes_with_whatever_decides_the_result(setup: Setup) -> None:
    first = setup.prepared().fingerprint
    assert setup.prepared().fingerprint == first
    others = {setup.prepared(dataset=synthetic(seed=1)).fingerprint, setup.prepared(replicas=2).fingerprint}
    setup.conf.write_text(CONF.replace("= 50", "= 51"))
    others.add(setup.prepared().fingerprint)
    assert len(others | {first}) == 4


def test_a_run_can_go_on_with_more_patience_or_another_port(setup: Setup) -> None:
    """The remedy that an engine's late start is answered with must not cost what was measured."""
    first = setup.prepared().fingerprint
    waits = {"engine_start_timeout_s": 9.0, "silence_timeout_s": 7.0, "interface": "lo", "port": 2048}
    assert setup.prepared(**waits).fingerprint == first


def test_the_fingerprint_changes_with_the_content_of_a_tests_own_samples(setup: Setup) -> None:
    """The configuration names only a file: what is in it decides, too."""
    setup.conf.write_text(OFFICIAL)
    path = setup.folder / "own.jsonl"
    fingerprints = set()
    for reference in ("A", "B"):
        path.write_text(json.dumps({"token_ids": [5], "reference": reference}) + "\n")
        own = {"TEST07": {"dataset": "jsonl", "dataset_path": str(path)}}
        config = setup.config("Offline", benchmark="gpt-oss-120b", tests=own)
        fingerprints.add(prepare([config], ["TEST07"]).fingerprint)
    assert len(fingerprints) == 2


def test_scenarios_that_differ_only_in_patience_share_the_loaded_model(setup: Setup) -> None:
    def groups(**server: Any) -> list[int]:
        configs = [setup.config("Offline"), setup.config("Server", **server)]
        return [len(group.tests) for group in prepare(configs).groups]

    assert groups(engine_start_timeout_s=99.0, silence_timeout_s=33.0) == [4]
    assert groups(engine_env={"A": "1"}) == groups(replicas=2) == [2, 2]
    assert groups(engine={"kind": "simulated", "first_token_ms": 1.0}) == groups(llm={"seed": 1}) == [2, 2]


def test_what_is_unknown_of_an_engine_stands_beside_every_number(setup: Setup) -> None:
    server = {"kind": "openai", "base_urls": ["http://localhost:1", "http://localhost:2"]}
    marker = setup.prepared(engine=server).marker
    assert marker == f"{OpenAI.marker}; unofficial"
    assert setup.prepared().marker == rules.SIMULATED


def test_everything_that_is_not_there_is_named_at_once(setup: Setup) -> None:
    setup.conf.unlink()
    missing = {"kind": "prompts", "path": str(setup.folder / "absent.jsonl")}
    with pytest.raises(ConfigError) as caught:
        prepare([setup.config("Offline", dataset=missing)], ["performance"])
    said = str(caught.value)
    assert f"{setup.conf}: no such file" in said and "`harness-llm init` writes one" in said
    assert "absent.jsonl" in said


def test_a_broken_rule_is_named_beside_what_is_not_there(setup: Setup) -> None:
    setup.conf.write_text("llama2-70b.Offline.target_qps = 10\n")
    llm = {"model": str(setup.folder / "absent"), "override_generation_config": {"temperature": 1.0}}
    config = setup.config("Offline", llm, engine="vllm", benchmark="llama2-70b-99.9")
    with pytest.raises(ConfigError) as caught:
        prepare([config], ["performance"])
    assert "use greedy search" in str(caught.value) and "no such checkpoint folder" in str(caught.value)


def test_a_line_to_write_instead_bears_the_name_of_this_benchmark(setup: Setup) -> None:
    setup.conf.write_text("*.Interactive.target_qps = 2\n")
    with pytest.raises(ConfigError, match=r"Write `mine-interactive\.Server\.target_qps`"):
        prepare([setup.config("Interactive")], ["performance"])
