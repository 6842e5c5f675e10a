"""What a card's FP8 units give on llama2-70b's matrix products alone: the ceiling for any engine on it.

Data are random and as wide as a checkpoint's (zeros would draw less power and run faster); each product is
held for seconds, so that the power limit shows. A card's rate differs from day to day and from card to card:
take it in the hour of what it is compared with.

    python benchmarks/gpu_products.py --tokens 1536 --tokens 8192
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.gpu_offline import Power

_PRODUCTS = {"qkv": (10240, 8192), "o": (8192, 8192), "gate_up": (57344, 8192), "down": (8192, 28672)}
"""Output by input features of one layer of llama2-70b."""

_FP8_MAX = 448.0
_BATCH = 20


def _tensor(rows: int, columns: int, width: float) -> torch.Tensor:
    drawn = torch.randn(rows, columns, device="cuda") * width
    return drawn.clamp(-_FP8_MAX, _FP8_MAX).to(torch.float8_e4m3fn)


def held(tokens: int, seconds: float) -> dict[str, object]:
    """TFLOP/s of one layer's four matrix products, one after another, repeated for `seconds`."""
    pairs = [
        (_tensor(tokens, inputs, 33.0), _tensor(outputs, inputs, 90.0).t())
        for outputs, inputs in _PRODUCTS.values()
    ]
    scale_a, scale_b = torch.tensor(0.03, device="cuda"), torch.tensor(0.02 / 90, device="cuda")

    def layers() -> None:
        for _ in range(_BATCH):
            for a, b in pairs:
                torch._scaled_mm(
                    a, b, scale_a=scale_a, scale_b=scale_b, out_dtype=torch.bfloat16, use_fast_accum=True
                )
        torch.cuda.synchronize()

    layers()
    rates = []
    each = sum(2.0 * tokens * outputs * inputs for outputs, inputs in _PRODUCTS.values()) * _BATCH
    with Power() as power:
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            start = time.monotonic()
            layers()
            rates.append(each / (time.monotonic() - start) / 1e12)
    half = rates[len(rates) // 2 :]  # clocks have settled
    return {"tokens": tokens, "tflop_per_s": round(statistics.median(half), 1), **power.facts()}


def main() -> int:
    """Measure and print one JSON object a row."""
    parser = argparse.ArgumentParser(description="FP8 TFLOP/s of llama2-70b's matrix products alone.")
    parser.add_argument("--tokens", type=int, action="append", help="rows of a step (default: 1536)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each (default: %(default)s)")
    options = parser.parse_args()
    for tokens in options.tokens or [1536]:
        row = {"card": torch.cuda.get_device_name(0), **held(tokens, options.seconds)}
        print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
