"""How values are rounded to what FP8 can hold, once for each input that layers share."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from benchmarks.fp8 import rounded  # noqa: E402

SCALE = 0.03125


def _values(seed: int = 0) -> torch.Tensor:
    return torch.randn(4, 64, generator=torch.Generator().manual_seed(seed))


def test_an_input_that_several_layers_read_is_rounded_once() -> None:
    rounding, values = rounded.Rounding(), _values()
    first = rounding(values, SCALE)
    assert rounding(values, SCALE) is first
    assert torch.equal(first * SCALE, rounded.round_to_fp8(values, SCALE))


def test_another_input_or_scale_is_rounded_anew_and_an_equal_one_too() -> None:
    rounding, values = rounded.Rounding(), _values()
    for other, scale in (
        (values, SCALE),
        (values, SCALE * 8),
        (_values(1), SCALE * 8),
        (values.clone(), SCALE),
    ):
        found = rounding(other, scale)
        assert torch.equal(found * scale, rounded.round_to_fp8(other, scale))


@pytest.mark.parametrize("bias", [False, True])
def test_a_rounded_layer_is_a_linear_layer_of_rounded_inputs(bias: bool) -> None:
    """Its weights carry the input's scale; a power of two, so that nothing but the rounding differs."""
    weight, added = _values(2), _values(3)[0, :4].contiguous() if bias else None
    rounding = rounded.Rounding()
    layers = [rounded.RoundedLinear(weight, added, scale, rounding) for scale in (SCALE, SCALE, SCALE * 4)]
    values = _values(4)
    for layer, scale in zip(layers, (SCALE, SCALE, SCALE * 4), strict=True):
        expected = torch.nn.functional.linear(rounded.round_to_fp8(values, scale), weight, added)
        assert torch.allclose(layer(values), expected, rtol=1e-6, atol=1e-6)


def test_values_beyond_what_fp8_holds_saturate() -> None:
    found = rounded.round_to_fp8(torch.tensor([1e6, -1e6, 447.0, 0.0]) * SCALE, SCALE) / SCALE
    assert found.tolist() == [448.0, -448.0, 448.0, 0.0]
