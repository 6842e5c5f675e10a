from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness_llm.config.user_conf import parse_conf
from harness_llm.core import Mode, Scenario
from harness_llm.errors import ConfigError
from harness_llm.transport.spec import LoadgenSpec, LoadgenTest, ReplicaSpec, read_spec, write_spec

CONF = """\
# rates
*.Server.target_qps = 1
mine.Server.target_qps = 7
mine.Server.target_qps_other = 7
mine.Offline.target_qps = 9
"""
TEST = LoadgenTest(
    name="Server/performance",
    scenario=Scenario.SERVER,
    mode=Mode.PERFORMANCE,
    loadgen_model="mine",
    user_conf=CONF,
    target_qps=7.0,
    samples="samples.npz",
    expected=100,
)
LOADGEN = LoadgenSpec("loadgen-Server/performance", "ipc:///c", ["ipc:///a", "ipc:///b"], "/f", TEST)
REPLICA = ReplicaSpec(
    "replica-1", "ipc:///c", "ipc:///a", "simulated", {"first_token_ms": 1.5, "deep": {"é": [None]}}
)


@pytest.mark.parametrize("spec", [LOADGEN, REPLICA], ids=lambda spec: type(spec).__name__)
def test_a_spec_comes_back_equal_from_a_readable_file(
    tmp_path: Path, spec: LoadgenSpec | ReplicaSpec
) -> None:
    write_spec(spec, tmp_path / "spec.json")
    kind: Any = type(spec)
    assert read_spec(kind, tmp_path / "spec.json") == spec
    assert len((tmp_path / "spec.json").read_text().splitlines()) > 5


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "r", "nonsense": 2}', '{"name": 1}'])
def test_what_is_no_spec_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "spec.json").write_text(text)
    with pytest.raises(ConfigError, match=r"spec\.json: not a ReplicaSpec"):
        read_spec(ReplicaSpec, tmp_path / "spec.json")


def test_a_missing_spec_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none.json"):
        read_spec(LoadgenSpec, tmp_path / "none.json")


def _rates(text: str) -> dict[str, float]:
    """Rates as our own strict reader finds them, which refuses a key that is set twice."""
    entries, problems = parse_conf(text)
    assert not [problem for problem in problems if "target_qps_other" not in problem]
    return {entry.name: entry.value for entry in entries}


@pytest.mark.parametrize("qps", [12.5, 1e-3, 4000.0, 3])
def test_another_rate_is_this_tests_alone_and_nothing_else_changes(qps: float) -> None:
    other = TEST.with_qps(qps)
    assert _rates(other.user_conf) == {**_rates(CONF), "mine.Server.target_qps": qps}
    assert "# rates" in other.user_conf and "target_qps_other = 7" in other.user_conf
    assert (other.target_qps, other.expected) == (qps, None)
    assert msgspec.structs.replace(other, user_conf=CONF, target_qps=7.0, expected=100) == TEST
    assert other.with_qps(7.0).with_qps(qps) == other


def test_a_rate_that_stood_for_several_models_is_set_for_this_one() -> None:
    test = msgspec.structs.replace(TEST, user_conf="*.*.target_qps = 1", scenario=Scenario.INTERACTIVE)
    assert _rates(test.with_qps(2.0).user_conf) == {"*.*.target_qps": 1, "mine.Server.target_qps": 2}


def test_samples_are_a_file_wherever_the_process_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert TEST.with_samples(Path("run/samples.npz")).samples == str(tmp_path / "run/samples.npz")


def test_secrets_are_in_the_child_s_environment_and_not_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "hf_" + "q" * 30
    arguments = {"model": "/m", "hf_token": "plain-words", "deep": [{"url": f"https://u:{token}@host"}]}
    spec = ReplicaSpec("replica-0", "ipc:///c", "ipc:///d", "vllm", arguments)
    path = tmp_path / "spec.json"
    path.write_text("an earlier one, which anybody could read")
    variables = write_spec(spec, path)
    assert "plain-words" not in path.read_text() and token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(ConfigError, match="stands for a secret"):
        read_spec(ReplicaSpec, path)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert read_spec(ReplicaSpec, path) == spec
    assert write_spec(ReplicaSpec("r", "c", "d", "vllm", {"model": "/m"}), path) == {}
