"""The children of a run: replicas, a loadgen process for each test, and one that samples accelerators."""

from __future__ import annotations

from harness_llm.engines.remedies import remedy_for
from harness_llm.errors import LoadgenLost, ReplicaLost
from harness_llm.launch.role import Role

REPLICA = Role("replica", "harness_llm.replica.process", lost=ReplicaLost, remedy=remedy_for)
TELEMETRY = Role(
    "telemetry", "harness_llm.telemetry.process", started="word", silence_s=30.0, essential=False
)
DRIVER = Role("driver", "harness_llm.driver.process", started="word", lost=LoadgenLost)
LOADGEN = Role("loadgen", "harness_llm.loadgen.process", started="word", lost=LoadgenLost, ends_by="kill")
