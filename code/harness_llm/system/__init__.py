"""What the machine is, what software ran on it, and how a submission describes both."""

from __future__ import annotations

from harness_llm.system.command import SystemResult, system_command, template, write_template
from harness_llm.system.description import (
    Measurements,
    Problem,
    SystemFile,
    describe,
    read_system_file,
    validate,
)
from harness_llm.system.facts import HostFacts

__all__ = [
    "HostFacts",
    "Measurements",
    "Problem",
    "SystemFile",
    "SystemResult",
    "describe",
    "read_system_file",
    "system_command",
    "template",
    "validate",
    "write_template",
]
