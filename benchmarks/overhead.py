"""What the harness costs a real engine: LoadGen's Offline tokens/s over those of the engine without it.

Without it means plain `vllm.LLM.generate`, or for `engine: openai` a plain client of the same server.

Both sides answer the same prompts in the same order, with the same limits and the same engine arguments, each
time in a fresh process after the same warm-up, and never at once. docs/benchmarks.md says how to read it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "code"))

from benchmarks.figures import INTERRUPTED, Figure, Machine, report, write_conf

from harness_llm.config.load import load_config
from harness_llm.engines.openai import OpenAI
from harness_llm.errors import ConfigError, EngineError, HarnessError, RunBroken
from harness_llm.launch.cause import log_tail
from harness_llm.launch.launcher import end_all
from harness_llm.launch.local import LocalLauncher
from harness_llm.launch.placement import replica_environments
from harness_llm.launch.role import Role
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.source import DETAIL_LOG
from harness_llm.results.events import read_events
from harness_llm.results.finished import engine_record
from harness_llm.results.live_records import LiveRecord
from harness_llm.results.paths import EVENTS_NPY
from harness_llm.results.run_folder import TestFolder
from harness_llm.run.execute import execute
from harness_llm.run.prepare import Prepared, prepare
from harness_llm.views.live import make_view

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness_llm.config.harness import RunConfig
    from harness_llm.views.live import View

_TARGET = 0.98
_ROOT = Path(__file__).resolve().parents[1]
_MODEL = "overhead"  # no official name: LoadGen then takes every setting from our user.conf
_CONFIG = _ROOT / "code/harness_llm/models/smollm2-135m/offline_cpu.yaml"
_WARM_UP = {"prompts": [[5] * 16, [6] * 64, [7] * 256], "limits": [(4, 4)] * 3}  # as VllmEngine warms up
_MAY_DIFFER = {"stream_interval"}  # outputs a request: the harness asks for two, generate() for one
_PLAIN = {
    "vllm": ("plain generate()", "benchmarks.plain_vllm"),
    "openai": ("server driven directly", "benchmarks.openai_direct"),
}
_POLL_S = 0.2
_GRACE_S = 5.0


@dataclass(frozen=True)
class Measured:
    """One timed pass over all samples.

    Attributes:
        tokens_per_s: Output tokens a second: LoadGen's own figure, or tokens over the time of `generate`.
        tokens: Output tokens.
        scheduler: vLLM's resolved scheduler settings, as text by name.
    """

    tokens_per_s: float
    tokens: int
    scheduler: Mapping[str, str]


class Bench:
    """Measures either side, any number of times.

    Args:
        prepared: The Offline performance test.
        folder: Where everything is written.
        view: Where to show how it goes.
    """

    def __init__(self, prepared: Prepared, folder: Path, view: View) -> None:
        self._prepared = prepared
        self._config = prepared.configs[0]
        self._folder = folder
        self._view = view
        self._passes = 0
        self._order: list[int] = []
        self._engine: Mapping[str, Any] = {}

    def harness(self) -> Measured:
        """A whole run of the harness; LoadGen's figure.

        Raises:
            RunBroken: The run broke, or LoadGen did not run each sample once.
        """
        run = self._next_folder()
        execute(self._prepared, run, self._view, resume=False)
        test = run / "Offline/performance"
        self._order = read_events(test / EVENTS_NPY)["sample"].tolist()
        if sorted(self._order) != list(range(len(self._prepared.table))):
            raise RunBroken(f"{test}: LoadGen did not run each of {len(self._prepared.table)} samples once")
        rate = DetailLog.read(test / DETAIL_LOG).tokens_per_second
        if not rate:
            raise RunBroken(f"{test}: LoadGen logged no tokens per second")
        record = TestFolder(test).record()
        assert record.tokens is not None
        self._engine = engine_record(run, record.engines).resolved
        scheduler = self._engine.get("config", {}).get("scheduler_config", {})
        return Measured(rate, record.tokens, {name: str(value) for name, value in scheduler.items()})

    def plain(self) -> Measured:
        """The engine alone, on the samples in the order in which LoadGen asked; call `harness` before.

        Raises:
            EngineError: It failed; the message holds the end of its log.
        """
        assert self._order
        folder = self._next_folder()
        folder.mkdir()
        result = folder / "result.json"
        spec = folder / "spec.json"
        spec.write_text(json.dumps(self._plain_spec(result)), encoding="utf-8")
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        environment = {**replica_environments(self._config)[0], "PYTHONPATH": path}
        name, module = _PLAIN[self._config.engine.kind]
        role = Role(name, module, started="at once", first_word_s=None, silence_s=None)
        began_s = time.monotonic()
        child = LocalLauncher().start(role, "plain", spec, folder / "log.txt", environment)
        try:
            while child.exit_reason() is None:
                self._view.tick(LiveRecord(at_s=time.monotonic(), began_at_s=began_s, stage=name))
                time.sleep(_POLL_S)
        finally:
            end_all([child], _GRACE_S)
        if not result.is_file():
            raise EngineError(f"{name}: {child.exit_reason()}; end of its log:{log_tail(child)}")
        found = json.loads(result.read_text())
        return Measured(found["tokens"] / found["seconds"], found["tokens"], found["scheduler"])

    def _plain_spec(self, result: Path) -> dict[str, Any]:
        table = self._prepared.table
        spec = {
            "prompts": [table.prompt(sample).tolist() for sample in self._order],
            "limits": [(int(table.min_tokens[i]), int(table.max_tokens[i])) for i in self._order],
            "result": str(result),
        }
        if isinstance(engine := self._config.engine, OpenAI):  # the harness keeps as many again queued
            server = {"url": self._engine["url"], "model": self._engine["model"]["id"]}
            return {**spec, **server, "in_flight": 2 * engine.concurrent}
        arguments = {**self._config.llm_config, "enable_prefix_caching": False}
        return {**spec, "arguments": arguments, "warm_up": _WARM_UP}

    def _next_folder(self) -> Path:
        self._passes += 1
        return self._folder / str(self._passes)


def run_pairs(bench: Bench, pairs: int, view: View) -> list[tuple[Measured, Measured]]:
    """Measure both sides `pairs` times, the harness first in the 1st, 3rd, … pair; (harness, plain) of each.

    Raises:
        ConfigError: vLLM resolved its settings differently for the two.
        RunBroken: A side broke.
    """
    found = []
    for pair in range(pairs):
        if pair % 2 == 0:
            harness, plain = bench.harness(), bench.plain()
        else:
            plain, harness = bench.plain(), bench.harness()
        _check_same_settings(harness, plain)
        view.say(
            f"pair {pair + 1} of {pairs}: harness {harness.tokens_per_s:,.2f} tokens/s, "
            f"plain {plain.tokens_per_s:,.2f}, ratio {harness.tokens_per_s / plain.tokens_per_s:.4f}"
        )
        found.append((harness, plain))
    return found


def _check_same_settings(harness: Measured, plain: Measured) -> None:
    names = (harness.scheduler.keys() & plain.scheduler.keys()) - _MAY_DIFFER
    differ = [
        f"{name}: {harness.scheduler[name]} in the harness, {plain.scheduler[name]} in LLM"
        for name in sorted(names)
        if harness.scheduler[name] != plain.scheduler[name]
    ]
    if differ:
        raise ConfigError(
            "vLLM's defaults differ between the two, so nothing can be compared: " + "; ".join(differ),
            "Set these in llm_config, e.g. with --set llm_config.max_num_batched_tokens=2048.",
        )


def _prepare(options: argparse.Namespace, folder: Path) -> Prepared:
    conf = write_conf(
        folder / "user.conf",
        _MODEL,
        {  # LoadGen rounds one query up to the whole data set, each sample once
            "Offline.target_qps": 1,
            "Offline.min_duration": 0,
            "Offline.min_query_count": 1,
            "Offline.sample_concatenate_permutation": 1,
        },
    )
    overrides = [
        *options.set,
        f"harness_config.benchmark={_MODEL}",
        f"harness_config.user_conf={conf}",
        "harness_config.scenario=Offline",
        "harness_config.replicas=1",
    ]
    if options.samples is not None:
        overrides.append(f"harness_config.dataset.samples={options.samples}")
    config = load_config(options.config, overrides)
    if (engine := config.engine.kind) not in _PLAIN:
        raise ConfigError(f"{options.config}: engine {engine}; only {' and '.join(_PLAIN)} have a plain side")
    return prepare([config], ["performance"])


def _figures(pairs: Sequence[tuple[Measured, Measured]]) -> list[Figure]:
    ratios = [harness.tokens_per_s / plain.tokens_per_s for harness, plain in pairs]
    harness_rate = statistics.median(harness.tokens_per_s for harness, _ in pairs)
    plain_rate = statistics.median(plain.tokens_per_s for _, plain in pairs)
    rows = [
        (f"median ratio of {len(pairs)}, harness / plain", statistics.median(ratios), "", 4, _TARGET),
        *((f"pair {number}: ratio", ratio, "", 4, None) for number, ratio in enumerate(ratios, 1)),
        ("harness, median, as LoadGen reports", harness_rate, "tokens/s", 2, None),
        ("without the harness, median", plain_rate, "tokens/s", 2, None),
        ("harness, output tokens of a pass", pairs[-1][0].tokens, "tokens", 0, None),
        ("plain, output tokens of a pass", pairs[-1][1].tokens, "tokens", 0, None),
    ]
    return [Figure(name, value, unit, target, digits=digits) for name, value, unit, digits, target in rows]


def _model(config: RunConfig) -> str:
    path = config.model_path
    return config.engine.kind if path is None else path.name


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Offline tokens/s by LoadGen over the engine's alone.")
    parser.add_argument("--config", type=Path, default=_CONFIG, help="harness YAML (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override one key")
    parser.add_argument("--samples", type=int, help="use only the first so many samples (default: all)")
    parser.add_argument("--pairs", type=int, default=3, help="pairs to measure (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if options.pairs < 1:
        parser.error("--pairs must be at least 1")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns 0, 1 if the target is missed, or the exit code of what went wrong."""
    options = _options(arguments)
    machine = Machine()
    view = make_view("unofficial", quiet=True)
    try:
        with tempfile.TemporaryDirectory(prefix="harness-llm-overhead-") as name:
            folder = Path(name)
            prepared = _prepare(options, folder)
            pairs = run_pairs(Bench(prepared, folder, view), options.pairs, view)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        view.close()
    table = prepared.table
    title = (
        f"overhead: Offline through LoadGen over {_PLAIN[prepared.configs[0].engine.kind][0]}, "
        f"{len(table):,} samples of {table.name}, {_model(prepared.configs[0])}, unofficial"
    )
    passes = [
        {"side": side, "tokens_per_s": one.tokens_per_s, "tokens": one.tokens}
        for pair in pairs
        for side, one in zip(("harness", "plain"), pair, strict=True)
    ]
    return report(title, _figures(pairs), machine.facts(), {"passes": passes}, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
