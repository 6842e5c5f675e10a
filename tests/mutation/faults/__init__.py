"""Single faults for the good tree: each breaks one thing, and names the check that must see it."""

from mutation.faults import (
    accuracy,
    compliance,
    conf,
    consistent,
    description,
    figures,
    impossible,
    latency,
    logs,
    origin,
    shape,
    verdict,
)
from mutation.faults.registry import FAULTS, Fault

__all__ = [
    "FAULTS",
    "Fault",
    "accuracy",
    "compliance",
    "conf",
    "consistent",
    "description",
    "figures",
    "impossible",
    "latency",
    "logs",
    "origin",
    "shape",
    "verdict",
]
