"""What vLLM's own classes say of engine arguments, in a process of its own: `llm_config` in, JSON out.

Run as `python -m harness_llm.engines.vllm_trial`; `run.trial` starts it and reads its last line.
"""

from __future__ import annotations

import json
import sys

from harness_llm.engines.vllm import try_arguments


def main() -> None:
    """Read arguments from stdin, print `{"problems": {key: text}, "note": text}`."""
    problems, note = try_arguments(json.load(sys.stdin))
    sys.stdout.write(f"\n{json.dumps({'problems': problems, 'note': note})}\n")


if __name__ == "__main__":
    main()
