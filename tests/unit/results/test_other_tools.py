"""What `export` writes, read by the tools that it is for, which are installed for these tests alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from golden.run_folder import build_run

CODE = Path(__file__).parents[3] / "code"
TOOLS = ("pandas", "polars", "duckdb", "mlflow-skinny")  # half a GB
READERS = {
    "pandas": "import pandas; f = pandas.read_parquet(path); print(len(f), f['tpot_ms'].mean())",
    "polars": "import polars; f = polars.read_parquet(path); print(len(f), f['tpot_ms'].mean())",
    "duckdb": (
        "import duckdb; print(*duckdb.sql(f\"select count(*), avg(tpot_ms) from '{path}'\").fetchall()[0])"
    ),
}
MLFLOW = """\
import mlflow
(experiment,) = [e for e in mlflow.MlflowClient(path).search_experiments() if e.name != "Default"]
(run,) = mlflow.MlflowClient(path).search_runs([experiment.experiment_id])
data = run.data
rate, places = data.metrics["Server.tokens_per_s"], data.params["Server.llm_config.max_num_seqs"]
print(experiment.name, run.info.status, rate, places)
"""

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tools")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(folder)]
    done = subprocess.run([*pip, *TOOLS], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{', '.join(TOOLS)} cannot be installed here: {done.stderr[-300:]}")
    return folder


def _python(tools: Path, script: str, *arguments: object) -> str:
    """What a script prints that has the tools behind everything else."""
    begin = f"import sys; sys.path.append({str(tools)!r}); path = sys.argv[1] if sys.argv[1:] else ''\n"
    environment = {**os.environ, "PYTHONPATH": str(CODE), "MLFLOW_ALLOW_FILE_STORE": "true"}
    command = [sys.executable, "-c", begin + script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


HARNESS = "from harness_llm.__main__ import main; main()"


@pytest.mark.parametrize("reader", list(READERS))
def test_a_reader_finds_every_sample_and_the_same_mean(tools: Path, tmp_path: Path, reader: str) -> None:
    import numpy as np
    from pyarrow import parquet

    run, table = build_run(tmp_path / "run"), tmp_path / "samples.parquet"
    _python(tools, HARNESS, "export", run, "--parquet", table)
    ours = parquet.read_table(table)
    count, mean = _python(tools, READERS[reader], table).split()
    assert int(count) == len(ours) > 100
    assert float(mean) == pytest.approx(np.nanmean(ours["tpot_ms"].to_numpy()))


def test_the_real_mlflow_takes_a_run_twice_and_has_it_once(tools: Path, tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", {"Server/performance": "toy-server-valid"})
    (run / "config" / "Server.yaml").write_text("llm_config: {max_num_seqs: 64}\n")
    store = f"file:{tmp_path / 'mlruns'}"
    for _ in range(2):
        assert "MLflow: run " in _python(tools, HARNESS, "export", run, "--mlflow", store)
    name, status, rate, places = _python(tools, MLFLOW, store).split()
    assert name == "toy" and status == "FINISHED" and float(rate) > 0 and places == "64"
