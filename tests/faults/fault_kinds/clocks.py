"""The system clock, by which LoadGen measures, is set while LoadGen asks."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fault_kinds.fault import Fault, Seen

if TYPE_CHECKING:
    from collections.abc import Callable

    from fault_kinds.rig import Rig

_AREA = "The system clock is set"
_SOURCE = Path(__file__).parents[2] / "integration/clock_step.c"


def _clock(rig: Rig) -> Path:
    """A file: the seconds in it are added to the system clock of the rig's processes."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler, and only C can step the clock that LoadGen reads")
    library, step = rig.folder / "clock_step.so", rig.folder / "step"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, _SOURCE], check=True)
    step.write_text("0")
    rig.environment |= {"LD_PRELOAD": str(library), "CLOCK_STEP": str(step)}
    return step


def stepped(seconds: float, scenario: str, test: str, *more: str) -> Callable[[Rig], Seen]:
    """While LoadGen asks."""

    def provoke(rig: Rig) -> Seen:
        step = _clock(rig)
        rig.conf = rig.conf.replace("120000", "4000").replace("= 1000", "= 4000").replace("t = 500", "t = 50")
        rig.start(rig.run_arguments(scenario, *more))
        rig.wait_until(lambda: rig.is_answered(f"{scenario}/{test}"))
        step.write_text(str(seconds))
        return rig.finish()

    return provoke


_lost = functools.partial(Fault, _AREA, code=1, within_s=15, state="abandoned")

FAULTS = (
    _lost("6 s back, Offline", stepped(-6, "Offline", "performance"), says=("was set by -6.000 s",)),
    _lost("6 s back, Server", stepped(-6, "Server", "performance"), says=("was set by -6.000 s",)),
    _lost(
        "an hour forward, Server", stepped(3600, "Server", "performance"), says=("was set by +3600.000 s",)
    ),
    _lost("20 ms back, Server", stepped(-0.02, "Server", "performance"), says=("was set by -0.020 s",)),
    Fault(
        _AREA,
        "6 s back, Offline, measured to its end",
        stepped(-6, "Offline", "performance", "--no-early-end"),
        1,
        ("was set by -6.000 s", "the harness"),
        30,
        "complete",
    ),
)
