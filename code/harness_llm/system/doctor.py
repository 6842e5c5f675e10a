"""Everything that `harness-llm doctor` looks at; a new probe is a function and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from harness_llm.errors import named
from harness_llm.system import accelerators, probe_host, probe_setup
from harness_llm.system.diagnosis import Diagnosis, Surroundings, fails

Probe = Callable[[Surroundings], Diagnosis]

PROBES: tuple[Probe, ...] = (
    probe_setup.driver,
    probe_setup.vllm,
    probe_setup.loadgen,
    probe_setup.models,
    probe_setup.data_sets,
    probe_setup.token,
    probe_setup.docker,
    probe_host.memory,
    probe_host.shared_memory,
    probe_host.file_limits,
    probe_host.disk,
    probe_host.governor,
    probe_host.numa,
    probe_host.clock,
    probe_host.busy_cores,
)


def examine(place: Surroundings, probes: Sequence[Probe] = PROBES) -> Iterator[Diagnosis]:
    """Look at everything, each finding as it is made; takes about 20 s, most of it vLLM's import.

    A probe that breaks is a finding, too, so that the rest is looked at all the same.
    """
    place = replace(place, gpus=len(accelerators.read().accelerators))
    for probe in probes:
        try:
            yield probe(place)
        except Exception as error:  # noqa: BLE001 - a probe meets machines that nobody has seen
            said = f"could not be looked at: {named(error)}"
            yield fails(probe.__name__.replace("_", " "), said, "Please report it with this line.")
