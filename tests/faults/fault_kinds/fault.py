"""One kind of fault: how it is provoked, and what must be seen, by when, and what may stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fault_kinds.rig import Rig


@dataclass(frozen=True)
class Seen:
    """What came of a command.

    Attributes:
        code: Its exit code; negative where a signal ended it.
        text: All that it wrote, stdout first.
        seconds: From the fault to its end.
    """

    code: int
    text: str
    seconds: float


@dataclass(frozen=True)
class Taken:
    """How long a fault took when the suite ran last.

    Attributes:
        times: How often it was tried, each time as it must be.
        longest_s: The longest of them, from the fault to the command's end.
    """

    times: int
    longest_s: float


@dataclass(frozen=True)
class Fault:
    """A row of the table.

    Attributes:
        area: Heading that it stands under.
        what: The fault, for people; also its name, so no two have one.
        provoke: Provokes it with a rig and gives what was seen.
        code: The command's exit code.
        says: Parts of what the user must read, in stdout or stderr.
        within_s: Longest time from the fault to the command's end, seconds.
        state: `state` of run.json afterwards; empty where there is no run folder.
        stays: What stays beside the run folder, for people; nothing by default, and then nothing is found.
        cleared: Whether another run has followed, after which nothing of that is found.
        hides: What must stand in no output and in no file of the run or of the tree.
        in_ci: Whether it runs in each continuous integration; the rest runs behind the marker `long`.
    """

    area: str
    what: str
    provoke: Callable[[Rig], Seen]
    code: int
    says: tuple[str, ...] = ()
    within_s: float = 10.0
    state: str = ""
    stays: str = ""
    cleared: bool = False
    hides: tuple[str, ...] = ()
    in_ci: bool = False

    def problems(self, rig: Rig, seen: Seen) -> list[str]:
        """What is not as it must be."""
        found = []
        if seen.code != self.code:
            found.append(f"exit code {seen.code}, not {self.code}")
        found += [f"does not say {part!r}" for part in self.says if part not in seen.text]
        found += [f"shows {part!r}" for part in ("Traceback", "\x1b", *self.hides) if part in seen.text]
        if seen.seconds > self.within_s:
            found.append(f"ended after {seen.seconds:.1f} s, not within {self.within_s:g} s")
        if (state := rig.state()) != self.state:
            found.append(f"run.json says {state!r}, not {self.state!r}")
        if self.cleared or not self.stays:
            found += rig.left()
        found += [f"{path} holds {part!r}" for part in self.hides for path in rig.files_with(part)]
        return [
            f"{problem}\n{seen.text[-2000:]}" if index == 0 else problem
            for index, problem in enumerate(found)
        ]


_HEAD = (
    "| fault | exit | the user reads | ends within | took | run.json | what stays |\n"
    "| --- | --- | --- | --- | --- | --- | --- |\n"
)


def table(faults: tuple[Fault, ...], record: Mapping[str, Taken]) -> str:
    """Markdown, a table for each area, with what each fault took when it was tried last."""
    parts = []
    for area in dict.fromkeys(fault.area for fault in faults):
        rows = [fault for fault in faults if fault.area == area]
        parts.append(f"### {area}\n\n{_HEAD}{''.join(_row(fault, record.get(fault.what)) for fault in rows)}")
    return "\n".join(parts)


def _row(fault: Fault, taken: Taken | None) -> str:
    says = "; ".join(f"`{part.strip()}`" for part in fault.says) or "the results"
    cells = (
        fault.what,
        str(fault.code),
        says,
        f"{fault.within_s:g} s",
        f"{taken.longest_s:.1f} s ({taken.times})" if taken else "-",
        fault.state or "-",
        fault.stays or "nothing",
    )
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\x1b", "\\x1b") for cell in cells) + " |\n"
