"""Calibration that survives an interruption: the running maxima of every quantizer, saved as it goes."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

__all__ = ["CalibrationState", "feed"]

_LOG = logging.getLogger(__name__)
_SAVE_EVERY_S = 60.0
_REPORT_EVERY_S = 10.0


@dataclass(frozen=True)
class CalibrationState:
    """The file that holds how far a calibration came; a maximum does not mind being continued later.

    Attributes:
        path: Safetensors file of running maxima, one tensor a quantizer.
        fingerprint: Of the plan that the maxima belong to; a file of another plan is not read.
    """

    path: Path
    fingerprint: str

    def load(self) -> tuple[int, dict[str, torch.Tensor]]:
        """Samples already seen and the maxima so far; `(0, {})` where there is nothing to continue."""
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("fingerprint") != self.fingerprint:
                    _LOG.warning("%s belongs to another quantization; calibration starts anew", self.path)
                    return 0, {}
                return int(metadata["samples"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            if self.path.exists():
                _LOG.warning("%s cannot be read (%s); calibration starts anew", self.path, error)
            return 0, {}

    def save(self, samples: int, maxima: Mapping[str, torch.Tensor]) -> None:
        """Replace the file in one step, so that an interruption leaves the old one or the new one."""
        temporary = self.path.with_suffix(".tmp")
        save_file(
            {name: value.detach().float().cpu().contiguous().clone() for name, value in maxima.items()},
            temporary,
            metadata={"fingerprint": self.fingerprint, "samples": str(samples)},
        )
        temporary.replace(self.path)


def feed(
    forward: Callable[[torch.Tensor], object],
    prompts: Sequence[npt.NDArray[np.int32]],
    *,
    start: int,
    device: torch.device,
    save: Callable[[int], None] | None,
) -> None:
    """Run prompts from `start` on through `forward`, one at a time, so that no padding is ever seen.

    A padding token would be counted into the activation maxima like a real one.

    Args:
        forward: Takes token ids, int64, shape (1, tokens), on `device`.
        prompts: Token ids of each sample.
        start: First sample to run; the ones before were seen in an earlier attempt.
        device: Where the model takes its input.
        save: Called with the number of samples seen, about once a minute and at the end; None saves nothing.
    """
    began = reported = saved = time.monotonic()
    with torch.inference_mode():
        for index in range(start, len(prompts)):
            forward(torch.from_numpy(prompts[index].astype("int64"))[None].to(device))
            now = time.monotonic()
            if save is not None and now - saved > _SAVE_EVERY_S:
                save(index + 1)
                saved = now
            if now - reported > _REPORT_EVERY_S:
                rate = (index + 1 - start) / (now - began)
                left = (len(prompts) - index - 1) / rate
                _LOG.info("calibrated on %d of %d samples, %.0f s left", index + 1, len(prompts), left)
                reported = now
    if save is not None:
        save(len(prompts))
