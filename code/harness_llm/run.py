"""A run from configuration to scored tests: prepare and check everything, then measure, then score."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_llm import datasets, rules
from harness_llm.accuracy.checkpoint import weights_digest
from harness_llm.accuracy.reference_file import Reference
from harness_llm.compliance.audit import audit_config
from harness_llm.config.load import dump_config
from harness_llm.config.user_conf import UserConf
from harness_llm.core import Mode, Scenario
from harness_llm.datasets.options import DatasetOptions
from harness_llm.errors import ConfigError, FolderError, HarnessError, HostError, ModelError
from harness_llm.scoring import gates_of
from harness_llm.supervise.folder import RunFolder, is_in_use, read_json, utc_now
from harness_llm.supervise.launcher import child_environment
from harness_llm.supervise.plan import PlannedTest, RunPlan
from harness_llm.supervise.supervisor import Supervisor
from harness_llm.system import provenance
from harness_llm.system.detect import detect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness_llm.config.model import RunConfig
    from harness_llm.datasets.table import SampleTable
    from harness_llm.supervise.view import View

__all__ = ["TESTS", "Prepared", "execute", "find_unfinished", "prepare", "shipped_models"]

TESTS = ("performance", "accuracy")
_SAME_IN_ALL = (
    "benchmark", "dataset", "dataset_path", "dataset_shape", "dataset_samples", "dataset_seed",
    "chat_template", "user_conf", "max_tokens", "min_tokens", "reference", "port",
)  # fmt: skip
_VOCABULARY = 32_000  # of synthetic samples, where no checkpoint says
_LOADGEN_MIN_QUERIES = 100  # loadgen/test_settings.h, min_query_count, @b66003e1


@dataclass(frozen=True)
class Prepared:
    """A run whose every input was read and checked; nothing is started.

    Attributes:
        configs: One for each scenario, in the order given.
        table: The samples.
        user_conf: LoadGen's user.conf.
        tests: What will run, in order.
    """

    configs: tuple[RunConfig, ...]
    table: SampleTable
    user_conf: UserConf
    tests: tuple[PlannedTest, ...]

    @property
    def benchmark(self) -> str:
        """The benchmark's name."""
        return self.configs[0].harness_config.benchmark

    @property
    def is_official(self) -> bool:
        """Whether MLPerf knows the benchmark; if not, every number is marked unofficial."""
        return rules.is_official(self.benchmark)

    @property
    def is_simulated(self) -> bool:
        """Whether any answer is made up."""
        return any(config.harness_config.engine == "simulated" for config in self.configs)

    @property
    def marker(self) -> str:
        """What to write beside every number; empty for an official benchmark on a real engine."""
        if self.is_simulated:
            return "simulated, not a result"
        return "" if self.is_official else "unofficial"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides what is measured: two runs with one can be joined."""
        state = hashlib.sha256(self.table.digest.encode())
        for config in self.configs:
            state.update(dump_config(config).encode())
        state.update(self.user_conf.path.read_bytes())
        return state.hexdigest()


def prepare(configs: Sequence[RunConfig], tests: Sequence[str] = TESTS) -> Prepared:
    """Read and check everything that a run needs.

    Args:
        configs: One for each scenario, of one benchmark.
        tests: Which of `performance`, `accuracy` and the benchmark's compliance tests.

    Raises:
        UsageError: Something cannot work; says what and what would do.
    """
    _check_same_benchmark(configs)
    first = configs[0].harness_config
    user_conf = UserConf.read(first.user_conf)
    scenarios = [config.harness_config.scenario for config in configs]
    user_conf.validate(first.benchmark, scenarios, models=shipped_models())
    for config in configs:
        _check_model(config)
    for config in configs:
        _check_loadgen(config)
    table = datasets.load(
        first.dataset,
        first.dataset_path,
        model_path=configs[0].model_path,
        max_tokens=first.max_tokens,
        min_tokens=first.min_tokens,
        options=DatasetOptions(
            chat_template=first.chat_template,
            shape=first.dataset_shape or "",
            seed=first.dataset_seed,
            vocab_size=int(_model_config(configs[0]).get("vocab_size") or _VOCABULARY),
            samples=first.dataset_samples,
            official=rules.is_official(first.benchmark) and first.dataset_samples is None,
        ),
    )
    for config in configs:
        _check_fit(config, table)
    if "accuracy" in tests and table.references is None and not _is_simulated(configs):
        raise ConfigError(
            f"the data set {table.name} has no reference answers, so accuracy cannot be scored",
            "Run with --test performance only, or add references to the data set.",
        )
    if "accuracy" in tests and table.references is not None:
        _check_reference(configs[0], table)
    planned = tuple(
        _plan_test(config, test, user_conf, len(table))
        for key in dict.fromkeys(config.engine_key for config in configs)
        for config in configs
        if config.engine_key == key
        for test in dict.fromkeys(tests)
    )
    return Prepared(tuple(configs), table, user_conf, planned)


def execute(
    prepared: Prepared,
    output: Path,
    view: View,
    *,
    resume: bool,
    after_test: Callable[[Path], None],
) -> None:
    """Measure into a run folder.

    Args:
        prepared: From `prepare`.
        output: The run folder; new, or with `resume` one of the same run that did not finish.
        view: Where to show how it goes.
        resume: Continue an unfinished run: complete tests are kept.
        after_test: Called with the folder of each test that LoadGen ended, e.g. to score it.

    Raises:
        FolderError: The folder is in use, finished, or of another run.
        RunBroken: The run cannot go on; run.json says why.
    """
    with RunFolder(output) as folder:
        _check_state(folder, prepared, resume=resume)
        plan = RunPlan(
            tests=prepared.tests,
            samples=folder.path / "samples.npz",
            user_conf=prepared.user_conf.path,
            sample_count=len(prepared.table),
            answer_tokens=int(prepared.table.max_tokens.sum()),
        )
        plan.check_disk(folder.path)
        _record_start(folder, prepared)
        try:
            prepared.table.save(plan.samples)
            with Supervisor(folder, view) as supervisor:
                supervisor.run(plan, after_test)
        except OSError as error:
            folder.record(state="broken", reason=str(error), finished_utc=utc_now())
            raise HostError(
                f"{folder.path}: {error}", "Free disk space, or choose another folder."
            ) from error
        except HarnessError as error:
            folder.record(state="broken", reason=error.message, finished_utc=utc_now())
            raise
        except Exception as error:
            folder.record(state="broken", reason=f"{type(error).__name__}: {error}", finished_utc=utc_now())
            raise
        except BaseException:
            folder.record(state="interrupted", reason="stopped from outside", finished_utc=utc_now())
            raise
        folder.record(state="complete", reason="", finished_utc=utc_now())


def shipped_models() -> set[str]:
    """LoadGen's model names of the benchmarks under models/: one user.conf may name several of them."""
    folders = (path.name for path in (Path(__file__).parent / "models").iterdir() if path.is_dir())
    return {rules.loadgen_model(name, scenario) for name in folders for scenario in Scenario}


