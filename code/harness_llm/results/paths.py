"""The name of every file and folder of a run folder, each once.

::

    <run>/
      run.json                        what ran, where, from which commit, how far it came
      config/<Scenario>.yaml          the resolved configuration
      samples.npz, samples_<test>.npz the sample tables
      live.jsonl                      what was known of the run, once a second
      telemetry/                      spec.json and telemetry.log of the process that samples accelerators
      replicas/<group>/preflight.npy  events of the samples that were asked before the first test
      replicas/<group>/<n>/           spec.json, facts.json, log.txt
      <Scenario>/<test>/              test.json, user.conf, audit.config, spec.json, LoadGen's logs,
                                      events.npy, loadgen.log, accuracy.txt and accuracy.json

A *group* is the replicas that were loaded together, a fleet, for all tests that share their engine arguments.
LoadGen's own names are in `logs.source`.
"""

from __future__ import annotations

from pathlib import Path

RUN_JSON = "run.json"
TEST_JSON = "test.json"
STUDY_JSON = "study.json"
LIVE_JSONL = "live.jsonl"
SPEC_JSON = "spec.json"
FACTS_JSON = "facts.json"
REPLICA_LOG = "log.txt"
LOADGEN_LOG = "loadgen.log"
TELEMETRY_LOG = "telemetry.log"
EVENTS_NPY = "events.npy"
PREFLIGHT_NPY = "preflight.npy"
USER_CONF = "user.conf"
AUDIT_CONF = "audit.config"
ACCURACY_TXT = "accuracy.txt"
ACCURACY_JSON = "accuracy.json"
SHARED_SAMPLES = "samples.npz"
"""Samples of every test that has none of its own."""

_REPLICAS = "replicas"


def own_samples(test: str) -> str:
    """File of the samples that one test does not share, e.g. of `TEST07`."""
    return f"samples_{test}.npz"


def config_file(run: Path, scenario: str) -> Path:
    """The resolved configuration of a scenario."""
    return run / "config" / f"{scenario}.yaml"


def group_folder(run: Path, group: str | None) -> Path:
    """Folder of a group's replicas, by number below it; None for the only one of a run of format 1."""
    return run / _REPLICAS / (group or "")


def telemetry_folder(run: Path) -> Path:
    """Folder of the process that samples accelerators."""
    return run / "telemetry"


def replica_folder(run: Path, group: str | None, number: int) -> Path:
    """Folder of one replica."""
    return group_folder(run, group) / str(number)
