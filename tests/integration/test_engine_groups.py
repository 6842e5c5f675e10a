"""Scenarios with different engine arguments: each keeps the facts of the engines that answered it."""

from __future__ import annotations

from pathlib import Path

from harness_llm.config.load import load_config
from harness_llm.results.finished import engine_record
from harness_llm.results.paths import SPEC_JSON, replica_folder
from harness_llm.results.run_folder import RunFolder
from harness_llm.run.execute import execute
from harness_llm.run.prepare import prepare
from harness_llm.views.live import PlainView

FIRST_TOKEN_MS = {"Offline": 5, "Server": 9, "Interactive": 9}


def test_two_groups_of_engines_do_not_overwrite_one_another(tmp_path: Path) -> None:
    (tmp_path / "user.conf").write_text(
        "".join(
            f"{model}.target_qps = 100\n{model}.min_duration = 100\n{model}.min_query_count = 10\n"
            for model in ("mine.Offline", "mine.Server", "mine-interactive.Server")
        )
        + "".join(
            f"{model}.*.use_token_latencies = 1\n"
            f"{model}.Server.ttft_latency = 900\n{model}.Server.tpot_latency = 90\n"
            for model in ("mine", "mine-interactive")
        )
    )
    configs = []
    for scenario, milliseconds in FIRST_TOKEN_MS.items():
        path = tmp_path / f"{scenario}.yaml"
        path.write_text(f"""
llm_config: {{}}
harness_config: {{benchmark: mine, scenario: {scenario}, max_tokens: 8,
  dataset: {{kind: synthetic, shape: 20:8:4}}, user_conf: {tmp_path / "user.conf"},
  engine: {{kind: simulated, first_token_ms: {milliseconds}}}}}
""")
        configs.append(load_config(path))
    prepared = prepare(configs, ("performance",))
    execute(prepared, tmp_path / "run", PlainView(""), resume=False)
    folder = RunFolder(tmp_path / "run")
    groups: dict[str, str | None] = {}
    for scenario, milliseconds in FIRST_TOKEN_MS.items():
        group = folder.test(f"{scenario}/performance").record().engines
        assert engine_record(folder.path, group).resolved["first_token_ms"] == milliseconds, scenario
        assert (replica_folder(folder.path, group, 0) / SPEC_JSON).is_file()
        groups[scenario] = group
    assert groups == {
        "Offline": "Offline",
        "Server": "Server-Interactive",
        "Interactive": "Server-Interactive",
    }
    assert sorted(path.name for path in (folder.path / "replicas").iterdir()) == [
        "Offline",
        "Server-Interactive",
    ]
