from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness_llm.config.load import dump_config, load_config
from harness_llm.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
llm_config:
  model: /m
harness_config:
  benchmark: mine
  scenario: Server
  dataset: synthetic
  dataset_shape: "10:4:4"
  max_tokens: 8
"""


def _write(folder: Path, text: str) -> Path:
    path = folder / "case.yaml"
    path.write_text(text, encoding="utf-8")
    return path


# what is replaced in GOOD, by what, and what the error must name: the key, what was found, what would do
BAD = {
    "unknown key with a near one": (
        "max_tokens: 8",
        "max_tokns: 8",
        ["harness_config.max_tokns", "'max_tokens'"],
    ),
    "unknown key with none near": (
        "max_tokens: 8",
        "max_tokens: 8\n  zzz: 1",
        ["harness_config.zzz", "benchmark"],
    ),
    "unknown top node": ("llm_config:", "llm_confg: {}\nllm_config:", ["llm_confg", "'llm_config'"]),
    "unknown key under simulated": (
        "max_tokens: 8",
        "max_tokens: 8\n  simulated: {per_tok_ms: 1}",
        ["harness_config.simulated.per_tok_ms", "'per_token_ms'"],
    ),
    "missing key": ("  benchmark: mine\n", "", ["harness_config.benchmark", "missing"]),
    "missing node": ("llm_config:\n  model: /m\n", "", ["llm_config", "missing"]),
    "missing model": ("  model: /m", "  dtype: auto", ["llm_config.model", "/model/my-model"]),
    "empty model": ("  model: /m", "  model:", ["llm_config.model", "/model/my-model"]),
    "empty node": ("llm_config:\n  model: /m\n", "llm_config:\n", ["llm_config", "None"]),
    "wrong type": ("max_tokens: 8", "max_tokens: many", ["harness_config.max_tokens", "'many'"]),
    "one token": ("max_tokens: 8", "max_tokens: 1", ["harness_config.max_tokens", "found 1", "2"]),
    "unknown scenario": (
        "Server",
        "server",
        ["harness_config.scenario", "'server'", "'Server'", "'Interactive'"],
    ),
    "unknown data set": ("synthetic\n", "orca\n", ["harness_config.dataset", "'orca'", "'openorca'"]),
    "min above max": ("max_tokens: 8", "max_tokens: 8\n  min_tokens: 9", ["min_tokens 9", "max_tokens 8"]),
    "shape without synthetic": (
        "dataset: synthetic",
        "dataset: jsonl\n  dataset_path: x",
        ["dataset_shape is for dataset synthetic"],
    ),
    "path for synthetic": (
        '"10:4:4"',
        '"10:4:4"\n  dataset_path: x',
        ["takes dataset_shape, not dataset_path"],
    ),
    "no shape": ('  dataset_shape: "10:4:4"\n', "", ["needs dataset_shape", "1000:128:64"]),
    "no path": ('synthetic\n  dataset_shape: "10:4:4"', "jsonl", ["dataset jsonl needs dataset_path"]),
    "benchmark that is no file name": ("mine", "../mine", ["harness_config.benchmark", "'../mine'"]),
    "port of the system": (
        "max_tokens: 8",
        "max_tokens: 8\n  port: 80",
        ["harness_config.port", "80", "1024"],
    ),
    "not a number": (
        "max_tokens: 8",
        "max_tokens: 8\n  silence_timeout_s: .nan",
        ["silence_timeout_s", "nan"],
    ),
    "key twice": ("max_tokens: 8", "max_tokens: 8\n  max_tokens: 9", ["'max_tokens'", "twice", "line 9"]),
    "key that is no text": ("max_tokens: 8", "max_tokens: 8\n  7: 9", ["key 7 is not text"]),
    "key that is a list": ("max_tokens: 8", "max_tokens: 8\n  [a]: 9", ["is not text"]),
    "no YAML": ("llm_config:", "llm_config: [", ["not valid YAML"]),
    "a node within itself": ("  model: /m", "  model: &a [*a]", ["not valid YAML", "recursive"]),
    "an object tag": ("/m", "!!python/object/apply:os.getcwd []", ["not valid YAML", "python/object"]),
    "unset variable": ("/m", "${NOT_SET_ANYWHERE}/m", ["NOT_SET_ANYWHERE", "export", ":-default"]),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_named_with_file_key_value_and_remedy(tmp_path: Path, case: str) -> None:
    old, new, named = BAD[case]
    assert GOOD.count(old) == 1
    path = _write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load_config(path, environment={})
    assert caught.value.exit_code == 2
    for part in ["case.yaml", *named]:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [("", "NoneType"), ("- a\n- b", "list"), ("just words", "str"), ("\x00", "not valid YAML")],
)
def test_a_file_that_holds_no_nodes(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_config(_write(tmp_path, text))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such configuration file"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"llm_config: \xe9\xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "latin.yaml")


def test_several_mistakes_are_named_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("max_tokens: 8", "max_tokens: x").replace("benchmark: mine", "benchmrk: mine")
    with pytest.raises(ConfigError) as caught:
        load_config(_write(tmp_path, text))
    assert len(str(caught.value).splitlines()) == 3  # max_tokens, benchmark missing, benchmrk unknown


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("max_tokens=4", "llm_config. or harness_config."),
        ("harness_config.max_tokens", "key=value"),
        ("=4", "key=value"),
        ("harness_config..x=4", "key=value"),
        ("harness_config.max_tokens.x=4", "holds a value"),
        ("harness_config.max_tokens=[", "not valid YAML"),
        ("harness_config.max_token=4", "'max_tokens'"),
    ],
)
def test_a_mistaken_override(tmp_path: Path, override: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(_write(tmp_path, GOOD), [override])
    assert "--set" in str(caught.value)
    assert named in str(caught.value)


def test_overrides_are_read_as_yaml_and_the_last_wins(tmp_path: Path) -> None:
    sets = ["harness_config.max_tokens=9", "harness_config.max_tokens=10", "llm_config.a.b=[1, x]"]
    config = load_config(_write(tmp_path, GOOD), sets)
    assert config.harness_config.max_tokens == 10
    assert config.llm_config == {"model": "/m", "a": {"b": [1, "x"]}}


def test_variables_are_replaced_within_texts_alone(tmp_path: Path) -> None:
    text = GOOD.replace("/m\n", "${A}/${B:-b}/${C:-}\n  n: 3\n  l: ['${A}', 4]\n")
    config = load_config(_write(tmp_path, text), environment={"A": "one", "B": ""})
    assert config.llm_config == {"model": "one/b/", "n": 3, "l": ["one", 4]}


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (".inf", "llm_config: a is inf, no finite number"),
        ("[1, -.inf]", r"a\[1\] is -inf"),
        ("{b: {c: .nan}}", "a.b.c is nan"),
        ("2026-11-21", "a is a date; write it in quotes"),
        ("!!set {x}", "a is a set"),
        ("!!binary aGk=", "a is a bytes"),
    ],
)
def test_an_engine_argument_that_json_has_no_form_for_is_refused(
    tmp_path: Path, value: str, named: str
) -> None:
    """Such a value would reach the engine, and the record of the run, as something else."""
    with pytest.raises(ConfigError, match=named):
        load_config(_write(tmp_path, GOOD), [f"llm_config.a={value}"])


OWN = "harness_config.tests={TEST07: {dataset: jsonl, dataset_path: a.jsonl}}"


def test_a_test_may_have_samples_of_its_own(tmp_path: Path) -> None:
    path = _write(tmp_path, GOOD)
    config = load_config(path, [OWN, "harness_config.tests.TEST07.max_tokens=77"])
    own = config.harness_config.tests["TEST07"]
    assert (own.dataset, str(own.dataset_path), own.max_tokens) == ("jsonl", "a.jsonl", 77)
    assert load_config(_write(tmp_path, dump_config(config))) == config
    assert load_config(_write(tmp_path, GOOD)).harness_config.tests == {}


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("harness_config.tests={performance: {dataset: jsonl, dataset_path: a}}", "no test 'performance'"),
        (
            "harness_config.tests={TEST7: {dataset: jsonl, dataset_path: a}}",
            "known: accuracy, TEST06",
        ),
        ("harness_config.tests={TEST07: {dataset: jsonl}}", "TEST07: dataset jsonl needs dataset_path"),
        ("harness_config.tests={TEST07: {dataset: synthetic}}", "needs dataset_shape"),
        (OWN.replace("a.jsonl", "a.jsonl, dataset_shape: '1:2:3'"), "dataset_shape is for dataset synthetic"),
        (OWN.replace("dataset_path", "dataset_pth"), "did you mean 'dataset_path'"),
        (OWN.replace("a.jsonl", "a.jsonl, max_tokens: 1"), "max_tokens"),
        ("harness_config.tests=[TEST07]", "harness_config.tests"),
    ],
)
def test_a_wrong_entry_of_tests_is_named(tmp_path: Path, override: str, named: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(named)):
        load_config(_write(tmp_path, GOOD), [override])


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("abc ${}:#'\"\n-é"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("xyz", min_size=1), inner, max_size=3)
    ),
    max_leaves=8,
).filter(lambda value: "${" not in repr(value))


@given(llm=st.dictionaries(st.text("abc_", min_size=1), _values, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_what_is_dumped_is_read_back_equal(tmp_path: Path, llm: dict[str, object]) -> None:
    document = yaml.safe_load(GOOD)
    document["llm_config"] = {**llm, "model": "/m"}
    config = load_config(_write(tmp_path, yaml.safe_dump(document)))
    again = load_config(_write(tmp_path, dump_config(config)))
    assert again == config
    assert again.engine_key == config.engine_key


def test_engine_key_separates_what_needs_other_replicas(tmp_path: Path) -> None:
    path = _write(tmp_path, GOOD)
    key = load_config(path).engine_key
    for same in (
        "harness_config.scenario=Offline",
        "harness_config.max_tokens=4",
        "harness_config.benchmark=x",
    ):
        assert load_config(path, [same]).engine_key == key
    for other in (
        "llm_config.model=/n",
        "harness_config.replicas=2",
        "harness_config.engine=simulated",
        "harness_config.engine_env={A: b}",
        "harness_config.simulated={first_token_ms: 1}",
    ):
        assert load_config(path, [other]).engine_key != key
