from __future__ import annotations

from pathlib import Path

import pytest

from harness_llm.errors import ConfigError
from harness_llm.power.sweep import PowerConfig
from harness_llm.study.study_file import read_study


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("knobb: cap\n", "1:1: unknown key knobb; did you mean 'knob'?"),
        ("knob: cap\ntraining:\n  stepz: 3\n", "3:3: unknown key training.stepz; did you mean 'steps'?"),
        ("trials: 0\n", "trials: Input should be greater than 0, found 0"),
        ("knob: volts\n", "knob: Input should be 'none', 'cap' or 'load', found 'volts'"),
        ("- a\n", "expected keys, found list"),
        ("a: [\n", "not valid YAML"),
    ],
)
def test_a_mistake_names_its_place_and_what_would_do(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as found:
        read_study(path, PowerConfig)
    assert said in found.value.message


def test_keys_may_be_overridden_and_the_file_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("trials: 3\n")
    assert read_study(path, PowerConfig, ["trials=5", "phases=[training]"]).trials == 5
    with pytest.raises(ConfigError, match="expected key=value"):
        read_study(path, PowerConfig, ["trials"])
    with pytest.raises(ConfigError, match="no such study file"):
        read_study(tmp_path / "none.yaml", PowerConfig)


FILES = sorted((Path(__file__).parents[3] / "studies").glob("*/*.yaml"))
STUDIES = [path for path in FILES if "engine" not in path.name]
assert STUDIES


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_every_study_file_of_the_repository_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parents[2])
    assert read_study(path, PowerConfig).trials >= 1
