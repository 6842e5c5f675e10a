"""Finds the rate at which a test is asked, by what this machine holds right before it.

Only for an unofficial benchmark that is to run on machines of any speed.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from harness_llm.config.user_conf import UserConf, parse_conf
from harness_llm.core import Mode, Scenario
from harness_llm.errors import EngineError
from harness_llm.fleet.fleet import Fleet
from harness_llm.fleet.measurement import TestResult
from harness_llm.results.events import read_events
from harness_llm.results.observed import RateRecord
from harness_llm.results.paths import EVENTS_NPY
from harness_llm.results.run_folder import RunFolder
from harness_llm.run.plan import expected_queries
from harness_llm.transport.spec import LoadgenTest

LOOP = "rate"
"""Folder of the closed loop, beside the tests of its scenario."""

_SAMPLES = 64
_LOOP_CONF = """\
# A closed loop: as many samples at once as the engine takes.
{model}.Offline.target_qps = 1
{model}.Offline.min_duration = 0
{model}.Offline.min_query_count = {samples}
"""


def at_measured_rate(
    fleet: Fleet, folder: RunFolder, test: LoadgenTest, share: float, say: Callable[[str], None]
) -> LoadgenTest:
    """The test at a share of the rate that the loaded engines hold.

    The rate is measured once for a scenario, and kept in run.json: all its tests have the same, and so have
    those of a run that is continued.

    Args:
        fleet: The engines, loaded.
        folder: The run's folder.
        test: A test; its samples must be a file.
        share: Of the rate that a closed loop holds.
        say: Tells people what was found.

    Raises:
        RunBroken: The closed loop broke.
    """
    scenario = str(test.scenario)
    found = folder.rates.get(scenario)
    if found is None:
        loop = fleet.measure(_closed_loop(test), folder.path / scenario / LOOP)
        found = _rate(loop, share)
        folder.measured_rate(scenario, found)
        say(f"{scenario}: {found} (unofficial)")
    asked = test.with_qps(found.target_qps)
    note = f"# unofficial: {found}\n"
    asked = msgspec.structs.replace(asked, user_conf=asked.user_conf + note)
    if test.mode is Mode.ACCURACY:
        return msgspec.structs.replace(asked, expected=test.expected)
    settings = UserConf(folder.path, tuple(parse_conf(asked.user_conf)[0])).settings_for(
        test.loadgen_model, test.scenario
    )
    return msgspec.structs.replace(asked, expected=expected_queries(asked, settings))


def _closed_loop(test: LoadgenTest) -> LoadgenTest:
    """Offline, which asks everything at once, on the test's samples."""
    return msgspec.structs.replace(
        test,
        name=f"{test.scenario}/{LOOP}",
        scenario=Scenario.OFFLINE,
        mode=Mode.PERFORMANCE,
        user_conf=_LOOP_CONF.format(model=test.loadgen_model, samples=_SAMPLES),
        target_qps=1.0,
        expected=_SAMPLES,
        ttft_limit_ms=None,
        tpot_limit_ms=None,
    )


def _rate(loop: TestResult, share: float) -> RateRecord:
    """What the loop held, from its first question to its last answer."""
    events = read_events(loop.folder / EVENTS_NPY)
    seconds = (int(events["finished_ns"].max()) - int(events["issued_ns"].min())) / 1e9
    if seconds <= 0:
        raise EngineError(f"{loop.test.name}: {len(events)} samples took no time")
    held = len(events) / seconds
    return RateRecord(
        target_qps=float(f"{share * held:.3g}"),
        share=share,
        held_samples_per_s=held,
        held_tokens_per_s=int(events["tokens"].sum()) / seconds,
        samples=len(events),
        seconds=seconds,
    )
