from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness_llm.core import Mode, Scenario
from harness_llm.errors import ConfigError
from harness_llm.transport.spec import ReplicaSpec, TestSpec, read_spec, write_spec

if TYPE_CHECKING:
    from pathlib import Path

TEST = TestSpec(
    name="loadgen-Server/performance",
    loadgen_model="mine",
    scenario=Scenario.SERVER,
    mode=Mode.PERFORMANCE,
    folder="/f",
    samples="/s.npz",
    user_conf="/user.conf",
    audit_conf=None,
    replicas=["ipc:///a", "ipc:///b"],
    control="ipc:///c",
    offline_backlog=None,
    silence_s=8.0,
)
REPLICA = ReplicaSpec(
    1, "replica-1", "ipc:///c", "ipc:///a", "simulated", {"first_token_ms": 1.5, "deep": {"é": [None]}}
)


@pytest.mark.parametrize("spec", [TEST, REPLICA], ids=lambda spec: type(spec).__name__)
def test_a_spec_comes_back_equal_from_a_readable_file(tmp_path: Path, spec: TestSpec | ReplicaSpec) -> None:
    write_spec(spec, tmp_path / "spec.json")
    kind: Any = type(spec)
    assert read_spec(kind, tmp_path / "spec.json") == spec
    assert len((tmp_path / "spec.json").read_text().splitlines()) > 5


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"index": 1, "nonsense": 2}', '{"index": "one"}'])
def test_what_is_no_spec_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "spec.json").write_text(text)
    with pytest.raises(ConfigError, match=r"spec\.json: not a ReplicaSpec"):
        read_spec(ReplicaSpec, tmp_path / "spec.json")


def test_a_missing_spec_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none.json"):
        read_spec(TestSpec, tmp_path / "none.json")
