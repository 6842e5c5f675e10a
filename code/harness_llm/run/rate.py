"""Finds the rate at which a test is asked, by what this machine holds right before it.

Only for an unofficial benchmark that is to run on machines of any speed, beside whatever else they do.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from harness_llm.config.user_conf import UserConf, parse_conf
from harness_llm.core import Mode, Scenario
from harness_llm.errors import EngineError
from harness_llm.fleet.fleet import Fleet
from harness_llm.fleet.measurement import TestResult
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.early_stopping import min_queries
from harness_llm.logs.source import DETAIL_LOG
from harness_llm.results.advice import is_hopeless
from harness_llm.results.events import read_events
from harness_llm.results.observed import RateRecord
from harness_llm.results.paths import EVENTS_NPY
from harness_llm.results.run_folder import RunFolder, TestFolder
from harness_llm.run.plan import expected_queries
from harness_llm.transport.spec import LoadgenTest

LOOP = "rate"
"""Folder of the closed loop, beside the tests of its scenario."""

_SAMPLES = 64
_TRIES = 3
_LESS = 0.7
"""Of the share before, what a further try gets: others may take more than while the loop ran."""
_LOOP_CONF = """\
# A closed loop: as many samples at once as the engine takes.
{model}.Offline.target_qps = 1
{model}.Offline.min_duration = 0
{model}.Offline.min_query_count = {samples}
"""


class HeldRate:
    """Measures the tests of a scenario at a share of the rate that the loaded engines hold.

    The rate is kept in run.json: all tests of the scenario have the same, and so have those of a run that is
    continued. A performance test that was too fast for what the machine held meanwhile is kept aside, and
    asked again at less, with room for one more sample over a limit.

    Args:
        fleet: The engines, loaded.
        folder: The run's folder.
        share: Of the rate that a closed loop holds.
        say: Tells people what was found.
    """

    def __init__(self, fleet: Fleet, folder: RunFolder, share: float, say: Callable[[str], None]) -> None:
        self._fleet, self._folder, self._share, self._say = fleet, folder, share, say

    def measure(
        self, test: LoadgenTest, path: Path, measure: Callable[[Fleet, LoadgenTest, Path], TestResult]
    ) -> TestResult:
        """Measure a test, whose samples must be a file, with `measure`.

        Raises:
            RunBroken: The closed loop or the test broke.
        """
        rate = self._folder.rates.get(str(test.scenario)) or self._measured(test, 1)
        while True:
            result = measure(self._fleet, _asked_at(test, rate), path)
            why = _too_fast(result)
            if not why or rate.tries >= _TRIES:
                return result
            self._say(f"{test.name}: {why}; asked again at a lower rate, try {rate.tries + 1} of {_TRIES}")
            rate = self._measured(test, rate.tries + 1)

    def _measured(self, test: LoadgenTest, tries: int) -> RateRecord:
        scenario = str(test.scenario)
        loop = self._fleet.measure(_closed_loop(test), self._folder.path / scenario / LOOP)
        found = _rate(loop, self._share * _LESS ** (tries - 1), tries)
        self._folder.measured_rate(scenario, found)
        self._say(f"{scenario}: {found} (unofficial)")
        return found


def _asked_at(test: LoadgenTest, rate: RateRecord) -> LoadgenTest:
    asked = test.with_qps(rate.target_qps)
    if test.mode is Mode.ACCURACY:
        return msgspec.structs.replace(_noted(asked, rate), expected=test.expected)
    settings = _settings(asked)
    if rate.tries > 1:
        least = max(int(settings.get("min_query_count", 0)), min_queries(rate.tries - 1))
        asked = asked.with_setting("min_query_count", least)
        settings = _settings(asked)
    return msgspec.structs.replace(_noted(asked, rate), expected=expected_queries(asked, settings))


def _settings(test: LoadgenTest) -> dict[str, int | float]:
    conf = UserConf(Path("user.conf"), tuple(parse_conf(test.user_conf)[0]))
    return conf.settings_for(test.loadgen_model, test.scenario)


def _noted(test: LoadgenTest, rate: RateRecord) -> LoadgenTest:
    return msgspec.structs.replace(test, user_conf=f"{test.user_conf}# unofficial: {rate}\n")


def _too_fast(result: TestResult) -> str:
    """Why a performance test is asked again at a lower rate; empty where it is VALID, or that cannot help."""
    if result.test.mode is not Mode.PERFORMANCE:
        return ""
    why = result.reason
    if result.state != "abandoned":
        is_invalid = DetailLog.read(result.folder / DETAIL_LOG).is_valid is False
        why = "LoadGen says INVALID" if is_invalid else ""
    return "" if not why or is_hopeless(result.folder) else why


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


def _rate(loop: TestResult, share: float, tries: int) -> RateRecord:
    """What the loop held, from its first question to its last answer, and what others held meanwhile."""
    events = read_events(loop.folder / EVENTS_NPY)
    seconds = (int(events["finished_ns"].max()) - int(events["issued_ns"].min())) / 1e9
    if seconds <= 0:
        raise EngineError(f"{loop.test.name}: {len(events)} samples took no time")
    held = len(events) / seconds
    others = TestFolder(loop.folder).record().others
    return RateRecord(
        target_qps=float(f"{share * held:.3g}"),
        share=share,
        held_samples_per_s=held,
        held_tokens_per_s=int(events["tokens"].sum()) / seconds,
        samples=len(events),
        seconds=seconds,
        tries=tries,
        others=others.told if others is not None else "",
    )
