"""audit.config of each compliance test, written from the rules table."""

from __future__ import annotations

from harness_llm import rules
from harness_llm.errors import ConfigError

__all__ = ["audit_config"]


def audit_config(test: str) -> str:
    """The text of audit.config: settings that LoadGen puts over user.conf's for every model and scenario.

    LoadGen reads the file with the model name `*` (loadgen/loadgen.cc, StartTest, @b66003e1).

    Args:
        test: `TEST06`, `TEST07` or `TEST09`.

    Raises:
        ConfigError: The rules have no such test.
    """
    try:
        row = rules.compliance_test(test)
    except KeyError as error:
        known = ", ".join(sorted(rules.table().tests))
        raise ConfigError(f"{test}: no such compliance test", f"The rules have {known}.") from error
    lines = [f"# {test}; values from {rules.expand_source(row.source)}"]
    lines += [f"*.*.{key} = {value}" for key, value in row.audit.items()]
    return "\n".join(lines) + "\n"
