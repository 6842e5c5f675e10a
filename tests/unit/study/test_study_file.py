from __future__ import annotations

from pathlib import Path

import pytest

from harness_llm.errors import ConfigError
from harness_llm.power.sweep import PowerConfig
from harness_llm.study.study_file import read_study
from harness_llm.tenants.tenants_file import TenantsConfig


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


HERE = Path(__file__).parents[3] / "studies"
KINDS: dict[str, type[PowerConfig] | type[TenantsConfig]] = {"power": PowerConfig, "tenants": TenantsConfig}
STUDIES = [path for path in sorted(HERE.rglob("*.yaml")) if "engine" not in path.name]
assert len(STUDIES) > 30 and {path.name for path in HERE.iterdir() if path.is_dir()} == set(KINDS)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_every_study_file_of_the_repository_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE.parent)
    assert read_study(path, KINDS[path.relative_to(HERE).parts[0]]).trials >= 1
