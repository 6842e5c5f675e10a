"""The table of faults: every kind that is tried on the harness, what must be seen, and what may stay."""

from fault_kinds import clocks, damage, disks, ends, host, models, processes, readers, strangers, streams
from fault_kinds.fault import Fault

FAULTS: tuple[Fault, ...] = (
    *ends.FAULTS,
    *streams.FAULTS,
    *processes.FAULTS,
    *clocks.FAULTS,
    *disks.FAULTS,
    *strangers.FAULTS,
    *readers.FAULTS,
    *models.FAULTS,
    *damage.FAULTS,
    *host.FAULTS,
)
