"""The only importer of `mlperf_loadgen`: LoadGen's Python binding with types and without its traps.

LoadGen reads its configuration once a process, cannot be aborted from Python, and dies with an
exception that leaves a callback; so this module is used by the loadgen process alone, once.
"""

from __future__ import annotations

import importlib.metadata
from array import array
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import mlperf_loadgen as lg
import numpy as np

from harness_llm.core import Mode, Scenario
from harness_llm.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


_MODES = {Mode.PERFORMANCE: lg.TestMode.PerformanceOnly, Mode.ACCURACY: lg.TestMode.AccuracyOnly}
_TOKEN_BYTES = 4


def version() -> str:
    """Version of the LoadGen wheel."""
    return importlib.metadata.version("mlcommons-loadgen")


def make_settings(model: str, scenario: Scenario, mode: Mode, user_conf: Path) -> Any:
    """LoadGen's TestSettings: its embedded mlperf.conf, then user.conf.

    Raises:
        ConfigError: LoadGen refused the file.
    """
    settings = lg.TestSettings()
    settings.scenario = getattr(lg.TestScenario, scenario.loadgen_name)
    status = settings.FromConfig(str(user_conf), model, scenario.loadgen_name)
    if status:
        raise ConfigError(f"{user_conf}: LoadGen refused it (FromConfig returned {status})")
    settings.scenario = getattr(lg.TestScenario, scenario.loadgen_name)
    settings.mode = _MODES[mode]
    return settings


def settings_fields(settings: Any) -> dict[str, int | float | bool | str]:
    """Every public field of TestSettings; enumerations by their name. Times as named there (ms or ns)."""
    fields: dict[str, int | float | bool | str] = {}
    for name in dir(settings):
        value = getattr(settings, name)
        if name.startswith("_") or callable(value):
            continue
        fields[name] = value if isinstance(value, int | float | bool) else str(getattr(value, "name", value))
    return fields


def run_test(
    settings: Any,
    *,
    sample_count: int,
    issue: Callable[[list[int], list[int]], None],
    flush: Callable[[], None],
    output_folder: Path,
    audit_conf: Path | None,
) -> None:
    """Run one test to its end; callbacks come on this thread, with LoadGen's (ids, sample indices).

    Args:
        settings: From `make_settings`.
        sample_count: Samples in the data set.
        issue: Must not raise.
        flush: Must not raise.
        output_folder: Where LoadGen writes its logs.
        audit_conf: An audit.config for a compliance test, or None.
    """
    outputs = lg.LogOutputSettings()
    outputs.outdir = str(output_folder)
    outputs.copy_summary_to_stdout = False
    log_settings = lg.LogSettings()
    log_settings.log_output = outputs
    log_settings.enable_trace = False
    performance_count = settings.performance_sample_count_override or sample_count
    qsl = lg.ConstructQSL(sample_count, min(performance_count, sample_count), _nothing, _nothing)
    sut = lg.ConstructFastSUT(issue, flush)
    # Given no name, LoadGen looks for "audit.config" in the current folder: name a file that is not there.
    audit = str(audit_conf if audit_conf is not None else output_folder / "no-audit.config")
    lg.StartTestWithLogSettings(sut, qsl, settings, log_settings, audit)
    lg.DestroyFastSUT(sut)
    lg.DestroyQSL(qsl)


def report_first_tokens(loadgen_ids: Sequence[int], tokens: Sequence[int]) -> None:
    """Tell LoadGen that the first token of these queries exists."""
    buffer = array("i", tokens)
    address, _ = buffer.buffer_info()
    lg.FirstTokenComplete(
        [
            lg.QuerySampleResponse(loadgen_id, address + place * _TOKEN_BYTES, _TOKEN_BYTES, 1)
            for place, loadgen_id in enumerate(loadgen_ids)
        ]
    )


def complete_samples(loadgen_ids: Sequence[int], answers: Sequence[bytes]) -> None:
    """Tell LoadGen that these queries are complete.

    Args:
        loadgen_ids: LoadGen's ids; an id may be completed only once (else LoadGen crashes).
        answers: All output tokens of each, packed int32; LoadGen copies them within the call where
            its mode wants them.
    """
    buffer = np.frombuffer(b"".join(answers), np.uint8)
    address = buffer.ctypes.data
    sizes = [len(answer) for answer in answers]
    starts = accumulate(sizes, initial=address)
    lg.QuerySamplesComplete(
        [
            lg.QuerySampleResponse(loadgen_id, start, size, size // _TOKEN_BYTES)
            for loadgen_id, start, size in zip(loadgen_ids, starts, sizes, strict=False)
        ]
    )


def _nothing(_: object) -> None:
    """LoadGen's load and unload callbacks: the sample table is in memory already."""
