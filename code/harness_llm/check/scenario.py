"""Every check of one benchmark in one scenario, in the order in which a reader wants them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from harness_llm.check.accuracy import ACCURACY_CHECKS
from harness_llm.check.case import Case, relative
from harness_llm.check.compliance import COMPLIANCE_CHECKS
from harness_llm.check.judgement import Check, guarded
from harness_llm.check.latency import LATENCY_CHECKS
from harness_llm.check.own_events import EVENT_CHECKS
from harness_llm.check.performance import PERFORMANCE_CHECKS
from harness_llm.check.scores import SCORE_CHECKS
from harness_llm.check.settings_checks import SETTINGS_CHECKS
from harness_llm.core import Mode


def scenario_checks(case: Case) -> Iterator[Check]:
    """The checks that apply to a case: of its modes, its compliance runs and its user.conf."""
    areas: list[tuple[str, tuple[Callable[[Case], Iterable[Check]], ...]]] = [("conf", SETTINGS_CHECKS)]
    if Mode.PERFORMANCE in case.modes:
        # Without a readable log there is one fault, not forty.
        readable = bool(case.detail.values)
        areas.append(("performance", PERFORMANCE_CHECKS if readable else PERFORMANCE_CHECKS[:2]))
        areas.append(("latency", LATENCY_CHECKS if readable else ()))
        areas.append(("events", EVENT_CHECKS if readable else ()))
    if Mode.ACCURACY in case.modes:
        areas.append(("accuracy", (*ACCURACY_CHECKS, *SCORE_CHECKS)))
    areas.append(("compliance", COMPLIANCE_CHECKS))
    for area, functions in areas:
        for function in functions:
            yield from guarded(area, relative(case.folder, case.root), partial(function, case))
