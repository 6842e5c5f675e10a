"""`python -m harness_llm`, and `harness-llm`: streams and signals first, for the rest takes its time."""

from harness_llm import ending, terminal

STOPPED = 3


def main() -> None:
    """Run the command line; an end from outside is exit code 3, whenever it comes."""
    try:
        ending.listen()
        terminal.open_streams()
        from harness_llm.cli import main as run_verb

        run_verb()
    except KeyboardInterrupt:
        terminal.say("stopped")
        raise SystemExit(STOPPED) from None


if __name__ == "__main__":
    main()
