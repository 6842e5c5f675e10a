"""What a submission of one benchmark runs on one kind of GPU: profiles, tests, settings of a rehearsal."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness_llm.benchmark import Benchmark, facts_of
from harness_llm.benchmark.catalogue import MODELS, all_facts
from harness_llm.core import Scenario
from harness_llm.errors import ConfigError
from harness_llm.run.plan import TESTS

_PROMPT_TOKENS = 64  # of a rehearsal's made-up samples: enough to see, quick to load


@dataclass(frozen=True)
class Lineup:
    """The files and settings of one submission.

    Attributes:
        profiles: A configuration for each scenario.
        tests: `performance`, `accuracy` and the compliance tests of the benchmark.
        overrides: Settings that win over the profiles', each `key=value`.
    """

    profiles: tuple[Path, ...]
    tests: tuple[str, ...]
    overrides: tuple[str, ...]


def line_up(
    benchmark: Benchmark,
    gpu: str,
    *,
    scenarios: Sequence[str] = (),
    tests: Sequence[str] = (),
    user_conf: Path | None = None,
    rehearsal: bool = False,
    shapes: Sequence[str] = (),
) -> Lineup:
    """What to run for a benchmark.

    Args:
        benchmark: The benchmark.
        gpu: Which configurations of it: the last part of their names, such as `h200`.
        scenarios: Which to run, in any case; all that have a configuration where none are named.
        tests: Which to run; performance, accuracy and the round's compliance tests where none are named.
        user_conf: Another user.conf than the profiles'.
        rehearsal: Answer by the simulated engine, over made-up samples.
        shapes: Of a rehearsal's samples: `samples:prompt:answer` in tokens, or `TEST=samples:prompt:answer`
            for a test that has samples of its own. What is not given follows from the rules.

    Raises:
        ConfigError: There is no such configuration.
    """
    folder = _folder(benchmark)
    wanted = [name.lower() for name in scenarios] or [
        scenario.lower() for scenario in Scenario if _profile(folder, scenario, gpu).is_file()
    ]
    missing = [path for name in wanted if not (path := _profile(folder, name, gpu)).is_file()]
    if missing or not wanted:
        known = " ".join(sorted(path.stem for path in folder.glob("*_*.yaml")))
        raise ConfigError(
            f'GPU "{gpu}": there is no {missing[0] if missing else _profile(folder, "<scenario>", gpu)}',
            f"Name what is there ({known}), or write that file.",
        )
    asked = tuple(tests) or (*TESTS, *(benchmark.rules.tests if benchmark.rules else ()))
    overrides = [f"harness_config.benchmark={benchmark.name}"]
    if user_conf is not None:
        overrides.append(f"harness_config.user_conf={user_conf}")
    if rehearsal:
        overrides += _rehearsal(benchmark, shapes)
    return Lineup(tuple(_profile(folder, name, gpu) for name in wanted), asked, tuple(overrides))


def _rehearsal(benchmark: Benchmark, shapes: Sequence[str]) -> list[str]:
    """Settings of a simulated engine over made-up samples that are as many and as long as the benchmark's.

    Raises:
        ConfigError: A shape is for a test that the benchmark does not have.
    """
    tests = dict(benchmark.rules.tests) if benchmark.rules else {}
    given = {name: shape for name, _, shape in (text.rpartition("=") for text in shapes)}
    if unknown := sorted(given.keys() - tests.keys() - {""}):
        raise ConfigError(
            f"--shape {unknown[0]}={given[unknown[0]]}: {benchmark.name} has no such test",
            f"It has {', '.join(tests) or 'none'}.",
        )
    answer = _answer_tokens(benchmark)
    samples = benchmark.rules.samples.performance if benchmark.rules else 100
    shape = given.get("", f"{samples}:{_PROMPT_TOKENS}:{answer}")
    if ":" not in shape:
        shape = f"{samples}:{_PROMPT_TOKENS}:{shape}"
    overrides = [
        "harness_config.engine={kind: simulated, first_token_ms: 20, per_token_ms: 0.5}",
        f"harness_config.dataset={{kind: synthetic, shape: '{shape}'}}",
    ]
    own = {
        name: given.get(name, f"{test.audit['min_query_count']}:{_PROMPT_TOKENS}:{answer}")
        for name, test in tests.items()
        if test.accuracy_at_least is not None or name in given
    }
    if own:
        listed = ", ".join(
            f"{name}: {{dataset: {{kind: synthetic, shape: '{each}'}}}}" for name, each in own.items()
        )
        overrides.append(f"harness_config.tests={{{listed}}}")
    return overrides


def _answer_tokens(benchmark: Benchmark) -> int:
    """Tokens of a made-up answer: the middle of what the rules allow in the mean, else their output limit."""
    if benchmark.rules is None:
        return _PROMPT_TOKENS
    for test in benchmark.rules.tests.values():
        if test.tokens_per_sample is not None:
            return int((test.tokens_per_sample["low"] + test.tokens_per_sample["high"]) / 2)
    window = benchmark.rules.length
    if window.metric == "tokens_per_sample" and window.low is not None:
        return int((window.low + window.high) / 2)
    return benchmark.rules.generation.max_tokens


def _folder(benchmark: Benchmark) -> Path:
    """The benchmark's folder under models/.

    Raises:
        ConfigError: There is none.
    """
    facts = facts_of(benchmark.name)
    for name, known in all_facts().items():
        if known is facts:
            return MODELS / name
    raise ConfigError(
        f"{benchmark.name}: no configurations are shipped for it",
        f"Name one of {', '.join(sorted(all_facts()))}, or use `harness-llm run` with files of your own.",
    )


def _profile(folder: Path, scenario: str, gpu: str) -> Path:
    return folder / f"{scenario.lower()}_{gpu}.yaml"
