"""The table of faults: every kind that is tried on the harness, what must be seen, and what may stay."""

from fault_kinds import ends, host, processes, readers, strangers, streams
from fault_kinds.fault import Fault

FAULTS: tuple[Fault, ...] = (
    *ends.FAULTS,
    *streams.FAULTS,
    *processes.FAULTS,
    *strangers.FAULTS,
    *readers.FAULTS,
    *host.FAULTS,
)
