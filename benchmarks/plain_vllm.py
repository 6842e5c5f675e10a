"""The other side of `overhead.py`: plain `vllm.LLM.generate`, in a process of its own, timed alone.

Run by overhead.py as `python -m benchmarks.plain_vllm SPEC`; knows nothing of the harness. The spec is a JSON
object: `arguments` of `vllm.LLM`, `prompts` (token ids), `limits` (min_tokens, max_tokens of each prompt),
`warm_up` (the same two, not timed), and `result`, the file to write.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Load, warm up, generate everything in one timed call, and write what came of it."""
    from vllm import LLM

    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    llm = LLM(**spec["arguments"], disable_log_stats=True)
    _generate(llm, spec["warm_up"]["prompts"], spec["warm_up"]["limits"])
    started = time.monotonic()
    outputs = _generate(llm, spec["prompts"], spec["limits"])
    seconds = time.monotonic() - started
    scheduler = llm.llm_engine.vllm_config.scheduler_config
    result = {
        "seconds": seconds,
        "tokens": sum(len(output.outputs[0].token_ids) for output in outputs),
        "scheduler": {name: str(value) for name, value in vars(scheduler).items()},
    }
    Path(spec["result"]).write_text(json.dumps(result), encoding="utf-8")


def _generate(llm: Any, prompts: list[list[int]], limits: list[tuple[int, int]]) -> list[Any]:
    from vllm import SamplingParams
    from vllm.inputs import TokensPrompt

    parameters = [
        SamplingParams(temperature=0.0, min_tokens=least, max_tokens=most, detokenize=False)
        for least, most in limits
    ]
    wrapped = [TokensPrompt(prompt_token_ids=prompt) for prompt in prompts]
    return list(llm.generate(wrapped, parameters, use_tqdm=False))


if __name__ == "__main__":
    main()
