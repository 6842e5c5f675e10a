"""The limit of open files, which sockets to many children exceed."""

from __future__ import annotations

import contextlib
import resource

from harness_llm.core import counted
from harness_llm.errors import HostError

_BESIDE = 64  # interpreter, libraries, logs, ZeroMQ's own
_A_REPLICA = 8  # sockets of one replica in the supervisor, and in a loadgen process


def require_open_files(replicas: int) -> None:
    """Raise this process's limit to the highest one allowed; children inherit it.

    Args:
        replicas: How many will be started.

    Raises:
        HostError: It is too low for them.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    needed = _BESIDE + _A_REPLICA * replicas
    if soft != resource.RLIM_INFINITY and soft < needed:
        raise HostError(
            f"this process may open {counted(soft, 'file')}, "
            f"{counted(replicas, 'replica needs', 'replicas need')} {needed:,}",
            f"Raise the limit: ulimit -n {max(4096, needed)}.",
        )
