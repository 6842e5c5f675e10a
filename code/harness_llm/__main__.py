"""`python -m harness_llm`, and `harness-llm`: streams and signals first, for the rest takes its time."""

from harness_llm import ending

_STOPPED = 3


def main() -> None:
    """Run the command line; an end from outside is exit code 3, whenever it comes."""
    try:
        ending.listen()
        from harness_llm import terminal

        terminal.open_streams()
        from harness_llm.cli import main as run_verb

        run_verb()
    except KeyboardInterrupt:
        from harness_llm import terminal

        terminal.say("stopped")
        raise SystemExit(_STOPPED) from None
    finally:
        ending.be_over()


if __name__ == "__main__":
    main()