def find_unfinished(prepared: Prepared, results: Path) -> Path | None:
    """The newest run folder under `results` that began this very run and did not finish it, if any."""
    found = []
    for record in results.glob("*/run.json"):
        try:
            state = read_json(record)
        except FolderError:
            continue
        if (
            state.get("state") != "complete"
            and not is_in_use(record.parent)
            and state.get("fingerprint") == prepared.fingerprint
        ):
            found.append((str(state.get("started_utc")), record.parent))
    return max(found)[1] if found else None


def _is_simulated(configs: Sequence[RunConfig]) -> bool:
    return any(config.harness_config.engine == "simulated" for config in configs)


def _check_same_benchmark(configs: Sequence[RunConfig]) -> None:
    if not configs:
        raise ConfigError("no configuration given", "Give one --config FILE for each scenario.")
    seen: set[Scenario] = set()
    first = configs[0].harness_config
    for config in configs:
        harness = config.harness_config
        if harness.scenario in seen:
            raise ConfigError(
                f"scenario {harness.scenario} is configured twice", "Give one --config a scenario."
            )
        seen.add(harness.scenario)
        for name in _SAME_IN_ALL:
            if getattr(harness, name) != getattr(first, name):
                raise ConfigError(
                    f"harness_config.{name} differs between {first.scenario} ({getattr(first, name)}) and "
                    f"{harness.scenario} ({getattr(harness, name)})",
                    "One run is one benchmark over one data set; run them apart, or make them equal.",
                )


def _check_loadgen(config: RunConfig) -> None:
    """Hold the rules table against the mlperf.conf inside LoadGen, before LoadGen decides by it."""
    harness = config.harness_config
    if not rules.is_official(harness.benchmark):
        return
    model = rules.loadgen_model(harness.benchmark, harness.scenario)
    answer = subprocess.run(
        [sys.executable, "-m", "harness_llm.loadgen.embedded", model, harness.scenario],
        capture_output=True,
        text=True,
        check=False,
        env=child_environment({}),
    )
    if answer.returncode:
        raise HostError(
            f"LoadGen does not load: {answer.stderr.strip()[-500:]}", "Set the environment up again."
        )
    settings = json.loads(answer.stdout.splitlines()[-1])
    differences = rules.compare_with_loadgen(settings, harness.benchmark, harness.scenario)
    if differences:
        raise ConfigError(
            "\n".join(differences), "Install the LoadGen release of the round, or update the rules."
        )


def _check_model(config: RunConfig) -> None:
    """Look at the checkpoint folder: what is plainly missing is said now, not after a load of minutes."""
    if config.harness_config.engine == "simulated":
        return
    path = config.model_path
    assert path is not None
    if not path.is_dir():
        raise ModelError(
            f"{path}: no such checkpoint folder (llm_config.model)",
            "Run download_model.py, or set LAB_MODEL to where the models are.",
        )
    if not (path / "config.json").is_file():
        raise ModelError(f"{path}: holds no config.json, so it is no Hugging Face checkpoint")
    if not any(path.glob("*.safetensors")) and not any(path.glob("*.bin")):
        is_dummy = config.llm_config.get("load_format") == "dummy"
        if not is_dummy:
            raise ModelError(f"{path}: holds no weights (*.safetensors)", "Download the model again.")


