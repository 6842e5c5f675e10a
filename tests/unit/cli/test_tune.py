"""What `tune` prints of what it found."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from harness_llm.cli import tune
from harness_llm.rules import SIMULATED
from harness_llm.tune.search import TunedRate
from harness_llm.tune.tuning import Wish

if TYPE_CHECKING:
    from pathlib import Path

    from own_benchmark import Setup


@pytest.mark.parametrize(("rate", "dry_run"), [(7.0, False), (None, False), (None, True)])
def test_numbers_of_a_simulated_engine_bear_its_mark(
    rate: float | None, dry_run: bool, setup: Setup, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tuning: Any = SimpleNamespace(
        config=setup.config("Server"), found=TunedRate(7.0, even_qps=8.0), wish=Wish(dry_run=dry_run),
        folder=tmp_path, run=tmp_path, user_conf=tmp_path, scenario="Server", reason="no run was VALID",
    )  # fmt: skip
    tune._print(tuning, rate, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    numbers = [line for line in lines if not line.startswith(("run folder:", "user.conf:"))]
    assert len(numbers) >= 2 and all(line.endswith(f" [{SIMULATED}]") for line in numbers)
    tune._print(tuning, rate, as_json=True)
    assert json.loads(capsys.readouterr().out)["marker"] == SIMULATED


def test_the_view_of_a_tuning_bears_the_mark(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks: list[str] = []

    def view(marker: str, **_: object) -> None:
        marks.append(marker)
        raise KeyboardInterrupt

    monkeypatch.setattr("harness_llm.views.live.make_view", view)
    with pytest.raises(KeyboardInterrupt):
        tune.tune_verb(setup.write("Server"), output=tmp_path / "study")
    with pytest.raises(KeyboardInterrupt):
        tune.tune_all([setup.config("Server")])
    assert marks == [SIMULATED, SIMULATED]
