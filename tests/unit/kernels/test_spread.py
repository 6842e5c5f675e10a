from __future__ import annotations

import pytest

from harness_llm.kernels.spread import FP8_WIDTH, INPUT_SCALE, WEIGHT_WIDTH, RandomSpread, spread_of

LAYER = "model.layers.3"


@pytest.mark.parametrize(
    ("name", "dtype", "dimensions", "spread"),
    [
        ("mlp.down_proj.weight", "bfloat16", 2, RandomSpread(WEIGHT_WIDTH)),
        ("mlp.down_proj.weight", "float8_e4m3fn", 2, RandomSpread(FP8_WIDTH, limit=448.0)),
        ("mlp.down_proj.weight_scale", "float32", 1, RandomSpread(0.0, WEIGHT_WIDTH / FP8_WIDTH)),
        ("mlp.down_proj.weight_scale_inv", "float32", 2, RandomSpread(0.0, WEIGHT_WIDTH / FP8_WIDTH)),
        ("mlp.down_proj.input_scale", "float32", 1, RandomSpread(0.0, INPUT_SCALE)),
        ("mlp.experts.w13_weight", "float8_e4m3fn", 3, RandomSpread(FP8_WIDTH, limit=448.0)),
        ("mlp.experts.w13_weight_scale", "uint8", 3, RandomSpread(0.0, 120.0)),
        ("mlp.experts.w13_weight", "uint8", 3, RandomSpread(1.0)),
        ("self_attn.attn.k_scale", "float32", 0, RandomSpread(0.0)),
        ("input_layernorm.weight", "bfloat16", 1, RandomSpread(0.0, 1.0)),
        ("self_attn.qkv_proj.bias", "bfloat16", 1, RandomSpread(0.0, 0.0)),
        ("self_attn.qkv_proj.g_idx", "int32", 1, RandomSpread(0.0, 0.0)),
        ("self_attn.qkv_proj.qweight", "int32", 2, RandomSpread(1.0)),
    ],
)
def test_a_tensor_gets_the_spread_of_its_kind(
    name: str, dtype: str, dimensions: int, spread: RandomSpread
) -> None:
    assert spread_of(f"{LAYER}.{name}", dtype, dimensions) == spread


def test_fp8_weights_mean_what_bf16_weights_mean() -> None:
    codes = spread_of("model.x.weight", "float8_e4m3fn", 2).width
    scale = spread_of("model.x.weight_scale", "float32", 1).centre
    assert scale is not None
    assert codes * scale == pytest.approx(spread_of("model.x.weight", "bfloat16", 2).width)
