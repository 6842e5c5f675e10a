"""What is let into a tree, and what is refused before anything is written."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from run_maker import Maker

from harness_llm.datasets.table import SampleTable
from harness_llm.errors import ConfigError, FolderError
from harness_llm.results.paths import EVENTS_NPY


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"simulated": True}, "simulated"),
        ({"official": False}, "data set"),
        ({"state": "broken", "reason": "replica 3 died"}, "replica 3 died"),
        ({"state": "interrupted"}, "interrupted"),
        ({"samples": 100}, "100 samples"),
        ({"dataset": {"name": "synthetic", "samples": 24576, "digest": "d"}}, "synthetic"),
        ({"detail": {"result_validity": "INVALID"}}, "INVALID"),
        ({"detail": {"error_runtime": "n_tokens argument missing"}}, "n_tokens argument missing"),
        ({"detail": {"effective_schedule_rng_seed": 7}}, "schedule_rng_seed"),
        ({"round": "v6.0"}, "those of v6.0, not of v6.1"),
        ({"config": {"model": "m", "quantization": "fp8"}}, "calibration.md"),
        ({"format": 3}, "format: 3 is of a newer version"),
        ({"command": "harness-llm run"}, "command"),
        ({"git": {"commit": "0" * 40, "dirty": False}}, "commit 0000"),
    ],
)
def test_closed_refuses(maker: Maker, changes: dict[str, object], words: str) -> None:
    run = maker.run(**changes)
    with pytest.raises(FolderError) as caught:
        maker.package(run, division="closed")
    assert words in str(caught.value)
    assert not (maker.path / "out" / "inference_results_v6.1").exists()


@pytest.mark.parametrize(("limit", "is_refused"), [(512, True), (1024, False)])
def test_closed_refuses_other_output_limits_than_the_rules(
    maker: Maker, limit: int, is_refused: bool
) -> None:
    run = maker.run(tests=["Server/performance"])
    SampleTable.from_prompts("openorca", [[1]], max_tokens=limit, min_tokens=2).save(run / "samples.npz")
    if not is_refused:
        maker.package(run, division="closed")
        return
    with pytest.raises(FolderError, match="max_tokens 512, min_tokens 2; the rules: max_tokens 1024"):
        maker.package(run, division="closed")
    assert not (maker.path / "out" / "inference_results_v6.1").exists()
    maker.package(run, division="open")


@pytest.mark.parametrize(
    ("path", "action"),
    [
        ("Server/accuracy/accuracy.json", "remove"),
        ("Server/accuracy/mlperf_log_accuracy.json", "remove"),
        ("Server/performance/user.conf", "empty"),
        ("Server/performance/mlperf_log_detail.txt", "link"),
        ("Server/TEST06/verify_accuracy.txt", "fail"),
        ("Server/TEST06", "remove"),
        ("Server/accuracy/accuracy.txt", "other"),
        ("Server/accuracy/accuracy.txt", "remove"),
        ("Server/performance/test.json", "other"),
        ("run.json", "other"),
        ("config/Server.yaml", "other"),
    ],
)
def test_closed_refuses_a_damaged_run(maker: Maker, path: str, action: str) -> None:
    run = maker.run()
    target = run / path
    if action == "remove":
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    elif action == "link":
        target.rename(target.with_suffix(".moved"))
        target.symlink_to(target.with_suffix(".moved"))
    else:
        target.write_text(
            {"empty": "", "fail": "TEST06 verification failed\n", "other": "{'rouge1': 44.9"}[action]
        )
    with pytest.raises(FolderError) as caught:
        maker.package(run, division="closed")
    assert path.split("/")[-1] in str(caught.value)
    assert not (maker.path / "out" / "inference_results_v6.1").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"round": "v7.0"}, "v6.1"),
        ({"division": "network"}, "closed or open"),
        ({"company": "../Org"}, "company"),
        ({"company": ""}, "company"),
        ({"system_name": "a/b"}, "system name"),
        ({"system_name": ".hidden"}, "system name"),
        ({"benchmark": "llama3.1-8b"}, "other settings"),
        ({"benchmark": "llama2-70b-99"}, "v5.0, v5.1, v6.0"),
        ({"benchmark": "llama2-70b"}, "Did you mean llama2-70b-99.9?"),
        ({"maps_to": "llama3.1-8b"}, "is official"),
        ({"system_yaml": None}, "host_processor_model_name is empty"),
    ],
)
def test_wrong_usage_is_named(maker: Maker, options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        maker.package(maker.run(), **{"division": "closed", **options})
    assert words in str(caught.value)
    assert not (maker.path / "out" / "inference_results_v6.1").exists()


def test_a_run_may_be_submitted_at_its_other_accuracy_level(maker: Maker) -> None:
    run = maker.run(benchmark="llama2-70b-99.9", round="v6.0")
    result = maker.package(run, division="closed", round="v6.0", benchmark="llama2-70b-99")
    assert result.results[0].parent.name == "llama2-70b-99"


def test_an_own_model_maps_only_to_a_data_set_it_answered(maker: Maker) -> None:
    own = maker.run("own", benchmark="my-model", scenarios=("Offline",))
    result = maker.package(own, maps_to="llama2-70b-99.9")
    mapping = json.loads((result.tree / "open/Org/model_mapping.json").read_text())
    assert mapping["my-model"] == "llama2-70b-99.9"
    part = maker.run("part", benchmark="my-part", samples=164, scenarios=("Offline",))
    with pytest.raises(ConfigError, match="164"):
        maker.package(part, maps_to="llama2-70b-99.9")
    with pytest.raises(ConfigError, match="Did you mean llama2-70b-99.9"):
        maker.package(own, maps_to="llama2-70b-999")
    maker.package(part)
    assert (
        json.loads((result.tree / "open/Org/model_mapping.json").read_text())["my-model"] == "llama2-70b-99.9"
    )


@pytest.mark.parametrize("division", ["closed", "open"])
@pytest.mark.parametrize("test", ["performance", "accuracy", "TEST06"])
def test_figures_that_were_not_measured_go_into_no_division(maker: Maker, division: str, test: str) -> None:
    run = maker.run()
    place = run / "Server" / test / EVENTS_NPY
    rows = np.load(place)
    rows["tokens"] = 0
    np.save(place, rows)
    with pytest.raises(FolderError, match=f"Server.*{test}.*2 of 2 answers have fewer tokens"):
        maker.package(run, division=division)
