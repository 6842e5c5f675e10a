"""What a run wrote is read by later versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness_llm.config.load import dump_config, load_config
from harness_llm.config.recorded import load_recorded
from harness_llm.datasets.prompts import Prompts
from harness_llm.datasets.synthetic import Synthetic
from harness_llm.engines.simulated import Simulated
from harness_llm.engines.vllm_kind import Vllm
from harness_llm.errors import ConfigError

PROFILES = json.loads((Path(__file__).parents[2] / "golden/profiles.json").read_text())


def _old(**harness: Any) -> dict[str, Any]:
    """A configuration as the first version wrote it, every key of it, with some changed."""
    document: dict[str, Any] = json.loads(json.dumps(PROFILES["llama2-70b/server_h200.yaml"]))
    document["harness_config"] |= harness
    return document


def _written(folder: Path, document: object) -> Path:
    path = folder / "Server.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_there_are_recorded_configurations() -> None:
    assert len(PROFILES) == 27 and "dataset_shape" in _old()["harness_config"]


@pytest.mark.parametrize("profile", PROFILES)
def test_what_an_older_version_wrote_is_read(tmp_path: Path, profile: str) -> None:
    old = PROFILES[profile]
    config = load_recorded(_written(tmp_path, old))
    assert config.llm_config == old["llm_config"]
    harness, was = config.harness_config.model_dump(mode="json"), old["harness_config"]
    assert (harness["dataset"]["kind"], harness["dataset"]["path"]) == (was["dataset"], was["dataset_path"])
    same = set(was) & set(harness) - {"dataset", "tests", "engine"}
    assert len(same) > 10
    assert {key: harness[key] for key in same} == {key: was[key] for key in same}
    assert harness["engine"]["kind"] == was["engine"]


def test_what_this_version_writes_is_read(tmp_path: Path) -> None:
    config = load_recorded(_written(tmp_path, _old()))
    (tmp_path / "now.yaml").write_text(dump_config(config))
    assert load_recorded(tmp_path / "now.yaml") == config == load_config(tmp_path / "now.yaml")


def test_keys_go_where_they_belong_and_what_did_nothing_is_left_out(tmp_path: Path) -> None:
    old = _old(
        dataset="synthetic", dataset_path=None, dataset_shape="1:2:3", dataset_seed=7, dataset_samples=1,
        chat_template=False, offline_backlog=9,
        tests={
            "accuracy": {
                "dataset": "jsonl", "dataset_path": "a.jsonl", "dataset_shape": None, "max_tokens": None
            }
        },
    )  # fmt: skip
    harness = load_recorded(_written(tmp_path, old)).harness_config
    assert harness.dataset == Synthetic(shape="1:2:3", seed=7, samples=1)
    assert harness.tests["accuracy"].dataset == Prompts(
        kind="jsonl", path=Path("a.jsonl"), chat_template=False
    )
    assert harness.offline_backlog is None
    old["harness_config"]["scenario"] = "Offline"
    assert load_recorded(_written(tmp_path, old)).harness_config.offline_backlog == 9


def test_the_engine_of_an_older_version_becomes_a_kind_with_its_keys(tmp_path: Path) -> None:
    old = _old(simulated={"first_token_ms": 5.0, "concurrent": 7}, devices_per_replica=2)
    assert load_recorded(_written(tmp_path, old)).engine == Vllm(devices_per_replica=2)
    old["harness_config"]["engine"] = "simulated"
    assert load_recorded(_written(tmp_path, old)).engine == Simulated(first_token_ms=5.0, concurrent=7)


def test_a_text_that_looks_like_a_variable_stays_as_it_was_resolved(tmp_path: Path) -> None:
    old = _old(engine_env={"X": "${HOME}"})
    assert load_recorded(_written(tmp_path, old)).harness_config.engine_env == {"X": "${HOME}"}


@pytest.mark.parametrize(
    "document", [None, [], {}, {"llm_config": {}, "harness_config": 3}, _old(dataset="orca")]
)
def test_what_no_version_wrote_is_refused(tmp_path: Path, document: object) -> None:
    with pytest.raises(ConfigError, match=r"Server\.yaml:\d+:\d+"):
        load_recorded(_written(tmp_path, document))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recorded(tmp_path / "none.yaml")
