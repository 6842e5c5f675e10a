"""`python -m harness_llm` is `harness-llm`."""

from harness_llm.cli import main

main()
