from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness_llm.config.load import dump_config, load_config
from harness_llm.errors import ConfigError

GOOD = """\
llm_config:
  model: /m
harness_config:
  benchmark: mine
  scenario: Server
  dataset: {kind: synthetic, shape: "10:4:4"}
  max_tokens: 8
"""
SYNTHETIC = '{kind: synthetic, shape: "10:4:4"}'


def _write(folder: Path, text: str) -> Path:
    path = folder / "case.yaml"
    path.write_text(text, encoding="utf-8")
    return path


# what is replaced in GOOD, by what, and what the error must name: place, key, what was found, what would do
BAD = {
    "unknown key with a near one": (
        "max_tokens: 8",
        "max_tokns: 8",
        [":7:3: unknown key harness_config.max_tokns", "'max_tokens'"],
    ),
    "unknown key with none near": (
        "max_tokens: 8",
        "max_tokens: 8\n  zzz: 1",
        [":8:3: unknown key harness_config.zzz", "benchmark"],
    ),
    "unknown top node": (
        "llm_config:",
        "llm_confg: {}\nllm_config:",
        [":1:1: unknown key llm_confg", "'llm_config'"],
    ),
    "unknown key of an engine": (
        "max_tokens: 8",
        "max_tokens: 8\n  engine: {kind: simulated, per_tok_ms: 1}",
        [":8:29: unknown key harness_config.engine.per_tok_ms", "'per_token_ms'"],
    ),
    "key of another engine": (
        "max_tokens: 8",
        "max_tokens: 8\n  engine: {kind: vllm, first_token_ms: 1}",
        [":8:24: harness_config.engine.first_token_ms does nothing here: it is a key of simulated"],
    ),
    "key of an engine beside it": (
        "max_tokens: 8",
        "max_tokens: 8\n  base_url: http://127.0.0.1:8000",
        [":8:3: unknown key harness_config.base_url", "did you mean 'engine: {kind: openai, base_urls: …}'?"],
    ),
    "unknown engine": (
        "max_tokens: 8",
        "max_tokens: 8\n  engine: vlm",
        [":8:3: harness_config.engine", "'vlm'", "did you mean 'vllm'"],
    ),
    "unknown key of a data set": (
        "shape:",
        "shapes: 3:3:3, shape:",
        [":6:30: unknown key harness_config.dataset.shapes", "'shape'"],
    ),
    "key of another kind of data set": (
        '"10:4:4"}',
        '"10:4:4", chat_template: false}',
        [":6:47: harness_config.dataset.chat_template does nothing here: it is a key of jsonl"],
    ),
    "unknown key of an optional node": (
        "max_tokens: 8",
        'max_tokens: 8\n  launcher: {kind: ray, adress: "h:1"}',
        [":8:25: unknown key harness_config.launcher.adress", "did you mean 'address'"],
    ),
    "unknown key deep in an engine": (
        "max_tokens: 8",
        "max_tokens: 8\n  engine: {kind: simulated, batching: {weight_ms: 1}}",
        [":8:40: unknown key harness_config.engine.batching.weight_ms", "did you mean 'weights_ms'"],
    ),
    "unknown key of a test's own samples": (
        "max_tokens: 8",
        "max_tokens: 8\n  tests: {accuracy: {max_token: 9, dataset: {kind: synthetic, shapes: 1}}}",
        [
            "unknown key harness_config.tests.accuracy.max_token; did you mean 'max_tokens'",
            "unknown key harness_config.tests.accuracy.dataset.shapes; did you mean 'shape'",
        ],
    ),
    "a port that there is not": (
        "max_tokens: 8",
        'max_tokens: 8\n  launcher: {kind: ray, address: "h:99999"}',
        [":8:25: harness_config.launcher.address: a port is a number from 1 to 65535, found 'h:99999'"],
    ),
    "missing key": ("  benchmark: mine\n", "", [":3:1: harness_config.benchmark is missing"]),
    "missing node": ("llm_config:\n  model: /m\n", "", ["case.yaml:1:1: llm_config is missing"]),
    "missing model": ("  model: /m", "  dtype: auto", [":1:1: llm_config.model", "/model/my-model"]),
    "empty model": ("  model: /m", "  model:", [":2:3: llm_config.model", "/model/my-model"]),
    "empty node": ("llm_config:\n  model: /m\n", "llm_config:\n", [":1:1: llm_config", "None"]),
    "wrong type": ("max_tokens: 8", "max_tokens: many", [":7:3: harness_config.max_tokens", "'many'"]),
    "one token": ("max_tokens: 8", "max_tokens: 1", [":7:3: harness_config.max_tokens", "found 1", "2"]),
    "unknown scenario": (
        "Server",
        "server",
        [":5:3: harness_config.scenario", "'server'", "'Server'", "'Interactive'"],
    ),
    "unknown data set": (
        "synthetic",
        "orca",
        [":6:3: harness_config.dataset", "'orca'", "humaneval, jsonl, oasst1, openorca"],
    ),
    "data set that is no name": (
        f"dataset: {SYNTHETIC}",
        "dataset: 7",
        ["harness_config.dataset", "found 7"],
    ),
    "path of a data set that is no name": (
        f"dataset: {SYNTHETIC}",
        "dataset: 7\n  dataset_path: x",
        [":6:3: harness_config.dataset: Input should be keys with values", "found 7"],
    ),
    "data set without a kind": ("kind: synthetic, ", "", [":6:3: harness_config.dataset.kind is missing"]),
    "min above max": (
        "max_tokens: 8",
        "max_tokens: 8\n  min_tokens: 9",
        [":8:3: harness_config.min_tokens: 9 is above max_tokens 8"],
    ),
    "backlog without Offline": (
        "max_tokens: 8",
        "max_tokens: 8\n  offline_backlog: 9",
        [":8:3: harness_config.offline_backlog: does nothing in scenario Server", "remove it"],
    ),
    "path for synthetic": (
        f"dataset: {SYNTHETIC}",
        f"dataset: {SYNTHETIC}\n  dataset_path: x",
        [
            ":7:3: harness_config.dataset_path does nothing here",
            "humaneval and jsonl and oasst1 and openorca",
        ],
    ),
    "path twice": (
        f"dataset: {SYNTHETIC}",
        "dataset: {kind: jsonl, path: x}\n  dataset_path: x",
        [":7:3: harness_config.dataset_path and harness_config.dataset.path are one; keep one"],
    ),
    "no shape": (
        ', shape: "10:4:4"',
        "",
        [":6:3: harness_config.dataset.shape is missing", "shape: 1000:128:64"],
    ),
    "no path": (SYNTHETIC, "jsonl", [":6:3: harness_config.dataset.path is missing", "path: my.jsonl"]),
    "benchmark that is no file name": ("mine", "../mine", ["harness_config.benchmark", "'../mine'"]),
    "port of the system": (
        "max_tokens: 8",
        "max_tokens: 8\n  port: 80",
        [":8:3: harness_config.port", "80", "1024"],
    ),
    "not a number": (
        "max_tokens: 8",
        "max_tokens: 8\n  silence_timeout_s: .nan",
        ["silence_timeout_s", "nan"],
    ),
    "key twice": (
        "max_tokens: 8",
        "max_tokens: 8\n  max_tokens: 9",
        [":8:3: key 'max_tokens' is given twice", "case.yaml:7:3; keep one"],
    ),
    "key that is no text": ("max_tokens: 8", "max_tokens: 8\n  7: 9", [":8:3: key 7 is not text"]),
    "key that is a switch": (
        "max_tokens: 8",
        "max_tokens: 8\n  on: 9",
        [":8:3: key on is not text", "quotes"],
    ),
    "key that is a list": ("max_tokens: 8", "max_tokens: 8\n  [a]: 9", [":8:3", "is not text"]),
    "merge key": ("max_tokens: 8", "max_tokens: 8\n  <<: {a: 9}", [":8:3: merge keys", "extends"]),
    "no YAML": ("llm_config:", "llm_config: [", ["case.yaml:", "not valid YAML"]),
    "a node within itself": ("  model: /m", "  model: &a [*a]", [":2:10: not valid YAML", "recursive"]),
    "an object tag": ("/m", "!!python/object/apply:os.getcwd []", [":2:3: llm_config.model", "os.getcwd"]),
    "a text with a tag": (
        "/m",
        "!!python/name:os.getcwd ''",
        [":2:3: llm_config.model", "python/name:os.getcwd"],
    ),
    "a number of 65 bits": ("/m", "9223372036854775808", [":2:3: llm_config.model", "64 bits"]),
    "a text with NUL": ("/m", '"a\\0b"', [":2:3: llm_config.model", "NUL"]),
    "half a character": ("/m", '"\\ud800"', [":2:3: llm_config.model", "half a character"]),
    "a key with NUL": ("max_tokens: 8", 'max_tokens: 8\n  "a\\0b": 9', [":8:3: key", "NUL"]),
    "a variable with =": (
        "max_tokens: 8",
        'max_tokens: 8\n  engine_env: {"A=B": x}',
        ["harness_config.engine_env.A=B", "is not the name of a variable"],
    ),
    "a variable without a name": (
        "max_tokens: 8",
        'max_tokens: 8\n  engine_env: {"": x}',
        ["harness_config.engine_env", "is not the name of a variable"],
    ),
    "a wait without end": (
        "max_tokens: 8",
        "max_tokens: 8\n  stall_timeout_s: 1.0e+300",
        [":8:3: harness_config.stall_timeout_s", "less than or equal to 31536000"],
    ),
    "true for a number": (
        "max_tokens: 8",
        "max_tokens: 8\n  replicas: true",
        [":8:3: harness_config.replicas: expected a number, found true"],
    ),
    "true for a number of an engine": (
        "max_tokens: 8",
        "max_tokens: 8\n  engine: {kind: simulated, first_token_ms: true}",
        ["harness_config.engine.first_token_ms: expected a number, found true"],
    ),
    "true for a number of a test": (
        "max_tokens: 8",
        "max_tokens: 8\n  tests: {accuracy: {dataset: {kind: synthetic, shape: 9:4:5, seed: true}}}",
        ["harness_config.tests.accuracy.dataset.seed: expected a number, found true"],
    ),
    "more tokens than 32 bits count": (
        "max_tokens: 8",
        "max_tokens: 4294967296",
        ["max_tokens", "2147483648"],
    ),
    "a day that is not": ("/m", "2026-13-45", [":2:3: llm_config.model", "2026-13-45", "quotes"]),
    "variable that is not set": (
        "/m",
        "${ANYWHERE}/m",
        [":2:3: llm_config.model", "ANYWHERE", "export", ":-default"],
    ),
    "variables that make a text without end": (
        "/m",
        ("${ANYWHERE:-" + "x" * 1000 + "}") * 101,
        [":2:3: llm_config.model", "longer than 100,000 characters"],
    ),
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
    lines = [line.removeprefix(str(tmp_path / "case.yaml:")) for line in str(caught.value).splitlines()]
    assert [line[: line.index(": ")] for line in lines] == ["3:1", "4:3", "7:3"]
    assert [word in line for word, line in zip(("missing", "benchmrk", "'x'"), lines, strict=True)] == [
        True
    ] * 3


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
        (".inf", "llm_config.a: inf is not a finite number"),
        ("[1, -.inf]", r"llm_config.a\[1\]: -inf"),
        ("{b: {c: .nan}}", "llm_config.a.b.c: nan"),
        ("2026-11-21", "llm_config.a: a date; write it in quotes"),
        ("!!set {x}", "llm_config.a: a set"),
        ("!!binary aGk=", "llm_config.a: a bytes"),
    ],
)
def test_an_engine_argument_that_json_has_no_form_for_is_refused(
    tmp_path: Path, value: str, named: str
) -> None:
    """Such a value would reach the engine, and the record of the run, as something else."""
    with pytest.raises(ConfigError, match=named):
        load_config(_write(tmp_path, GOOD), [f"llm_config.a={value}"])


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
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
        "harness_config.engine={kind: simulated, first_token_ms: 1}",
        "harness_config.engine.devices_per_replica=2",
    ):
        assert load_config(path, [other]).engine_key != key
