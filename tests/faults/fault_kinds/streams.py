"""Nobody reads what a command writes, or what is written cannot be shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fault_kinds.fault import Fault, Seen

if TYPE_CHECKING:
    from collections.abc import Callable

    from fault_kinds.rig import Rig

_AREA = "Nobody reads what is written"


def valid_run(shell: str = "", *more: str, **environment: str) -> Callable[[Rig], Seen]:
    """A VALID run, in a shell."""

    def provoke(rig: Rig) -> Seen:
        rig.environment |= environment
        return rig.run("Offline", *more, shell=shell)

    return provoke


def of_a_run(verb: str, shell: str = "", *more: str, **environment: str) -> Callable[[Rig], Seen]:
    """A verb on the folder of a VALID run, in a shell."""

    def provoke(rig: Rig) -> Seen:
        made = rig.run()
        assert made.code == 0, made.text
        rig.environment |= environment
        return rig.verb(verb, str(rig.output), *more, shell=shell)

    return provoke


def prepared(shell: str = "", *more: str) -> Callable[[Rig], Seen]:
    """`prepare` of a sound configuration, in a shell."""

    def provoke(rig: Rig) -> Seen:
        return rig.verb(
            "prepare", "--config", str(rig.config("Offline")), "--test", "performance", *more, shell=shell
        )

    return provoke


_FULL = ("stdout cannot be written (No space left on device)",)


def _run(
    what: str, provoke: Callable[[Rig], Seen], says: tuple[str, ...] = (), *, in_ci: bool = False
) -> Fault:
    return Fault(_AREA, what, provoke, 0, says, within_s=30, state="complete", in_ci=in_ci)


FAULTS = (
    _run("`run >&-`: no stdout", valid_run(">&-"), in_ci=True),
    _run("`run 2>&-`: no stderr", valid_run("2>&-"), ("VALID",)),
    _run("`run <&- >&- 2>&-`: no stream at all", valid_run("<&- >&- 2>&-")),
    _run("`run >/dev/full`: the disk of stdout is full", valid_run(">/dev/full"), _FULL, in_ci=True),
    _run("`run --json >/dev/full`", valid_run(">/dev/full", "--json"), _FULL),
    _run("`run >/dev/full 2>&1`", valid_run(">/dev/full 2>&1")),
    _run("`run | head -1`: the reader goes after a line", valid_run("| head -1"), in_ci=True),
    _run("`run | true`: the reader is gone at once", valid_run("| true")),
    _run("`run --json | head -c 1`", valid_run("| head -c 1", "--json")),
    _run("stdout takes ASCII only", valid_run(PYTHONIOENCODING="ascii"), ("VALID",)),
    _run("stdout takes Latin-1 only", valid_run(PYTHONIOENCODING="latin-1"), ("VALID",)),
    _run(
        "LANG=C, TERM=dumb, no HOME",
        valid_run(LANG="C", LC_ALL="C", TERM="dumb", HOME="/nowhere"),
        ("VALID",),
    ),
    _run("COLUMNS=1", valid_run(COLUMNS="1"), ("VALID",)),
    _run("`show >&-`", of_a_run("show", ">&-")),
    _run("`show >/dev/full`", of_a_run("show", ">/dev/full"), _FULL),
    _run("`show | true`", of_a_run("show", "| true")),
    _run("`show --json | head -c 1`", of_a_run("show", "| head -c 1", "--json")),
    _run("`show` where stdout takes ASCII only", of_a_run("show", PYTHONIOENCODING="ascii"), ("VALID",)),
    _run("`check | head -1`", of_a_run("check", "| head -1")),
    _run("`check >/dev/full`", of_a_run("check", ">/dev/full"), _FULL),
    Fault(_AREA, "`prepare >&-`", prepared(">&-"), 0),
    Fault(_AREA, "`prepare | true`", prepared("| true"), 0),
    Fault(_AREA, "`--help >/dev/full`", lambda rig: rig.verb("--help", shell=">/dev/full"), 0, _FULL),
    Fault(_AREA, "`--help | true`", lambda rig: rig.verb("--help", shell="| true"), 0),
)
