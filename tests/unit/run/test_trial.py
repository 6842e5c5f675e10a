"""What an engine's own classes say of llm_config before anything is loaded."""

from __future__ import annotations

import json
import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from harness_llm.engines.vllm_kind import Vllm
from harness_llm.errors import ConfigError
from harness_llm.run.trial import try_engines

if TYPE_CHECKING:
    from own_benchmark import Setup


def _answers(monkeypatch: pytest.MonkeyPatch, text: str) -> list[dict[str, Any]]:
    asked: list[dict[str, Any]] = []

    def run(command: list[str], *, input: str, **_: Any) -> SimpleNamespace:  # noqa: A002 - subprocess's name
        assert command[1:] == ["-m", Vllm.trial]
        asked.append(json.loads(input))
        return SimpleNamespace(stdout=text)

    monkeypatch.setattr(subprocess, "run", run)
    return asked


def test_every_problem_is_named_with_its_key(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    configs = [
        setup.config(
            "Server",
            {"dtype": "x", "model": str(setup.folder)},
            engine="vllm",
            engine_env={"VLLM_A": "x"},
        ),
        setup.config("Offline"),
    ]
    answer = {
        "problems": {"dtype": "no", "compilation_config.mode": "nor this", "": "and so on"},
        "variables": {"VLLM_A": "not that", "VLLM_B": "nor that"},
        "note": "",
    }
    asked = _answers(monkeypatch, f"vLLM's own words\n{json.dumps(answer)}\n")
    with pytest.raises(ConfigError) as caught:
        try_engines(configs, [lambda key: f"my.yaml of {key}", str])
    for line in (
        "llm_config.dtype: no",
        "llm_config.compilation_config.mode: nor this",
        "llm_config: and so on",
        "harness_config.engine_env.VLLM_A: not that",
    ):
        assert f"my.yaml of {line.partition(': ')[0]}: {line}" in caught.value.message
    assert "\nVLLM_B, exported in the shell: nor that" in caught.value.message
    assert asked == [dict(configs[0].llm_config)], "the simulated engine has nothing to say"


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ('{"problems": {}, "variables": {}, "note": "no card"}', ["no card"]),
        ('{"problems": {}, "variables": {}, "note": ""}', []),
        (
            "Killed",
            ["vllm could not be asked about llm_config: harness_llm.engines.vllm_trial gave no answer"],
        ),
    ],
)
def test_what_could_not_be_asked_is_a_note(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, text: str, note: list[str]
) -> None:
    _answers(monkeypatch, text)
    config = setup.config("Server", engine="vllm", llm={"model": str(setup.folder)})
    assert try_engines([config], [str]) == note
