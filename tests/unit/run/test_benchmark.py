"""A run resolves its benchmark once, by whatever name the user gives it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from own_benchmark import OFFICIAL, Setup, synthetic

import harness_llm
from harness_llm import rules
from harness_llm.errors import ConfigError
from harness_llm.run import prepare as prepare_module
from harness_llm.run.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

LOOKUPS = ("lookup", "is_official", "loadgen_model", "rounds_of")
ROOMS = ("run", "views", "cli")
SOURCE = Path(harness_llm.__file__).parent


def test_one_prepare_looks_the_rules_up_once(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    setup.conf.write_text(OFFICIAL)
    configs = [setup.config(scenario, benchmark="gpt-oss-120b") for scenario in ("Offline", "Server")]
    calls: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            calls[name] += 1
            return function(*arguments)

        return call

    for name in LOOKUPS:
        monkeypatch.setattr(rules, name, counted(name, getattr(rules, name)))
    monkeypatch.setattr(prepare_module, "resolve", counted("resolve", prepare_module.resolve))
    assert prepare(configs, ["performance", "accuracy", "TEST09"]).benchmark.is_official
    assert calls == {"resolve": 1, "lookup": 1, "rounds_of": 1}


def test_nothing_on_the_way_of_a_run_asks_the_table_by_name() -> None:
    files = [path for room in ROOMS for path in (SOURCE / room).rglob("*.py")]
    assert len(files) > 20
    asked = re.compile(rf"rules\.({'|'.join(LOOKUPS)})\(")
    assert not [path for path in files if asked.search(path.read_text())]


@pytest.mark.parametrize("test", ["performance", "accuracy"])
def test_a_name_that_people_use_runs_as_the_official_benchmark(setup: Setup, test: str) -> None:
    """`llama2-70b` is LoadGen's name, too: it judges by its own limits and loads 24,576 samples."""
    setup.conf.write_text("llama2-70b.Server.target_qps = 2000\nllama2-70b.Server.min_duration = 1000\n")
    given = {"dataset": synthetic("24576:4:4"), "max_tokens": 300}
    prepared, right = (
        prepare([setup.config("Server", benchmark=name, **given)], [test])
        for name in ("llama2-70b", "llama2-70b-99.9")
    )
    assert prepared.benchmark.name == "llama2-70b-99.9"
    assert prepared.configs == right.configs and prepared.fingerprint == right.fingerprint
    (planned,) = prepared.tests
    limits = (2000, 200) if test == "performance" else (None, None)
    assert (planned.expected, planned.ttft_limit_ms, planned.tpot_limit_ms) == (24576, *limits)
    assert prepared.notes[0].startswith("benchmark llama2-70b: taken as llama2-70b-99.9")
    assert not [note for note in prepared.notes if "its own default" in note]
    assert not [note for note in right.notes if "taken as" in note]


def test_a_user_conf_under_a_name_that_loadgen_does_not_know_is_refused(setup: Setup) -> None:
    """LoadGen would ignore the line, whatever this harness makes of the name."""
    setup.conf.write_text("gpt-oss-120B.Offline.target_qps = 5\n")
    with pytest.raises(ConfigError, match="Did you mean `gpt-oss-120b`"):
        prepare([setup.config("Offline", benchmark="gpt-oss-120B")], ["performance"])
