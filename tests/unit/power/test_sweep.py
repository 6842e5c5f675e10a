"""What a power study refuses before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness_llm.errors import ConfigError, UsageError
from harness_llm.power.sweep import PowerConfig, PowerStudy
from harness_llm.study.study_file import read_study

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["phases=[training, training]"], "phases: each must be there once, found training, training"),
        (["knob=load", "values=[8, 8]"], "values: each must be there once, found 8, 8"),
        (["values=[300, 300.0001]"], "values: each must be there once, found 300, 300"),
    ],
)
def test_a_setting_is_asked_for_once_and_can_be_set(asked: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as found:
        read_study(ROOT / "studies" / "power" / "smoke.yaml", PowerConfig, asked)
    assert said in str(found.value)


@pytest.mark.parametrize(
    ("training", "said"),
    [
        ({"model": "nope"}, "training.model: nope: neither a folder nor a known size"),
        ({"model": "roberta-large"}, "neither a folder nor a known size"),
        ({"model": "{folder}"}, "has no config.json"),
        ({"model": "same"}, "training.model: same: the inference has no checkpoint"),
        ({"text": "/nope"}, "training.text: /nope: cannot be read: "),
        ({"text": "{folder}/short.txt"}, "training.text: shorter than one sequence of 64 tokens"),
    ],
)
def test_a_training_that_could_not_start_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, training: dict[str, str], said: str
) -> None:
    monkeypatch.chdir(ROOT)
    (tmp_path / "short.txt").write_text("too short")
    written = {key: value.format(folder=tmp_path) for key, value in training.items()}
    inference = ROOT / "studies" / "power" / "simulated_engine.yaml"
    config = PowerConfig.model_validate({"gpu": "simulated", "inference": inference, "training": written})
    with pytest.raises(UsageError) as found:
        PowerStudy(config, tmp_path)
    assert said in str(found.value)
    PowerStudy(config.model_copy(update={"phases": ["inference"]}), tmp_path)
