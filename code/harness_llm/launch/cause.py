"""Why a child was lost: the first exception in its log, and what the kernel says of memory."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness_llm.engines.remedies import SHARED_MEMORY
from harness_llm.errors import HarnessError
from harness_llm.launch.launcher import Handle

if TYPE_CHECKING:  # a child is explained by the one who has lost it
    from harness_llm.launch.child import Child

_TAIL_LINES, _LINE, _QUOTE = 6, 300, 600
_NEAR_FULL = 0.98
_TRACKER = "resource_tracker"  # Python's warnings of what dead processes left: never the cause

_MARK = re.compile(
    r"^(?:\x1b\[[0-9;]*m)*(?:\((?P<who>[^()]*\bpid=\d+[^()]*)\)(?:\x1b\[[0-9;]*m)*\s?)?"  # (EngineCore pid=7)
    r"(?:(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d (?:\[[^\]]*\])? ?)?"
)
_BEGIN = "Traceback (most recent call last):"
_EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(?:: |$)")
# What a process says when another one has failed.
_FOLLOWS = re.compile(
    r"See root cause above|EngineDeadError|initialization failed|Engine core proc"
    r"|^(?:KeyboardInterrupt|SystemExit|\S*CancelledError|BrokenPipeError|EOFError|ConnectionResetError)\b"
)


def first_exception(log: str) -> str:
    """The exception of the first traceback in a log that is nobody's reaction to another one; empty for none.

    Lines of several processes may be mixed: each has its own mark, which is how vLLM writes them. What the
    process of an engine core or of a worker raised comes before what others raised.
    """
    found = [(who, text) for who, text in _exceptions(log) if not _FOLLOWS.search(text)]
    inner = [text for who, text in found if "Core" in who or "Worker" in who]
    return (inner or [text for _, text in found] or [""])[0][:_QUOTE]


def _exceptions(log: str) -> Iterator[tuple[str, str]]:
    inside: set[str] = set()
    for line in log.splitlines():
        mark = _MARK.match(line)
        assert mark is not None  # it may be empty
        who, text = mark["who"] or "", line[mark.end() :]
        if text.endswith(_BEGIN):
            inside.add(who)
        elif who in inside and _EXCEPTION.match(text):
            inside.remove(who)
            yield who, text.rstrip()


def log_tail(handle: Handle) -> str:
    """The last lines of a child's log, indented, for an error message."""
    lines = [line for line in handle.log_text(0).splitlines() if line.strip() and _TRACKER not in line]
    return "".join(f"\n    {line[:_LINE]}" for line in lines[-_TAIL_LINES:])


class MemoryKills:
    """How many processes the kernel has killed for want of memory since this was made.

    The kernel counts for the whole host and for each control group, by which a container has its limit.
    """

    def __init__(self) -> None:
        self._before = dict(_memory_kills())

    def new(self) -> str:
        """What was counted since, for people; empty for nothing."""
        rose = [(name, now - self._before.get(name, 0)) for name, now in _memory_kills()]
        return ", ".join(f"{name}: {count} more" for name, count in rose if count > 0)


def _memory_kills() -> Iterator[tuple[str, int]]:
    for path in (Path("/proc/vmstat"), *_group_counts()):
        try:
            lines = [line.split() for line in path.read_text().splitlines()]
        except OSError:
            continue
        yield from ((f"oom_kill in {path}", int(line[1])) for line in lines if line[0] == "oom_kill")


def _group_counts() -> Iterator[Path]:
    """Files that count the kills of this process's control groups, versions 2 and 1."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for _, controllers, group in (line.split(":", 2) for line in lines):
        if not controllers:
            yield Path(f"/sys/fs/cgroup{group.rstrip('/')}/memory.events")
        elif "memory" in controllers.split(","):
            yield Path(f"/sys/fs/cgroup/memory{group.rstrip('/')}/memory.oom_control")


def explained(error: HarnessError, child: Child, kills: MemoryKills) -> HarnessError:
    """The error with its root cause, as far as log and kernel tell it, and with what to do about that."""
    log = child.handle.log_text(child.log_from)
    said, remedy = [error.message], error.remedy
    cause = first_exception(log)
    if cause and cause not in error.message:
        said.append(f"\n  first exception in its log: {cause}")
    if memory := _memory(error.message, kills):
        said.append(f"\n  {memory[0]}")
    known = memory[1] if memory else child.role.remedy(cause or error.message)
    said.append(f"\n  log: {child.handle.log}" + ("" if cause else log_tail(child.handle)))
    return type(error)("".join(said), known or remedy)


def _memory(message: str, kills: MemoryKills) -> tuple[str, str] | None:
    if "SIGBUS" in message and (shared := _full_shared_memory()):
        return shared, SHARED_MEMORY
    if killed := kills.new():
        return (
            f"the kernel has killed processes for want of memory meanwhile ({killed})",
            "Give the host or the container more memory, or let the engine hold less: fewer replicas, "
            "smaller caches.",
        )
    return None


def _full_shared_memory() -> str:
    try:
        usage = shutil.disk_usage("/dev/shm")  # noqa: S108 - only looked at
    except OSError:
        return ""
    full = usage.used >= _NEAR_FULL * usage.total
    return f"/dev/shm is full: {usage.used >> 20:,} of {usage.total >> 20:,} MiB" if full else ""
