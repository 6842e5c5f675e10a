"""Environment variables of the engine, as they are written in YAML and with --set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness_llm.config.load import load_config
from harness_llm.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

YAML = """
llm_config: {}
harness_config:
  benchmark: mine
  scenario: Offline
  engine: simulated
  dataset: {kind: synthetic, shape: 8:4:4}
  max_tokens: 4
"""


def _env(tmp_path: Path, *overrides: str, written: str = "") -> dict[str, str]:
    path = tmp_path / "mine.yaml"
    path.write_text(YAML + (f"  engine_env: {written}\n" if written else ""))
    return load_config(path, overrides=overrides, environment={}).harness_config.engine_env


def test_a_number_needs_no_quotes(tmp_path: Path) -> None:
    assert _env(tmp_path, "harness_config.engine_env.X=2048") == {"X": "2048"}
    assert _env(tmp_path, written='{A: 0, B: 0.5, C: "1", D: text}') == {
        "A": "0", "B": "0.5", "C": "1", "D": "text",
    }  # fmt: skip


@pytest.mark.parametrize(("value", "quoted"), [("true", '"1"'), ("yes", '"on"'), ("no", '"0"')])
def test_a_truth_value_is_refused_with_forms_that_work(tmp_path: Path, value: str, quoted: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _env(tmp_path, written=f"{{X: {value}}}")
    assert f"X: {quoted}" in str(caught.value)
    assert _env(tmp_path, written=f"{{X: {quoted}}}") == {"X": quoted.strip('"')}


@pytest.mark.parametrize("value", ["on", "off", "true", "No"])
def test_on_a_command_line_a_word_is_the_text_that_it_is(tmp_path: Path, value: str) -> None:
    assert _env(tmp_path, f"harness_config.engine_env.X={value}") == {"X": value}


@pytest.mark.parametrize("written", ["[1]", "{X: [1]}", "{X: null}", "text"])
def test_anything_else_is_refused(tmp_path: Path, written: str) -> None:
    with pytest.raises(ConfigError, match="engine_env"):
        _env(tmp_path, written=written)
