"""What follows a test is done once, also when the run was stopped between the test and what follows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness_llm.config.load import load_config
from harness_llm.errors import EngineError
from harness_llm.run import execute as execute_module
from harness_llm.run.execute import execute
from harness_llm.run.prepare import prepare
from harness_llm.run.score import ScoreResult
from harness_llm.views.live import PlainView


def test_a_test_whose_scoring_failed_is_scored_on_resume_without_being_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "user.conf").write_text("mine.Offline.target_qps = 100\nmine.Offline.min_duration = 100\n")
    (tmp_path / "run.yaml").write_text(f"""
llm_config: {{}}
harness_config: {{benchmark: mine, scenario: Offline, engine: simulated,
  dataset: {{kind: synthetic, shape: 20:8:4}}, max_tokens: 8, user_conf: {tmp_path / "user.conf"}}}
""")
    prepared = prepare([load_config(tmp_path / "run.yaml")], ("performance",))
    output = tmp_path / "run"
    record = output / "Offline/performance/test.json"

    def fails(_: Path) -> ScoreResult:
        raise EngineError("cannot be scored")

    monkeypatch.setattr(execute_module, "score", fails)
    with pytest.raises(EngineError, match="cannot be scored"):
        execute(prepared, output, PlainView(""), resume=False)
    assert json.loads((output / "run.json").read_text())["state"] == "broken"
    first = json.loads(record.read_text())
    assert first["state"] == "complete" and first["followed_up"] is False
    followed: list[Path] = []

    def follow(test: Path) -> ScoreResult:
        followed.append(test)
        return ScoreResult(test.name)

    monkeypatch.setattr(execute_module, "score", follow)
    execute(prepared, output, PlainView(""), resume=True)
    assert followed == [record.parent]
    assert json.loads((output / "run.json").read_text())["state"] == "complete"
    assert json.loads(record.read_text()) == {**first, "followed_up": True}
