from __future__ import annotations

from pathlib import Path

import pytest

from harness_llm.errors import ConfigError
from harness_llm.power.sweep import PowerConfig
from harness_llm.study.study_file import read_study
from harness_llm.tenants.tenants_file import TenantsConfig

HERE = Path(__file__).parents[3] / "studies"
KINDS: dict[str, type[PowerConfig] | type[TenantsConfig]] = {"power": PowerConfig, "tenants": TenantsConfig}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("knobb: cap\n", "1:1: unknown key knobb; did you mean 'knob'?"),
        ("knob: cap\ntraining:\n  stepz: 3\n", "3:3: unknown key training.stepz; did you mean 'steps'?"),
        ("trials: 0\n", "trials: Input should be greater than 0, found 0"),
        ("knob: volts\n", "knob: Input should be 'none', 'cap' or 'load', found 'volts'"),
        ("phases: []\n", "phases: List should have at least 1 item"),
        ("trial_s: 1e99\n", "trial_s: Input should be less than or equal to 31536000, found 1e+99"),
        ("trials: yes\n", "1:1: trials: expected a number, found true"),
        ("training: {steps: true}\n", "1:12: training.steps: expected a number, found true"),
        ("training: 3\n", "training: Input should be keys with values, found 3"),
        ("workload: {size: 3}\n", "workload: kind is missing"),
        ("workload: {kind: x}\n", "workload: kind 'x' is not known; choose 'batch', "),
        ("workload: {kind: batch, size: 0, iterations: 1}\n", "1:25: workload.size: Input should be greater"),
        ("workload: {kind: batch, size: 1}\n", "workload.iterations is missing"),
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


@pytest.mark.parametrize(
    ("kind", "override", "said"),
    [
        (TenantsConfig, "until=0", "until: Input should be 'all' or 'first', or greater than 0, found 0"),
        (TenantsConfig, "until=true", "until: expected a number, found true"),
        (TenantsConfig, "mps=so", "mps: Input should be a valid boolean, or keys with values, found 'so'"),
        (TenantsConfig, "mps={existing: 3}", "mps.existing: Input should be a valid boolean, found 3"),
        (TenantsConfig, "mps={exist: true}", "unknown key mps.exist; did you mean 'existing'?"),
        (TenantsConfig, "experiment_name=a b", "experiment_name: it names a folder: letters, digits, _, . "
         "and -, and neither . nor - at its start, found 'a b'"),
        (TenantsConfig, "tenants=[{name: a, model_name: b}, {name: a, model_name: b}]",
         "tenants[1].name: two tenants are called 'a': each needs a name of its own"),
        (TenantsConfig, "single_model={name: a, model_name: b}",
         "single_model: needs one of tenants, a list, and single_model"),
        (PowerConfig, "workload={kind: segments, duration_s: 3, rps: {mu: 1, sigma: -1}}",
         "workload.rps.sigma: Input should be greater than or equal to 0, found -1"),
    ],
)  # fmt: skip
def test_a_mistake_of_an_override_is_one_line_that_names_the_override(
    kind: type[PowerConfig] | type[TenantsConfig], override: str, said: str
) -> None:
    with pytest.raises(ConfigError) as found:
        read_study(HERE / kind.__module__.split(".")[1] / "smoke.yaml", kind, [override])
    assert found.value.message == f"--set {override}: {said}"


def test_keys_may_be_overridden_and_the_file_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("trials: 3\n")
    assert read_study(path, PowerConfig, ["trials=5", "phases=[training]"]).trials == 5
    with pytest.raises(ConfigError, match="expected key=value"):
        read_study(path, PowerConfig, ["trials"])
    with pytest.raises(ConfigError, match="no such study file"):
        read_study(tmp_path / "none.yaml", PowerConfig)


STUDIES = [path for path in sorted(HERE.rglob("*.yaml")) if "engine" not in path.name]
assert len(STUDIES) > 30 and {path.name for path in HERE.iterdir() if path.is_dir()} == set(KINDS)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_every_study_file_of_the_repository_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE.parent)
    assert read_study(path, KINDS[path.relative_to(HERE).parts[0]]).trials >= 1
