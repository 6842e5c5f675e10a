"""What can be asked for: kernels by one switch, and the load format by its name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum

KERNELS_VARIABLE = "HARNESS_LLM_KERNELS"
"""Environment variable: `off` or unset; `on`; or names of `Kernel` with commas between."""


RANDOM = "random"
"""The load format."""


class Kernel(StrEnum):
    """A kernel that can replace one of vLLM's."""

    LINEAR = "linear"
    """FP8 linear layers with one scale a tensor through cuBLASLt (`linear.py`)."""

    ATTENTION = "attention"
    """FLASHINFER attention without a wait for the card in every step (`attention.py`)."""

    @property
    def fact(self) -> str:
        """Prefix of the facts that a worker reports about it, once it has replaced something."""
        return {Kernel.LINEAR: "fp8_linear.", Kernel.ATTENTION: "attention."}[self]


MEASURED = frozenset(Kernel)
"""What `on` means: the kernels that were shown to gain, and to compute the same (docs/performance.md)."""


def asked_for(environment: Mapping[str, str] = os.environ) -> frozenset[Kernel]:
    """The kernels that the switch names.

    Args:
        environment: Where the variable is looked up.

    Raises:
        ValueError: The variable holds another word; vLLM ends with this text.
    """
    value = environment.get(KERNELS_VARIABLE, "")
    words = [word.strip() for word in value.split(",") if word.strip()]
    if words in ([], ["off"]):
        return frozenset()
    if words == ["on"]:
        return MEASURED
    known = sorted(kernel.value for kernel in Kernel)
    if not set(words) <= set(known):
        raise ValueError(
            f"{KERNELS_VARIABLE}: found {value!r}; write off or on alone, or some of {', '.join(known)} "
            "with commas between"
        )
    return frozenset(Kernel(word) for word in words)