def _check_reference(config: RunConfig, table: SampleTable) -> None:
    """Refuse a reference made for other samples or weights now, not after the test."""
    reference = gates_of(config)
    if isinstance(reference, Reference) and config.model_path is not None:
        reference.gates(table, weights_digest(config.model_path))


def _model_config(config: RunConfig) -> dict[str, Any]:
    path = config.model_path
    if path is None or not (path / "config.json").is_file():
        return {}
    try:
        found = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(
            f"{path / 'config.json'}: not valid JSON: {error}", "Download the model again."
        ) from error
    return found if isinstance(found, dict) else {}


def _check_fit(config: RunConfig, table: SampleTable) -> None:
    model = _model_config(config)
    asked = config.llm_config.get("max_model_len")
    limit = asked if isinstance(asked, int) else model.get("max_position_embeddings")
    if isinstance(limit, int) and config.harness_config.engine != "simulated":
        datasets.validate_fit(table, limit, vocab_size=model.get("vocab_size"))


def _plan_test(config: RunConfig, test: str, user_conf: UserConf, samples: int) -> PlannedTest:
    harness = config.harness_config
    scenario = harness.scenario
    model = rules.loadgen_model(harness.benchmark, scenario)
    settings = user_conf.settings_for(model, scenario)
    official = rules.lookup(harness.benchmark)
    limits = official.latency.get(scenario) if official is not None else None
    planned = PlannedTest(
        name=f"{scenario}/{test}",
        config=config,
        mode=Mode.ACCURACY if test == "accuracy" else Mode.PERFORMANCE,
        loadgen_model=model,
        target_qps=float(settings["target_qps"]),
        expected=None,
        ttft_limit_ms=limits.ttft_ms if limits is not None else settings.get("ttft_latency"),
        tpot_limit_ms=limits.tpot_ms if limits is not None else settings.get("tpot_latency"),
    )
    if test == "accuracy":
        return replace(planned, expected=samples)
    if test == "performance":
        return replace(planned, expected=_expected_queries(planned, settings, official is not None, samples))
    if official is not None and test not in official.tests:
        known = ", ".join((*TESTS, *official.tests))
        raise ConfigError(
            f"{harness.benchmark} has no test {test!r} in round {official.round}", f"It has {known}."
        )
    return replace(planned, audit_conf=audit_config(test))


def _expected_queries(
    test: PlannedTest, settings: dict[str, int | float], is_official: bool, samples: int
) -> int:
    """Queries of a performance test, estimated as LoadGen plans them (loadgen.cc, GenerateQueries)."""
    seconds = float(settings.get("min_duration", 600_000)) / 1000
    count = max(float(settings.get("min_query_count", _LOADGEN_MIN_QUERIES)), seconds * test.target_qps)
    if test.config.harness_config.scenario is Scenario.OFFLINE:
        count = max(count, 1.1 * seconds * test.target_qps)
    if is_official or settings.get("sample_concatenate_permutation"):
        return math.ceil(count / samples) * samples
    return math.ceil(round(count, 6))


def _check_state(folder: RunFolder, prepared: Prepared, *, resume: bool) -> None:
    state = folder.state()
    if state is None:
        return
    if state.get("state") == "complete":
        raise FolderError(f"{folder.path}: holds a finished run", "Choose a new folder with --output.")
    if not resume:
        raise FolderError(
            f"{folder.path}: holds an unfinished run ({state.get('state')})",
            "Continue it with --resume, or choose a new folder with --output.",
        )
    if state.get("fingerprint") != prepared.fingerprint:
        raise FolderError(
            f"{folder.path}: the run in it had another configuration, data set or user.conf",
            "Use the same ones to continue it, or choose a new folder with --output.",
        )


def _record_start(folder: RunFolder, prepared: Prepared) -> None:
    host = detect()
    earlier = folder.state() or {}
    repository = Path(__file__).parent
    folder.record(
        benchmark=prepared.benchmark,
        official=prepared.is_official,
        simulated=prepared.is_simulated,
        marker=prepared.marker,
        state="running",
        reason="",
        started_utc=earlier.get("started_utc") or utc_now(),
        resumed_utc=[*earlier.get("resumed_utc", []), *([utc_now()] if earlier else [])],
        finished_utc=None,
        command=provenance.command(),
        git=dict(provenance.git_state(repository)),
        packages=provenance.packages(),
        host=host.host_json(),
        accelerators=host.accelerators_json(),
        dataset={
            "name": prepared.table.name,
            "samples": len(prepared.table),
            "digest": prepared.table.digest,
            "source": prepared.table.source,
        },
        tests=[test.name for test in prepared.tests],
        fingerprint=prepared.fingerprint,
    )
    (folder.path / "config").mkdir(exist_ok=True)
    for config in prepared.configs:
        path = folder.path / "config" / f"{config.harness_config.scenario}.yaml"
        path.write_text(dump_config(config), encoding="utf-8")
