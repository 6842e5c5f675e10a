"""The other side of `overhead.py` for `engine: openai`: the same requests from a plain client.

Run by overhead.py as `python -m benchmarks.openai_direct SPEC`; knows nothing of the harness. The spec is a
JSON object: `url` and `model` of the server, `in_flight` (requests at once), `prompts` (token ids), `limits`
(min_tokens, max_tokens of each prompt), and `result`, the file to write.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp


async def _measure(spec: dict[str, Any]) -> dict[str, float]:
    """Send everything, in order and so many at once; the tokens that came and the time that it took."""
    timeout, room = aiohttp.ClientTimeout(total=None), asyncio.Semaphore(spec["in_flight"])
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector, read_bufsize=8 << 20) as session:

        async def ask(prompt: list[int], least: int, most: int) -> int:
            body = {
                "model": spec["model"], "prompt": prompt, "min_tokens": least, "max_tokens": most,
                "temperature": 0, "stream": True, "return_token_ids": True,
            }  # fmt: skip
            async with room, session.post(f"{spec['url']}/v1/completions", json=body) as response:
                response.raise_for_status()
                lines = [line async for line in response.content if line.startswith(b"data: {")]
            choices = [choice for line in lines for choice in json.loads(line[5:])["choices"]]
            return sum(len(choice["token_ids"]) for choice in choices)

        started = time.monotonic()
        pairs = zip(spec["prompts"], spec["limits"], strict=True)
        tokens = await asyncio.gather(*(ask(prompt, *limits) for prompt, limits in pairs))
        return {"seconds": time.monotonic() - started, "tokens": sum(tokens)}


def main() -> None:
    """Measure once and write what came of it."""
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    result = {**asyncio.run(_measure(spec)), "scheduler": {}}
    Path(spec["result"]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
