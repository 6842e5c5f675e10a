from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness_llm.config import convert_engine
from harness_llm.config.convert import convert
from harness_llm.config.convert_notes import Weight
from harness_llm.config.load import load_config
from harness_llm.engines.vllm_older import GONE, OUTLIVED
from harness_llm.errors import ConfigError

KNOWN = {"model", "tensor_parallel_size", "max_model_len", "max_num_seqs", "max_num_batched_tokens",
         "compilation_config", "dtype", "max_cudagraph_capture_size", *OUTLIVED}  # fmt: skip
SECTIONS: dict[str, Any] = {
    "benchmark_name": "llama2-70b",
    "scenario": "server",
    "test_mode": "performance",
    "engine_version": "sync",
    "vllm_env_config": {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_OF_A_FORK": 1, "HARNESS_GC_LIMIT": 9,
                        "NCCL_MIN_NCHANNELS": 112, "TOKENIZERS_PARALLELISM": False},
    "vllm_engine_config": {"model": "/model/llama2/fp8", "tensor_parallel_size": 1, "max_model_len": 2048,
                           "num_scheduler_steps": 9, "swap_space": 0, "quantization": "fp8",
                           "enable_chunked_prefill": False, "max_num_batched_tokens": 32768},
    "vllm_sampling_config": {"temperature": 0.0, "min_tokens": 1, "max_tokens": 1024, "ignore_eos": False},
    "harness_config": {"dataset_path": "/data/openorca/open_orca.pkl", "user_conf_path": "/app/user_x.conf",
                       "target_qps": -1, "device_count": 8, "schedule_algo": "shortest_queue"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _a_vllm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(convert_engine, "installed_arguments", lambda: frozenset(KNOWN))
    monkeypatch.setattr(convert_engine, "installed_variables", lambda: frozenset({"VLLM_LOGGING_LEVEL"}))
    monkeypatch.chdir(tmp_path)


def _written(folder: Path, **changes: Any) -> Path:
    """The sections with changes: a mapping is merged into its section, None takes a section away."""
    document = {}
    for name, value in (SECTIONS | changes).items():
        if value is not None:
            both = isinstance(value, dict) and isinstance(SECTIONS.get(name), dict)
            document[name] = SECTIONS[name] | value if both else value
    path = folder / "theirs.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def _notes(path: Path, weight: Weight) -> dict[str, str]:
    return {key: note.said for note in convert(path).notes if note.weight is weight for key in note.keys}


def test_what_is_written_is_read_by_ours_and_says_the_same(tmp_path: Path) -> None:
    ours = tmp_path / "ours.yaml"
    ours.write_text(convert(_written(tmp_path)).text())
    config = load_config(ours, environment={})
    harness = config.harness_config
    assert config.llm_config == {
        "model": "/model/llama2/fp8", "tensor_parallel_size": 1, "max_model_len": 2048,
        "max_num_batched_tokens": 32768,
    }  # fmt: skip
    assert (harness.benchmark, harness.scenario, harness.replicas) == ("llama2-70b-99.9", "Server", 8)
    assert (harness.dataset.kind, harness.max_tokens, harness.min_tokens) == ("openorca", 1024, 2)
    assert harness.engine_env == {
        "VLLM_LOGGING_LEVEL": "ERROR", "NCCL_MIN_NCHANNELS": "112", "TOKENIZERS_PARALLELISM": "False",
    }  # fmt: skip
    moved = load_config(ours, environment={"LAB_MODEL": "/mine", "LAB_DATASET": "/d"})
    assert moved.llm_config["model"] == "/mine/llama2/fp8"
    assert moved.harness_config.dataset.model_dump()["path"] == Path("/d/openorca/open_orca.pkl")


def test_a_path_longer_than_any_is_one_that_is_not_on_this_host(tmp_path: Path) -> None:
    path = _written(tmp_path, harness_config={"user_conf_path": f"/{'a' * 5000}"})
    assert "user_conf_path" in _notes(path, Weight.CHECK)


def test_every_key_that_does_not_simply_move_has_a_note(tmp_path: Path) -> None:
    path = _written(tmp_path, surprise=1, harness_config={"odd": 2})
    assert _notes(path, Weight.REPLACED).keys() == {
        "benchmark_name", "num_scheduler_steps", "swap_space", "quantization = fp8",
        "enable_chunked_prefill = False", "min_tokens = 1",
    }  # fmt: skip
    assert _notes(path, Weight.NO_EFFECT).keys() == {
        "test_mode", "engine_version", "temperature", "target_qps", "HARNESS_GC_LIMIT", "VLLM_OF_A_FORK",
        "schedule_algo",
    }  # fmt: skip
    assert _notes(path, Weight.CHECK).keys() == {
        "user_conf_path", "max_num_batched_tokens = 32768", "surprise", "odd",
    }  # fmt: skip
    text = convert(path).text()
    assert all(f"# {weight}: " in text for weight in Weight)


def test_the_older_form_with_interactive_in_the_benchmarks_name(tmp_path: Path) -> None:
    path = _written(
        tmp_path,
        benchmark_name="llama2-70b-interactive",
        defaults=[],
        llm_config=SECTIONS["vllm_engine_config"],
        sampling_params=SECTIONS["vllm_sampling_config"],
        env_config={"NCCL_MIN_NCHANNELS": 1},
        vllm_engine_config=None,
        vllm_sampling_config=None,
        vllm_env_config=None,
    )
    converted = convert(path).document["harness_config"]
    assert (converted["benchmark"], converted["scenario"]) == ("llama2-70b-99.9", "Interactive")
    assert converted["engine_env"] == {"NCCL_MIN_NCHANNELS": "1"}


def test_sampling_that_is_not_greedy_goes_to_vllm(tmp_path: Path) -> None:
    path = _written(
        tmp_path,
        benchmark_name="gpt-oss-120b",
        scenario="offline",
        vllm_engine_config={"compilation_config": {"cudagraph_capture_range": [[4096, 0, -8], 4, 2, 1]}},
        vllm_sampling_config={"temperature": 1, "top_p": 1, "top_k": -1, "repetition_penalty": 1.5},
        harness_config={"dataset_path": "/data/p.parquet", "accuracy_dataset_path": "/data/a.parquet"},
    )
    document = convert(path).document
    assert document["llm_config"]["override_generation_config"] == {"temperature": 1, "top_p": 1, "top_k": -1}
    assert document["llm_config"]["max_cudagraph_capture_size"] == 4096
    assert document["llm_config"]["compilation_config"] == {}
    assert document["harness_config"]["tests"]["accuracy"]["max_tokens"] == 32768
    assert document["harness_config"]["dataset"] == "jsonl"
    assert "repetition_penalty = 1.5" in _notes(path, Weight.CHECK)


def test_a_file_for_sglang_is_refused_with_the_way_that_there_is(tmp_path: Path) -> None:
    path = _written(tmp_path, vllm_engine_config=None, sglang_engine_config={"model_path": "/model/s"})
    with pytest.raises(ConfigError, match="its engine is SGLang") as caught:
        convert(path)
    assert "init --server" in str(caught.value.remedy)


def test_keys_of_v6_1_have_their_reasons(tmp_path: Path) -> None:
    path = _written(tmp_path, harness_config={"warmup_config": {"x": 1}, "prefill_backlog_weight": 8})
    assert {"warmup_config", "prefill_backlog_weight"} <= _notes(path, Weight.NO_EFFECT).keys()


def test_top_k_of_one_is_greedy(tmp_path: Path) -> None:
    path = _written(tmp_path, vllm_sampling_config={"temperature": 1.0, "top_k": 1, "top_p": 0.001})
    assert "override_generation_config" not in convert(path).document["llm_config"]


@pytest.mark.parametrize(
    ("devices", "tensor", "pipeline", "replicas"), [(8, 1, 1, 8), (8, 8, 1, 1), (8, 2, 2, 2), (1, 2, 1, 1)]
)
def test_replicas_follow_from_devices(
    tmp_path: Path, devices: int, tensor: int, pipeline: int, replicas: int
) -> None:
    sizes = {"tensor_parallel_size": tensor, "pipeline_parallel_size": pipeline}
    path = _written(tmp_path, vllm_engine_config=sizes, harness_config={"device_count": devices})
    assert convert(path).document["harness_config"]["replicas"] == replicas


def test_the_user_conf_is_found_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "code" / "models").mkdir(parents=True)
    conf = tmp_path / "code" / "user_x.conf"
    conf.write_text("")
    path = _written(tmp_path / "code" / "models")
    assert convert(path).document["harness_config"]["user_conf"] == str(conf)


def test_a_rate_in_the_file_is_said_as_a_line_of_user_conf(tmp_path: Path) -> None:
    path = _written(tmp_path, harness_config={"target_qps": 70})
    said = _notes(path, Weight.CHECK)["target_qps = 70"]
    assert said == "write `llama2-70b.Server.target_qps = 70` into user.conf"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"scenario": "MISSING", "vllm_engine_config": {"model": "MISSING"}},
            "scenario, vllm_engine_config.mod",
        ),
        ({"scenario": "sometimes"}, "scenario 'sometimes' is not known"),
        ({"vllm_env_config": "text"}, "vllm_env_config: expected keys"),
    ],
)
def test_a_file_that_lacks_something_says_what(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        convert(_written(tmp_path, **changes))


def test_a_file_of_our_form_or_of_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(convert(_written(tmp_path)).text())
    with pytest.raises(ConfigError, match="in our form already"):
        convert(path)
    path.write_text("services: {}")
    with pytest.raises(ConfigError, match="not in the form of AMD"):
        convert(path)


@pytest.mark.parametrize("keys", [("vllm_engine_config",), ("benchmark_name", "scenario", "llm_config")])
def test_given_to_a_run_it_names_the_command_in_one_sentence(tmp_path: Path, keys: tuple[str, ...]) -> None:
    path = tmp_path / "theirs.yaml"
    path.write_text("".join(f"{key}: {{}}\n" for key in keys))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == (
        f"{path}: this file is in the form of AMD's harness_llm; "
        f"`harness-llm convert {path}` writes it in ours"
    )


def test_the_documents_name_every_argument_that_is_replaced(repository: Path) -> None:
    told = (repository / "docs" / "vllm-arguments.md").read_text()
    for name in (*GONE, *OUTLIVED):
        assert f"`{name}" in told, name
