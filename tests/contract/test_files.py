"""Every configuration in the repository loads, and no file speaks of the machine it was written on."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from harness_llm import rules
from harness_llm.benchmark import loadgen_names, resolve
from harness_llm.config.load import dump_config, load_config
from harness_llm.config.recorded import load_recorded
from harness_llm.config.user_conf import UserConf
from harness_llm.secret_values import without_tokens

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "code/harness_llm/models"
FACTS = sorted(MODELS.rglob("benchmark.yaml"))
YAMLS = [path for path in sorted(MODELS.rglob("*.y*ml")) if path not in FACTS]
PROFILES = sorted(MODELS.rglob("*_*.yaml"))  # <scenario>_<gpu>.yaml; the others are what those extend
RECORDED = json.loads((ROOT / "tests/golden/profiles.json").read_text())
CONFS = sorted([*ROOT.glob("*.conf"), *(ROOT / "code").rglob("*.conf")])
# Written so that this file does not hold them itself.
FORBIDDEN = [
    *(f"{host}." + end for host, end in (("pypi", "org"), ("deb.debian", "org"), ("pythonhosted", "org"))),
    "registry.npmjs" + ".org",
    *(f"/{folder}/" for folder in ("work", "opt/wheels", "tmp/lab")),
]


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_something_to_load() -> None:
    assert {path.parent.name for path in PROFILES} >= {"smollm2-135m"}
    assert len(PROFILES) >= 30 and len(YAMLS) > len(PROFILES)
    assert ROOT / "user.conf" in CONFS


@pytest.mark.parametrize("path", PROFILES, ids=_id)
def test_every_yaml_loads_and_fits_its_name_and_its_user_conf(path: Path, tmp_path: Path) -> None:
    config = load_config(path, environment={})
    harness = config.harness_config
    assert harness.benchmark.startswith(path.parent.name)
    assert path.stem.partition("_")[0] == harness.scenario.lower()
    assert harness.engine.kind == "vllm", "a simulated engine makes no result"
    assert not harness.user_conf.is_absolute()
    UserConf.read(ROOT / harness.user_conf).validate(
        resolve(harness.benchmark), [harness.scenario], models=loadgen_names()
    )
    assert harness.reference is None or (ROOT / harness.reference).is_file()
    (tmp_path / "again.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "again.yaml") == config


@pytest.mark.parametrize("name", RECORDED)
def test_a_profile_resolves_to_what_it_was_when_each_was_one_file(name: str, tmp_path: Path) -> None:
    """The fixture holds what the profiles said before they extended one another; change it with a value."""
    (tmp_path / "was.yaml").write_text(json.dumps(RECORDED[name]))
    assert load_config(MODELS / name, environment={}) == load_recorded(tmp_path / "was.yaml")


@pytest.mark.parametrize("path", PROFILES, ids=_id)
def test_a_profile_holds_only_what_those_that_it_extends_do_not_say(path: Path) -> None:
    own, base = yaml.safe_load(path.read_text()), yaml.safe_load((path.parent / "base.yaml").read_text())
    between = yaml.safe_load((path.parent / own["extends"]).read_text())
    assert between["extends"] == "base.yaml" and path.stem.partition("_")[2] == Path(own["extends"]).stem
    for node in ("llm_config", "harness_config"):
        said = [set(file.get(node, {})) for file in (base, between, own)]
        assert sum(map(len, said)) == len(set().union(*said)), f"{path}: a key of {node} stands twice"


@pytest.mark.parametrize("path", PROFILES, ids=_id)
def test_every_profile_says_whether_it_ran(path: Path) -> None:
    text = path.read_text()
    status = re.search(r"^# Status: (.*)$", text, re.MULTILINE)
    assert status, "no status"
    assert re.search(r"\bran\b", status[1]) is None or re.search(
        r"\d{4}-\d\d-\d\d", text.split("extends:")[0]
    )


@pytest.mark.parametrize("path", YAMLS, ids=_id)
def test_every_file_says_why_each_value_is_what_it_is(path: Path) -> None:
    """Names and paths speak for themselves; so does a value under a line of comment."""
    text = path.read_text()
    plain = {
        "benchmark",
        "scenario",
        "dataset",
        "dataset_path",
        "user_conf",
        "reference",
        "override_generation_config",
    }
    lines = text.splitlines()
    for before, line in pairwise(lines):
        key = re.match(r" +(\w+): *\S", line)
        if key and key[1] not in plain:
            assert "#" in line or before.strip().startswith("#"), line


@pytest.mark.parametrize("path", PROFILES, ids=_id)
def test_the_limits_in_a_profiles_head_are_the_rules(path: Path) -> None:
    harness = load_config(path, environment={}).harness_config
    said = re.search(r"Limits at p99: TTFT ([\d,]+) ms, TPOT ([\d,]+) ms", path.read_text())
    official = rules.lookup(harness.benchmark)
    if official is None or not harness.scenario.is_timed_per_token:
        assert said is None
        return
    assert said is not None
    limits = official.latency[harness.scenario]
    assert [int(number.replace(",", "")) for number in said.groups()] == [limits.ttft_ms, limits.tpot_ms]


@pytest.mark.parametrize("path", CONFS, ids=_id)
def test_every_conf_is_read_without_complaint(path: Path) -> None:
    assert UserConf.read(path).entries


def _files() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no git checkout, so what belongs to the repository is not known")
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def _texts() -> Iterator[tuple[str, str]]:
    """What every file of the repository holds; one that another test has just removed is none."""
    for path in _files():
        with contextlib.suppress(FileNotFoundError):
            yield _id(path), path.read_bytes().decode("utf-8", errors="replace")


def test_no_file_names_a_registry_or_a_path_of_one_machine() -> None:
    pattern = re.compile("|".join(re.escape(text) for text in FORBIDDEN))
    texts = dict(_texts())
    assert len(texts) > 100
    found = [f"{name}: {match.group()}" for name, text in texts.items() for match in pattern.finditer(text)]
    assert not found


def test_no_file_holds_what_looks_like_a_secret() -> None:
    """`package` would mask it in each tree, and warn each submitter of it."""
    assert [name for name, text in _texts() if without_tokens(text) != text] == []


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    assert not [path for path in _files() if path.name in ("utils.py", "helpers.py", "common.py", "misc.py")]
