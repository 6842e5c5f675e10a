"""FP8 linear layers with one scale a tensor, by cuBLASLt with fast accumulation in place of vLLM's CUTLASS.

Both multiply E4M3 by E4M3 on the same units with the same accumulation; only tiles and order differ. On an
H200 both were as near to a float64 reference: relative norm of the difference 2.64e-3 each for 1,536 x 8192
x 10240, 4.66e-3 each for 1,536 x 28672 x 8192 (tests/gpu/test_kernels.py). docs/performance.md has what it
gains.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from vllm.model_executor.kernels import linear as vllm_linear
from vllm.model_executor.kernels.linear import register_linear_kernel
from vllm.model_executor.kernels.linear.scaled_mm.cutlass import CutlassFP8ScaledMMLinearKernel
from vllm.platforms import current_platform
from vllm.platforms.interface import PlatformEnum
from vllm.utils.torch_utils import direct_register_custom_op

from harness_llm.kernels import tally

_HOPPER = 90


class CublasFp8Linear(CutlassFP8ScaledMMLinearKernel):  # type: ignore[misc]  # vLLM has no types for us
    """vLLM's CUTLASS kernel, but for whole tiles without a bias, which go to cuBLASLt."""

    def __init__(self, c: Any, layer_param_names: Sequence[str]) -> None:
        super().__init__(c, layer_param_names)
        tally.count("fp8_linear.cublaslt_fast_accumulation")

    @classmethod
    def is_supported(cls, compute_capability: int | None = None) -> tuple[bool, str | None]:
        """Only Hopper: nothing else was measured."""
        on_hopper = (
            current_platform.is_device_capability(_HOPPER)
            if compute_capability is None
            else compute_capability == _HOPPER
        )
        if not on_hopper:
            return False, "was measured on Hopper only"
        return True, None

    @classmethod
    def can_implement(cls, c: Any) -> tuple[bool, str | None]:
        """One scale for the activations, one for the weights, BF16 out."""
        scales = (c.activation_quant_key.scale, c.weight_quant_key.scale)
        if not all(scale.group_shape.is_per_tensor() for scale in scales):
            return False, "needs one scale a tensor"
        if c.out_dtype != torch.bfloat16:
            return False, "gives BF16 only"
        return True, None

    def apply_scaled_mm(
        self,
        *,
        A: torch.Tensor,  # noqa: N803 - vLLM's names
        B: torch.Tensor,  # noqa: N803
        out_dtype: torch.dtype,
        As: torch.Tensor,  # noqa: N803
        Bs: torch.Tensor,  # noqa: N803
        bias: torch.Tensor | None,
        output_shape: list[int],
    ) -> torch.Tensor:
        """A [tokens, K] times B [K, N], scaled by As and Bs."""
        whole = B.shape[0] == A.shape[1] and B.shape[1] == self.logical_output_size
        if bias is None and whole and out_dtype == torch.bfloat16:
            product: torch.Tensor = torch.ops.vllm.harness_llm_fp8_mm(A, B, As, Bs)
            return product.view(*output_shape)
        result: torch.Tensor = super().apply_scaled_mm(
            A=A, B=B, out_dtype=out_dtype, As=As, Bs=Bs, bias=bias, output_shape=output_shape
        )
        return result


def register() -> None:
    """Put the kernel before vLLM's own; `linear_backend` still overrules it.

    `register_linear_kernel` appends, and vLLM takes the first that fits, so the kernel is moved to the front
    of the list that it was appended to.
    """
    direct_register_custom_op(op_name="harness_llm_fp8_mm", op_func=_product, fake_impl=_shape_of_product)
    register_linear_kernel(CublasFp8Linear, PlatformEnum.CUDA, "fp8")
    kernels = vllm_linear._POSSIBLE_FP8_KERNELS[PlatformEnum.CUDA]
    assert kernels[-1] is CublasFp8Linear
    kernels.insert(0, kernels.pop())


def _product(a: torch.Tensor, b: torch.Tensor, scale_a: torch.Tensor, scale_b: torch.Tensor) -> torch.Tensor:
    return torch._scaled_mm(
        a,
        b,
        scale_a=scale_a.reshape(()),
        scale_b=scale_b.reshape(()),
        out_dtype=torch.bfloat16,
        use_fast_accum=True,
    )


def _shape_of_product(
    a: torch.Tensor, b: torch.Tensor, scale_a: torch.Tensor, scale_b: torch.Tensor
) -> torch.Tensor:
    del scale_a, scale_b
    return torch.empty((a.shape[0], b.shape[1]), dtype=torch.bfloat16, device=a.device)
