"""How the numbers of a made-up tensor are spread, by its name and type; knows nothing of vLLM or torch."""

from __future__ import annotations

from dataclasses import dataclass

WEIGHT_WIDTH = 0.02
"""Standard deviation of weights: the Llama family's `initializer_range`, and about that of its
checkpoints."""

FP8_MAX = 448.0
"""Largest number of E4M3."""

FP8_WIDTH = 90.0
"""Standard deviation of E4M3 codes: five of it fill the type, as a Gaussian tensor's largest does. A tensor
with outliers is narrower; 12 in place of 90 made matrix products 1.0 % faster (docs/performance.md)."""

INPUT_SCALE = 0.03
"""Static scale of activations: 448 x 0.03 is 13, what activations of unit spread reach."""

_INT4_WIDTH = 4.6  # standard deviation of a uniform four-bit code
_E8M0_BIAS = 127  # a byte of E8M0 is an exponent of two with this bias
_E8M0_EXPONENT = -7  # 2^-7 times FP4 codes of standard deviation 2.9 is about WEIGHT_WIDTH

_FP8 = ("float8_e4m3fn", "float8_e4m3fnuz")
_FLOATS = ("float32", "float16", "bfloat16", "float64")


@dataclass(frozen=True, slots=True)
class RandomSpread:
    """What a tensor is filled with.

    Attributes:
        width: Standard deviation of a Gaussian around zero; for an integer type, anything above 0 means that
            every code is as likely; 0 means one constant.
        centre: The constant; None with `width` 0 leaves the tensor as vLLM made it.
        limit: Largest absolute value; None for none.
    """

    width: float
    centre: float | None = None
    limit: float | None = None


_AS_MADE = RandomSpread(0.0)


def spread_of(name: str, dtype: str, dimensions: int) -> RandomSpread:
    """The spread for a tensor.

    Args:
        name: Full name in the model, e.g. `model.layers.0.mlp.down_proj.weight_scale`.
        dtype: `float8_e4m3fn`, `bfloat16`, `uint8`, …
        dimensions: How many the tensor has.
    """
    last = name.rpartition(".")[2]
    if "scale" in last and "weight" in last or last == "scales":
        return _weight_scale(last, dtype)
    if "scale" in last:
        # Of keys, values and queries: as vLLM made it, which means 1.0 (vllm/…/quantization/kv_cache.py).
        return RandomSpread(0.0, INPUT_SCALE) if "input" in last else _AS_MADE
    if dtype in _FP8:
        return RandomSpread(FP8_WIDTH, limit=FP8_MAX)
    if dtype == "float8_e5m2":
        return RandomSpread(FP8_WIDTH)
    if dtype in _FLOATS:
        return _float(name, dimensions)
    if dtype in ("uint8", "int8", "int32") and dimensions > 1 and "weight" in last:
        return RandomSpread(1.0)
    if dtype == "int32" and last == "qweight":
        return RandomSpread(1.0)
    return RandomSpread(0.0, 0.0) if dtype.startswith(("int", "uint")) else _AS_MADE


def _weight_scale(last: str, dtype: str) -> RandomSpread:
    if dtype == "uint8":
        return RandomSpread(0.0, float(_E8M0_BIAS + _E8M0_EXPONENT))
    if last == "scales":
        return RandomSpread(0.0, WEIGHT_WIDTH / _INT4_WIDTH)
    return RandomSpread(0.0, WEIGHT_WIDTH / FP8_WIDTH)


def _float(name: str, dimensions: int) -> RandomSpread:
    if dimensions > 1:
        return RandomSpread(WEIGHT_WIDTH)
    return RandomSpread(0.0, 1.0 if "norm" in name else 0.0)
