"""audit.config of each compliance test, written from the rules table."""

from __future__ import annotations

from harness_llm import rules

__all__ = ["audit_config"]


def audit_config(test: str, *, loaded_samples: int | None = None) -> str:
    """The text of audit.config: settings that LoadGen puts over user.conf's for every model and scenario.

    LoadGen reads the file with the model name `*` (loadgen/loadgen.cc, StartTest, @b66003e1).

    Args:
        test: `TEST06`, `TEST07` or `TEST09`.
        loaded_samples: Samples of the test's own data set, where they are not as many as the benchmark's.
            With performance_issue_unique, LoadGen makes loaded samples / samples of a query queries
            (loadgen/loadgen.cc lines 284-290, @b66003e1), and Offline's query has as many samples as
            mlperf.conf says the benchmark has (test_settings_internal.cc lines 153-156): for TEST07 that is
            990 / 6,396 = 0 queries, and LoadGen 6.0.17 ends by a segmentation fault. None leaves it alone.

    Raises:
        ConfigError: The rules have no such test.
    """
    row = rules.compliance_test(test)
    lines = [f"# {test}; values from {rules.expand_source(row.source)}"]
    lines += [f"*.*.{key} = {value}" for key, value in row.audit.items()]
    if loaded_samples is not None:
        lines += [
            "# Not of the round's file: the samples of this test, where mlperf.conf has the benchmark's.",
            f"*.*.performance_sample_count_override = {loaded_samples}",
        ]
    return "\n".join(lines) + "\n"
