"""What each test is told and expected to do."""

from __future__ import annotations

import pytest
from own_benchmark import CONF, Setup

from harness_llm.core import Mode
from harness_llm.errors import ConfigError
from harness_llm.run.prepare import prepare


def test_a_plan_says_what_will_run_in_which_order(setup: Setup) -> None:
    prepared = prepare([setup.config("Offline"), setup.config("Server")])
    assert [test.name for test in prepared.tests] == [
        "Offline/performance", "Offline/accuracy", "Server/performance", "Server/accuracy",
    ]  # fmt: skip
    offline, accuracy, server, answers = prepared.tests
    assert (offline.mode, accuracy.mode) == (Mode.PERFORMANCE, Mode.ACCURACY)
    assert (offline.expected, accuracy.expected, server.expected) == (110, 10, 100)
    assert (server.target_qps, server.ttft_limit_ms, server.tpot_limit_ms) == (7, 900, 90)
    for unjudged in (offline, accuracy, answers):
        assert (unjudged.ttft_limit_ms, unjudged.tpot_limit_ms) == (None, None)
    assert {test.loadgen_model for test in prepared.tests} == {"mine"}
    assert (prepared.benchmark.is_official, prepared.marker) == (False, "simulated, not a result")


def test_interactive_is_looked_up_under_its_own_model_name(setup: Setup) -> None:
    setup.conf.write_text(CONF + "mine-interactive.Server.target_qps = 2\n")
    (test,) = prepare([setup.config("Interactive")], ["performance"]).tests
    assert (test.loadgen_model, test.target_qps) == ("mine-interactive", 2)


def test_a_rule_that_a_newer_round_dropped_holds_still(setup: Setup) -> None:
    """llama2-70b-99 is not of v6.1: its limits and tests are those of the newest round that has it."""
    setup.conf.write_text("llama2-70b.Server.target_qps = 10\n")
    config = setup.config("Server", benchmark="llama2-70b-99")
    performance, compliance = prepare([config], ["performance", "TEST06"]).tests
    assert (performance.ttft_limit_ms, performance.tpot_limit_ms) == (2000, 200)
    assert compliance.audit_conf is not None
    assert (compliance.ttft_limit_ms, compliance.tpot_limit_ms) == (None, None)
    with pytest.raises(ConfigError, match=r"no test 'TEST09' in round v6.0"):
        prepare([config], ["TEST09"])
    with pytest.raises(ConfigError) as caught:
        prepare([config], ["performanc"])
    assert caught.value.remedy == "Did you mean performance? It has performance, accuracy, TEST06."
