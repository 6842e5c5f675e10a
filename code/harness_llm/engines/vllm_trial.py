"""What vLLM's own classes say of engine arguments, in a process of its own: `llm_config` in, JSON out.

Run as `python -m harness_llm.engines.vllm_trial`; `run.trial` starts it and reads its last line.
"""

from __future__ import annotations

import json
import sys

from harness_llm.engines.vllm import try_arguments, try_variables


def main() -> None:
    """Read arguments from stdin, print `{"problems": {key: text}, "variables": {…}, "note": text}`."""
    variables = try_variables()
    problems, note = ({}, "") if variables else try_arguments(json.load(sys.stdin))
    found = {"problems": problems, "variables": variables, "note": note}
    sys.stdout.write(f"\n{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
