"""The user.conf files of published LLM results, as `prepare` reads them.

PUBLISHED_RESULTS names checkouts of results repositories, set apart by colons.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness_llm.benchmark import loadgen_names, resolve
from harness_llm.config.user_conf import UserConf
from harness_llm.core import Scenario
from harness_llm.errors import ConfigError

PLACES = [Path(place) for place in os.environ.get("PUBLISHED_RESULTS", "").split(":") if place]
FAMILIES = (
    "llama2-70b", "llama3.1-8b", "llama3_1-8b", "llama3.1-405b", "llama3_1-405b", "mixtral", "deepseek-r1",
    "gpt-oss",
)  # fmt: skip

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not PLACES, reason="PUBLISHED_RESULTS names no checkouts of results, set apart by :"),
]


def test_what_submitters_used_is_taken_but_for_what_would_not_run_as_it_says() -> None:
    taken, refused = 0, []
    for path in (path for place in PLACES for path in sorted(place.glob("*/*/*/**/user.conf"))):
        benchmark = path.parent.parent.name
        scenario = next((each for each in Scenario if each.lower() == path.parent.name.lower()), None)
        if scenario is None or not benchmark.startswith(FAMILIES) or "edge" in benchmark:
            continue
        try:
            UserConf.read(path).validate(resolve(benchmark), [scenario], models=loadgen_names())
            taken += 1
        except ConfigError as error:
            refused += str(error).splitlines()
    assert taken > 100
    real = ("LoadGen would run at 1 query/s", "Interactive is LoadGen's Server under another model")
    assert not [line for line in refused if not any(fault in line for fault in real)]
    assert len(refused) <= taken // 50
