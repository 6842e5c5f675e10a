"""What the command line makes of its arguments; the verbs' own work is tested where it is done."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from harness_llm.engines import vllm_arguments

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from own_benchmark import Setup

    Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def config(setup: Setup) -> Path:
    return setup.write("Offline")


def test_help_names_every_verb_in_a_whole_line_and_the_exit_codes(command: Command) -> None:
    code, out, _ = command("--help")
    assert code == 0
    assert "Usage: harness-llm [OPTIONS]" in out
    assert "..." not in out.replace("[ARGS]...", "")
    for verb in ("prepare", "run", "show", "check", "package", "system"):
        assert f"  {verb} " in out
        code, text, _ = command(verb, "--help")
        assert code == 0
        assert f"Usage: harness-llm {verb}" in text
        assert "--json" in text
    assert "Exit codes" in out


def test_help_is_there_at_once() -> None:
    """Nothing heavy may be imported for it."""
    code = "import sys, harness_llm.cli; print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("torch", "transformers", "vllm", "mlperf_loadgen", "numpy", "pydantic", "zmq"):
        assert f"'{heavy}'" not in loaded


def test_prepare_says_what_would_run(command: Command, config: Path) -> None:
    code, out, err = command("prepare", "--config", config, "--test", "performance", "--test", "TEST06")
    assert (code, err) == (0, "")
    assert "mine (simulated, not a result)" in out
    assert "Offline/performance: target 50 samples/s, about" in out
    assert "Offline/TEST06: target 50 samples/s, as many samples as LoadGen decides" in out
    code, out, _ = command("prepare", "--config", config, "--json")
    assert code == 0
    assert [test["name"] for test in json.loads(out)["tests"]] == ["Offline/performance", "Offline/accuracy"]


def test_prepare_names_no_rate_where_the_rate_is_measured(command: Command, setup: Setup) -> None:
    arguments = ("prepare", "--config", setup.write("Server", measured_rate=0.4), "--test", "performance")
    _, out, _ = command(*arguments)
    assert "Server/performance: target 40% of what the machine holds, about 100 samples" in out
    assert "7 samples/s" not in out
    (planned,) = json.loads(command(*arguments, "--json")[1])["tests"]
    assert (planned["target_qps"], planned["measured_rate"]) == (None, 0.4)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["runn"], "Did you mean 'run'?"),
        (["run"], "--config"),
        (["run", "--config", "missing.yaml"], "missing.yaml: no such configuration file"),
        (["prepare", "--config", "CONFIG", "--set", "harness_config.replica=2"], "did you mean 'replicas'?"),
        (["prepare", "--config", "CONFIG", "--set", "llm_config.x"], "expected key=value"),
        (["prepare", "--config", "CONFIG", "--test", "performanc"], "performanc"),
        (["show", "missing"], "missing: no run folder"),
        (["check", "missing"], "missing: no such folder"),
        (["check", "FOLDER", "--round", "v9"], "--round v9: not a known round"),
        (["check", "FOLDER", "--division", "opn"], "--division"),
        (["package", "missing", "--company", "A", "--system-name", "B"], "missing: no such folder"),
        (["package", "FOLDER", "--company", "A", "--system-name", "B", "--round", "v9"], "not a known round"),
        (["package", "FOLDER", "--company", "A", "--system-name", "B", "--division", "opn"], "--division"),
        (["system", "--yaml", "missing"], "missing"),
    ],
    ids=str,
)
def test_wrong_usage_ends_with_2_and_names_what_is_wrong(
    command: Command, config: Path, tmp_path: Path, arguments: list[str], named: str
) -> None:
    places = {"CONFIG": str(config), "FOLDER": str(tmp_path)}
    code, out, err = command(*(places.get(argument, argument) for argument in arguments))
    assert code == 2, (out, err)
    assert named in err
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 5
    assert not out


def test_a_folder_of_runs_is_answered_with_the_newest_of_them(command: Command, tmp_path: Path) -> None:
    for name in ("mine_1", "mine_2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}")
    code, _, err = command("show", tmp_path)
    assert code == 2
    assert f"{tmp_path}: no run folder" in err
    assert f"e.g. {tmp_path / 'mine_2'}" in err


def test_an_argument_that_vllm_lacks_is_said_before_anything_is_started(
    command: Command, config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(vllm_arguments, "installed_version", lambda: "1.2.3")
    monkeypatch.setattr(
        vllm_arguments, "installed_arguments", lambda: {"model": "str", "max_num_seqs": "int"}
    )
    arguments = ("--config", config, "--set", "harness_config.engine=vllm", "--set", "llm_config.model=m")
    code, _, err = command(
        "run", *arguments, "--output", tmp_path / "run", "--set", "llm_config.max_num_seq=4"
    )
    assert code == 2
    said = "llm_config.max_num_seq: vLLM 1.2.3 has no such argument; did you mean 'max_num_seqs'?"
    assert f"--set llm_config.max_num_seq=4: {said}" in err
    config.write_text("llm_config:\n  max_num_seq: 4\n" + config.read_text().replace("llm_config: {}\n", ""))
    assert f"{config}:2:3: {said}" in command("prepare", *arguments)[2]
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(vllm_arguments, "installed_version", lambda: None)
    code, _, err = command("prepare", *arguments)
    assert code == 2
    assert "which is not installed" in err
