"""What a user may type is a promise: a verb or an option that comes or goes must be written down here."""

from __future__ import annotations

import typer

from harness_llm.cli import app

PROMISED = {
    "fetch": {"--model", "--dataset", "--revision", "--endpoint", "--uri", "--verify", "--json"},
    "convert": {"--output", "--replace", "--json"},
    "doctor": {"--output", "--json"},
    "init": {
        "--model", "--benchmark", "--server", "--data", "--scenario", "--ttft", "--tpot", "--rate",
        "--max-tokens", "--gpu", "--output", "--replace",
    },
    "prepare": {"--config", "-c", "--set", "--test", "--show-sample", "--json"},
    "run": {
        "--config", "-c", "--set", "--test", "--output", "--resume", "--no-early-end", "--view",
        "--metrics-port", "--json",
    },
    "score": {"--test", "--from", "--json"},
    "watch": {"--view"},
    "show": {"--csv", "--json"},
    "list": {"--json"},
    "report": {"--output", "-o", "--charts", "--json"},
    "compare": {"--pairs", "--paired", "--set", "--output", "--force", "--json"},
    "export": {"--parquet", "--mlflow", "--json"},
    "check": {"--round", "--division", "--failures", "--all", "--score-again", "--json"},
    "package": {
        "--company", "--system-name", "--division", "--round", "--output", "--system-yaml", "--documentation",
        "--benchmark", "--maps-to", "--replace", "--json",
    },
    "quantize": {
        "--model", "--calibration", "--output", "--kind", "--backend", "--samples", "--sequence-length",
        "--write-up",
    },
    "reference": {"--config", "-c", "--output", "--set", "--dtype", "--batch"},
    "submit": {
        "--company", "--system-name", "--gpu", "--scenario", "--test", "--set", "--user-conf", "--round",
        "--division", "--system-yaml", "--documentation", "--output", "--fetch", "--rehearse",
        "--shape", "--tune",
    },
    "tune": {
        "--config", "-c", "--set", "--confidence", "--budget", "--from", "--dry-run", "--try", "--output",
        "--view", "--json",
    },
    "study": {
        "--config", "-c", "--set", "--output", "--report", "--objective", "--set-caps", "--dry-run", "--view",
        "--json",
    },
    "simulate": {
        "--scenario", "--replicas", "--qps", "--max", "--set", "--speeds", "--offline", "--check", "--json",
    },
    "system": {"--output", "--template", "--yaml", "--company", "--division", "--json"},
}  # fmt: skip


def test_the_command_line_is_as_promised() -> None:
    group = typer.main.get_command(app)
    commands = group.commands  # type: ignore[attr-defined]
    found = {
        name: {
            option
            for parameter in command.params
            if parameter.param_type_name == "option"
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        - {"--help"}
        for name, command in commands.items()
    }
    assert found == PROMISED


def test_versions_and_completion_are_options_of_the_command_itself() -> None:
    found = {option for parameter in typer.main.get_command(app).params for option in parameter.opts}
    assert found == {"--version", "--install-completion", "--show-completion"}


def test_every_option_says_what_it_is_for() -> None:
    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        assert command.help, name
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{name} {parameter.name}"
