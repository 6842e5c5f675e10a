"""vLLM's FLASHINFER attention without its wait for the card in every step; what it computes is the same.

To plan the prefill rows, vLLM's builder asks for the lengths of all sequences on the host. With
asynchronous scheduling vLLM has them on the card alone and copies them back, which waits until the whole
step before is over; only then are this step's kernels queued, and the card idles meanwhile
(docs/performance.md). But the host knows the same numbers: without speculative decoding
`seq_lens_cpu_upper_bound` is exact (vllm/v1/attention/backend.py).
"""

from __future__ import annotations

from typing import Any

import torch
from vllm.v1.attention.backends.flashinfer import FlashInferBackend, FlashInferMetadataBuilder

from harness_llm.kernels import tally


class NoWaitBuilder(FlashInferMetadataBuilder):  # type: ignore[misc]  # vLLM has no types for us
    """vLLM's builder, given the lengths that the host knows."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._exact = self.vllm_config.speculative_config is None
        self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        if self._exact:
            tally.count("attention.flashinfer_without_wait")

    def build(self, common_prefix_len: int, common_attn_metadata: Any, fast_build: bool = False) -> Any:
        """As vLLM does, without the copy back.

        That wait also kept the host from writing its next step into pinned memory that the card had not read
        yet. In its place stands an event behind those copies, long past when the next step is planned.
        """
        self._copied.synchronize()
        known = common_attn_metadata.seq_lens_cpu_upper_bound
        if self._exact and known is not None and common_attn_metadata._seq_lens_cpu is None:
            common_attn_metadata._seq_lens_cpu = known
        built = super().build(common_prefix_len, common_attn_metadata, fast_build)
        self._copied.record()
        return built


class NoWaitFlashInfer(FlashInferBackend):  # type: ignore[misc]  # vLLM has no types for us
    """What `attention_backend: FLASHINFER` means with this kernel switched on."""

    @staticmethod
    def get_builder_cls() -> type[NoWaitBuilder]:
        """The builder above."""
        return NoWaitBuilder
