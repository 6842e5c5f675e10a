"""On a card: what the kernels compute equals the plain path, and weights made there are as wide as they
should be."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA card here"),
]

if torch.cuda.is_available():
    pytest.importorskip("vllm")
    import vllm._custom_ops as ops
    from vllm.model_executor.kernels import linear as vllm_linear
    from vllm.platforms.interface import PlatformEnum

    from harness_llm.kernels import linear, random_weights
    from harness_llm.kernels.spread import FP8_WIDTH

HOPPER = (9, 0)


@pytest.fixture(scope="module", autouse=True)
def _registered() -> None:
    if torch.cuda.get_device_capability() != HOPPER:
        pytest.skip(f"no Hopper card here: {torch.cuda.get_device_name()}")
    linear.register()


def _distance(found, reference) -> float:
    return float((found.double() - reference).norm() / reference.norm())


@pytest.mark.parametrize("tokens", [1, 17, 256, 1536])
@pytest.mark.parametrize(("outputs", "inputs"), [(10240, 8192), (8192, 28672), (576, 1536)])
def test_products_are_as_exact_as_the_plain_kernels(tokens: int, outputs: int, inputs: int) -> None:
    draw = torch.Generator(device="cuda").manual_seed(tokens + outputs)
    a = (torch.randn(tokens, inputs, device="cuda", generator=draw) * 33).clamp_(-448, 448)
    b = (torch.randn(outputs, inputs, device="cuda", generator=draw) * 90).clamp_(-448, 448)
    a, b = a.to(torch.float8_e4m3fn), b.to(torch.float8_e4m3fn).t()
    scale_a, scale_b = torch.tensor(0.03, device="cuda"), torch.tensor(0.02 / 90, device="cuda")
    reference = (a.double() @ b.double()) * scale_a.double() * scale_b.double()
    plain = _distance(ops.cutlass_scaled_mm(a, b, scale_a, scale_b, torch.bfloat16), reference)
    ours = _distance(torch.ops.vllm.harness_llm_fp8_mm(a, b, scale_a, scale_b), reference)
    assert 0 < plain < 0.01
    assert ours <= plain * 1.2


def test_the_kernel_comes_before_vllms_own() -> None:
    assert vllm_linear._POSSIBLE_FP8_KERNELS[PlatformEnum.CUDA][0] is linear.CublasFp8Linear


@pytest.mark.parametrize("transposed", [False, True])
def test_fp8_weights_fill_the_type_and_come_again(transposed: bool) -> None:
    tensor = torch.zeros(8192, 8192, device="cuda", dtype=torch.float8_e4m3fn)
    tensor = tensor.t() if transposed else tensor
    random_weights.fill(tensor, "model.layers.0.mlp.down_proj.weight", 0)
    first = tensor.float().clone()
    assert abs(float(first.std()) - FP8_WIDTH) < 1
    assert float((first == 0).float().mean()) < 0.01
    random_weights.fill(tensor, "model.layers.0.mlp.down_proj.weight", 0)
    assert torch.equal(first, tensor.float())
    random_weights.fill(tensor, "model.layers.1.mlp.down_proj.weight", 0)
    assert not torch.equal(first, tensor.float())
