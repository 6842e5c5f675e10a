"""What decides a run, by name: differences are told, and what decides nothing is none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness_llm.checkpoint import Checkpoint
from harness_llm.core import Scenario
from harness_llm.engines import KINDS
from harness_llm.errors import FolderError
from harness_llm.results.reading import as_json
from harness_llm.run import identity as identity_module
from harness_llm.run.identity import EngineFactsBefore, differences, digest, identity, of_engines
from harness_llm.secret_values import MASK

if TYPE_CHECKING:
    from own_benchmark import Setup


def _identity(setup: Setup, environment: dict[str, str] | None = None, **harness: Any) -> dict[str, str]:
    prepared = setup.prepared(**harness)
    return identity(
        prepared.configs, prepared.user_conf, prepared.table, prepared.own_tables, environment or {}
    )


def test_every_difference_is_named_with_both_values(setup: Setup) -> None:
    before = _identity(setup)
    assert digest(before) == digest(_identity(setup))
    found = differences(before, _identity(setup, max_tokens=9, engine_env={"A": "b"}))
    assert "harness_config.max_tokens (Offline): was 8, is 9" in found
    assert 'harness_config.engine_env.A (Offline): was not there, is "b"' in found
    setup.conf.write_text(setup.conf.read_text() + "# said\n")
    (line,) = differences(before, _identity(setup))
    assert line.startswith("user.conf: was ")
    many = differences({}, before)
    assert len(many) == 7 and many[-1].startswith("and ")


def test_only_what_engines_read_of_the_environment_decides(setup: Setup) -> None:
    before = _identity(setup)
    ordinary = {"HOME": "/x", "VLLM_LOGGING_LEVEL": "DEBUG", "VLLM_CACHE_ROOT": "/c", "NCCL_DEBUG": "INFO",
                "MASTER_PORT": "1", "VLLM_HOST_IP": "10.0.0.1"}  # fmt: skip
    assert differences(before, _identity(setup, ordinary)) == []
    deciding = {"VLLM_ATTENTION_BACKEND": "X", "OMP_NUM_THREADS": "4", "LD_PRELOAD": "/x.so",
                "HARNESS_LLM_KERNELS": "on"}  # fmt: skip
    assert len(differences(before, _identity(setup, deciding))) == len(deciding)
    assert _identity(setup, {"VLLM_API_KEY": "0123456789abcdef"})["variable VLLM_API_KEY"] == MASK


def test_accelerators_decide(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _identity(setup)

    class Found:
        accelerators = (type("A", (), {"name": "H200"})(),) * 8

    monkeypatch.setattr(identity_module.accelerators, "read", lambda: Found)
    assert differences(before, _identity(setup)) == ["accelerators: was none, is 8 x H200"]


def test_where_files_lie_decides_nothing_where_their_content_is_known(setup: Setup, tmp_path: Path) -> None:
    def found(folder: str) -> dict[str, str]:
        data = {"kind": "jsonl", "path": f"{folder}/a.jsonl"}
        harness = {"dataset": data, "tests": {"accuracy": {"dataset": data}}, "reference": f"{folder}/r.json"}
        config = setup.config("Server", user_conf=f"{folder}/user.conf", **harness)
        return identity([config], prepared.user_conf, prepared.table, {}, {})

    prepared = setup.prepared()
    assert any(name.startswith("harness_config.tests.accuracy.dataset") for name in found("a"))
    assert differences(found("a"), found("b")) == []


def test_engines_are_the_same_whatever_they_are_asked(setup: Setup) -> None:
    before = of_engines(_identity(setup), Scenario.OFFLINE)
    same = _identity(setup, max_tokens=9, offline_backlog=3, metric="rouge", user_conf=str(setup.conf))
    assert differences(before, of_engines({**same, "harness_config.a (Server)": "1"}, Scenario.OFFLINE)) == []
    other = of_engines(_identity(setup, {"OMP_NUM_THREADS": "4"}, replicas=2), Scenario.OFFLINE)
    assert len(differences(before, other)) == 2


def _weights(path: Path, header: bytes, data: bytes) -> None:
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def test_a_checkpoint_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "lock").write_text("x")
    shard = tmp_path / "model.safetensors"
    _weights(shard, b'{"a":1}', b"12345678")
    os.utime(shard, ns=(1, 10**18))

    def content() -> dict[str, str]:
        return Checkpoint(tmp_path).content()

    before = content()
    assert set(before) == {"config.json", "model.safetensors"}
    assert before == content()
    _weights(shard, b'{"b":1}', b"12345678")
    os.utime(shard, ns=(1, 10**18))
    assert "header" in differences(before, content())[0], "a header that differs"
    _weights(shard, b'{"a":1}', b"87654321")
    assert "changed" in differences(before, content())[0], "data that differ, at another time"
    _weights(shard, b'{"a":1}', b"123456789")
    os.utime(shard, ns=(1, 10**18))
    assert len(differences(before, content())) == 1, "another size"
    (tmp_path / "config.json").write_text('{"x": 1}')
    assert any(line.startswith("config.json") for line in differences(before, content()))


_FACTS = {"name": "vllm", "version": "1", "max_sequence_tokens": 10, "max_concurrent": 4,
          "resolved": {"config": {"cache_config": {"block_size": 16, "num_gpu_blocks": 100}}}}  # fmt: skip


def test_an_engine_that_resolves_its_arguments_otherwise_is_refused_and_what_it_said_is_kept(
    tmp_path: Path,
) -> None:
    file = tmp_path / "0" / "facts.json"
    file.parent.mkdir()
    file.write_bytes(as_json(_FACTS))
    before = EngineFactsBefore(tmp_path)
    again = json.loads(json.dumps(_FACTS))
    again["resolved"]["config"]["cache_config"]["num_gpu_blocks"] = 99
    file.write_bytes(as_json(again))
    before.require(KINDS["vllm"], [again])
    again["resolved"]["config"]["cache_config"]["block_size"] = 32
    file.write_bytes(as_json(again))
    with pytest.raises(FolderError, match=r"cache_config\.block_size: was 16, is 32"):
        before.require(KINDS["vllm"], [again])
    assert json.loads(file.read_bytes()) == _FACTS
