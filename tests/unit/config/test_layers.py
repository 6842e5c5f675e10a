"""Configurations made of several: short forms, a file that extends another, overrides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness_llm.config.harness import RunConfig
from harness_llm.config.load import dump_config, load_config
from harness_llm.datasets.openorca import OpenOrca
from harness_llm.datasets.prompts import Prompts
from harness_llm.datasets.synthetic import Synthetic
from harness_llm.engines.simulated import Simulated
from harness_llm.engines.vllm_kind import Vllm
from harness_llm.errors import ConfigError

BASE = """\
llm_config:
  model: /m
  max_num_seqs: 8
  override_generation_config: {temperature: 1.0, top_k: 0}
harness_config:
  benchmark: mine
  scenario: Offline
  dataset: openorca
  dataset_path: /data/orca.pkl
  max_tokens: 8
"""


def _files(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / "case.yaml"


def _load(folder: Path, text: str, *overrides: str) -> RunConfig:
    return load_config(_files(folder, base=BASE, case=text), overrides, environment={})


# ---------------------------------------------------------------------- short forms


def test_the_short_form_of_a_data_set_is_the_full_one(tmp_path: Path) -> None:
    full = BASE.replace(
        "dataset: openorca\n  dataset_path: /data/orca.pkl", "dataset: {kind: openorca, path: /data/orca.pkl}"
    )
    assert full != BASE
    assert _load(tmp_path, full) == _load(tmp_path, BASE)
    assert _load(tmp_path, BASE).harness_config.dataset == OpenOrca(path=Path("/data/orca.pkl"))


@pytest.mark.parametrize(
    ("key", "now"),
    [
        ("dataset_shape: 1:2:3", "dataset.shape"),
        ("dataset_samples: 5", "dataset.samples"),
        ("dataset_seed: 5", "dataset.seed"),
        ("chat_template: true", "dataset.chat_template"),
        ("devices_per_replica: 2", "engine.devices_per_replica"),
        ("simulated: {first_token_ms: 5}", "engine, as in engine: {kind: simulated, first_token_ms: 5}"),
    ],
)
def test_a_key_that_moved_says_where_it_went(tmp_path: Path, key: str, now: str) -> None:
    name, value = key.split(": ", 1)
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, BASE + f"  {key}\n")
    assert f"case.yaml:11:3: harness_config.{name} is now harness_config.{now}" in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, BASE, f"harness_config.{name}={value}")
    assert str(caught.value).startswith(f"--set harness_config.{name}={value}: ")
    assert f"is now harness_config.{now}" in str(caught.value)


@pytest.mark.parametrize(
    ("engine", "made"),
    [
        ("", Vllm()),
        ("  engine: simulated\n", Simulated()),
        ("  engine: {kind: simulated, first_token_ms: 5}\n", Simulated(first_token_ms=5)),
        ("  engine: {kind: vllm, devices_per_replica: 2}\n", Vllm(devices_per_replica=2)),
        ("  engine: {devices_per_replica: 2}\n", Vllm(devices_per_replica=2)),
    ],
)
def test_an_engine_is_a_name_or_a_kind_with_its_keys(tmp_path: Path, engine: str, made: object) -> None:
    assert _load(tmp_path, BASE + engine).engine == made


# ---------------------------------------------------------------------- extends


def test_a_file_writes_its_differences_from_another(tmp_path: Path) -> None:
    config = _load(
        tmp_path,
        "extends: base.yaml\n"
        "llm_config: {max_num_seqs: 9, override_generation_config: {top_k: 5}}\n"
        "harness_config: {scenario: Server}\n",
    )
    assert config.llm_config == {
        "model": "/m", "max_num_seqs": 9, "override_generation_config": {"temperature": 1.0, "top_k": 5},
    }  # fmt: skip
    assert config.harness_config.scenario == "Server"
    assert config.harness_config.dataset == OpenOrca(path=Path("/data/orca.pkl"))
    assert "extends" not in dump_config(config)
    (tmp_path / "again.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "again.yaml") == config


def test_extends_is_relative_to_the_file_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "below").mkdir()
    _files(tmp_path, base=BASE, middle="extends: base.yaml\nllm_config: {max_num_seqs: 9}\n")
    (tmp_path / "below/case.yaml").write_text("extends: ../middle.yaml\nharness_config: {max_tokens: 9}\n")
    monkeypatch.chdir("/")
    config = load_config(tmp_path / "below/case.yaml", environment={})
    assert config.llm_config["max_num_seqs"] == 9 and config.harness_config.max_tokens == 9


@pytest.mark.parametrize(
    ("dataset", "made"),
    [
        ("{dataset: {kind: synthetic, shape: 1:2:3}}", Synthetic(shape="1:2:3")),
        ("{dataset_path: b.pkl}", OpenOrca(path=Path("b.pkl"))),
        ("{dataset: {samples: 3}}", OpenOrca(path=Path("/data/orca.pkl"), samples=3)),
        ("{dataset: jsonl, dataset_path: b}", Prompts(kind="jsonl", path=Path("b"))),
        ("{dataset: openorca}", OpenOrca(path=Path("/data/orca.pkl"))),
    ],
)
def test_of_another_kind_of_data_set_nothing_of_the_base_is_left(
    tmp_path: Path, dataset: str, made: object
) -> None:
    config = _load(tmp_path, f"extends: base.yaml\nharness_config: {dataset}\n")
    assert config.harness_config.dataset == made


@pytest.mark.parametrize(
    ("texts", "named"),
    [
        ({"case": "extends: case.yaml\n"}, ["case.yaml:1:1", "circle: case.yaml -> case.yaml"]),
        (
            {"case": "extends: b.yaml\n", "b": "\nextends: ../FOLDER/case.yaml\n"},
            ["b.yaml:2:1", "circle: case.yaml -> b.yaml -> case.yaml"],
        ),
        ({"case": "extends: none.yaml\n"}, ["case.yaml:1:1", "none.yaml: no such file", "relative"]),
        ({"case": "extends: [base.yaml]\n"}, ["case.yaml:1:1", "extends: base.yaml"]),
        ({"case": "extends:\n"}, ["case.yaml:1:1", "names one file"]),
        (
            {
                "case": "extends: n0.yaml\n",
                **{f"n{n}": f"extends: n{n + 1}.yaml\n" for n in range(9)},
                "n9": BASE,
            },
            ["n6.yaml:1:1", "more than 8 files"],
        ),
        ({"case": "extends: base.yaml\nextend: 3\n"}, ["case.yaml:2:1", "did you mean 'extends'"]),
        ({"case": "extends: b.yaml\n", "b": "- 1\n"}, ["b.yaml: expected the nodes"]),
    ],
)
def test_a_wrong_base_is_named(tmp_path: Path, texts: dict[str, str], named: list[str]) -> None:
    texts = {name: text.replace("FOLDER", tmp_path.name) for name, text in texts.items()}
    path = _files(tmp_path, base=BASE, **texts)
    with pytest.raises(ConfigError) as caught:
        load_config(path, environment={})
    for part in named:
        assert part in str(caught.value)


def test_mistakes_of_a_base_are_named_in_the_base(tmp_path: Path) -> None:
    text = "extends: base.yaml\nharness_config: {max_tokens: x}\n"
    path = _files(tmp_path, base=BASE.replace("benchmark", "benchmrk"), case=text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert f"{tmp_path}/base.yaml:6:3: unknown key harness_config.benchmrk" in str(caught.value)
    assert f"{tmp_path}/case.yaml:2:18: harness_config.max_tokens" in str(caught.value)


# ---------------------------------------------------------------------- overrides


@pytest.mark.parametrize(
    ("overrides", "made"),
    [
        (["dataset={kind: synthetic, shape: 1:2:3}"], Synthetic(shape="1:2:3")),
        (["dataset=synthetic", "dataset.shape=1:2:3"], Synthetic(shape="1:2:3")),
        (["dataset.shape=1:2:3", "dataset=synthetic"], Synthetic(shape="1:2:3")),
        (["dataset=synthetic", "dataset.shape=1:2:3", "dataset_path=null"], Synthetic(shape="1:2:3")),
        (["dataset_path=b.jsonl", "dataset=jsonl"], Prompts(kind="jsonl", path=Path("b.jsonl"))),
        (["dataset_path=b.pkl"], OpenOrca(path=Path("b.pkl"))),
        (["dataset=openorca"], OpenOrca(path=Path("/data/orca.pkl"))),
        (["dataset.samples=3"], OpenOrca(path=Path("/data/orca.pkl"), samples=3)),
        (["dataset.samples=3", "dataset.samples=null"], OpenOrca(path=Path("/data/orca.pkl"))),
    ],
)
def test_an_override_says_another_data_set_in_any_form_and_order(
    tmp_path: Path, overrides: list[str], made: object
) -> None:
    config = _load(tmp_path, BASE, *(f"harness_config.{text}" for text in overrides))
    assert config.harness_config.dataset == made


@pytest.mark.parametrize(
    ("overrides", "made"),
    [
        (["engine=simulated", "engine.first_token_ms=5"], Simulated(first_token_ms=5)),
        (["engine.first_token_ms=5", "engine=simulated"], Simulated(first_token_ms=5)),
        (["engine={kind: simulated, concurrent: 7}"], Simulated(concurrent=7)),
        (["engine=vllm"], Vllm(devices_per_replica=2)),
        (["engine.devices_per_replica=null"], Vllm()),
    ],
)
def test_an_override_says_another_engine_in_any_form_and_order(
    tmp_path: Path, overrides: list[str], made: object
) -> None:
    text = BASE + "  engine: {kind: vllm, devices_per_replica: 2}\n"
    assert _load(tmp_path, text, *(f"harness_config.{item}" for item in overrides)).engine == made


def test_the_value_of_an_override_replaces_what_was_there(tmp_path: Path) -> None:
    """`tests={TEST07: …}` must leave no other test with the samples that the file gives it."""
    own = "  tests: {accuracy: {dataset: jsonl, dataset_path: a}}\n"
    given: dict[str, Any] = _load(
        tmp_path, BASE + own, "harness_config.tests={TEST07: {dataset: jsonl, dataset_path: b}}"
    ).harness_config.tests
    assert set(given) == {"TEST07"}
    given = _load(tmp_path, BASE + own, "harness_config.tests.accuracy.dataset_path=b").harness_config.tests
    assert given["accuracy"].dataset == Prompts(kind="jsonl", path=Path("b"))


def test_a_mistake_in_an_override_is_named_by_the_override(tmp_path: Path) -> None:
    overrides = ["harness_config.max_tokens=x", "harness_config.dataset={kind: jsonl, pth: a}"]
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, BASE, *overrides)
    lines = str(caught.value).splitlines()
    assert f"--set {overrides[1]}: harness_config.dataset.path is missing, e.g. path: my.jsonl" in lines
    assert f"--set {overrides[1]}: unknown key harness_config.dataset.pth; did you mean 'path'?" in lines
    assert any(line.startswith(f"--set {overrides[0]}: harness_config.max_tokens: ") for line in lines)
