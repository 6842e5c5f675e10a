"""The one switch of the kernels: which of them an environment asks for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum

KERNELS_VARIABLE = "HARNESS_LLM_KERNELS"
"""Environment variable: `off` or unset; `on`; or names of `Kernel` with commas between."""


class Kernel(StrEnum):
    """A kernel that can replace one of vLLM's."""

    LINEAR = "linear"
    """FP8 linear layers with one scale a tensor through cuBLASLt (`linear.py`)."""

    ATTENTION = "attention"
    """FLASHINFER attention without a wait for the card in every step (`attention.py`)."""


MEASURED = frozenset({Kernel.LINEAR})
"""What `on` means: the kernels that were shown to gain (docs/performance.md)."""


def asked_for(environment: Mapping[str, str] = os.environ) -> frozenset[Kernel]:
    """The kernels that the switch names.

    Args:
        environment: Where the variable is looked up.

    Raises:
        ValueError: The variable holds another word; vLLM ends with this text.
    """
    words = [word.strip() for word in environment.get(KERNELS_VARIABLE, "").split(",") if word.strip()]
    if words in ([], ["off"]):
        return frozenset()
    if words == ["on"]:
        return MEASURED
    known = {kernel.value for kernel in Kernel}
    unknown = [word for word in words if word not in known]
    if unknown:
        raise ValueError(
            f"{KERNELS_VARIABLE}: found {unknown[0]!r}; write off, on, or some of {', '.join(sorted(known))} "
            "with commas between"
        )
    return frozenset(Kernel(word) for word in words)
