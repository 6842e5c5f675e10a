"""What the documents name is there: links, files, commands and their options."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer

from harness_llm.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TOP = "code|docs|setup|submission|tests|benchmarks|requirements"
# Written by a run or by packaging, so not in the repository.
WRITTEN = re.compile(r"submission/inference_results_.*")


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _commands(text: str, start: str) -> Iterator[str]:
    """Each command in a code block or in backquotes that begins with `start`, on one line."""
    joined = re.sub(r"\\\n\s*", " ", text)
    blocks = re.findall(r"```\w*\n(.*?)```", joined, re.DOTALL) + re.findall(r"`([^`]+)`", joined)
    for line in "\n".join(blocks).splitlines():
        found = re.search(rf"(?:^|[\s;&]){re.escape(start)}(?=\s|$)(.*)", line.partition("  #")[0])
        if found:
            yield found[1]


def _anchors(path: Path) -> set[str]:
    """Anchors of a document's headings, as Git hosts make them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=_id)
def test_links_lead_somewhere(path: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", path.read_text()):
        other = path.parent / target if target else path
        assert other.exists(), target
        assert not anchor or anchor in _anchors(other), f"{target}#{anchor}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=_id)
def test_named_files_exist(path: Path) -> None:
    for name in re.findall(rf"(?<![\w/.-])(?:{TOP})/[\w./-]*\w", path.read_text()):
        assert (ROOT / name).exists() or WRITTEN.fullmatch(name) or _is_pattern(path, name), name


def _is_pattern(path: Path, name: str) -> bool:
    """Whether the document continues with a placeholder, so that the name is the start of several."""
    return re.search(rf"{re.escape(name)}[/_]?[<{{*$]", path.read_text()) is not None


def test_whatever_a_user_types_is_a_verb() -> None:
    """No module has a command line of its own, but the entries of child processes, which nobody types."""
    children = {
        "driver/process.py", "power/guard.py", "power/trainer.py", "tenants/mps_keeper.py",
        "engines/vllm_trial.py", "loadgen/embedded.py", "loadgen/process.py", "replica/process.py",
        "telemetry/process.py",
    }  # fmt: skip
    code = ROOT / "code" / "harness_llm"
    entries = {
        str(path.relative_to(code))
        for path in code.rglob("*.py")
        if '__name__ == "__main__"' in path.read_text()
    }
    assert entries == {"__main__.py", *children}
    for path in DOCUMENTS:
        for name in re.findall(r"-m (harness_llm[\w.]*)", path.read_text()):
            assert name == "harness_llm", f"{_id(path)}: {name}"


def test_commands_are_typed_as_they_can_be() -> None:
    verbs = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    seen = 0
    for path in DOCUMENTS:
        for rest in _commands(path.read_text(), "harness-llm"):
            verb = rest.split()[0] if rest.split() else "--help"
            if verb.startswith("-"):
                continue
            assert verb in verbs, f"{_id(path)}: harness-llm{rest}"
            known = {option for each in verbs[verb].params for option in each.opts}
            assert set(re.findall(r"(?<=\s)--[\w-]+", rest)) <= known, f"{_id(path)}: harness-llm{rest}"
            seen += 1
        for rest in _commands(path.read_text(), "python download_model.py"):
            # Brackets stand around an option that may be left out; `&&` begins another command.
            typed = rest.partition("&&")[0].replace("[", "").replace("]", "")
            known = {option for each in verbs["fetch"].params for option in each.opts}
            assert set(re.findall(r"(?<=\s)--[\w-]+", typed)) <= known, (
                f"{_id(path)}: download_model.py{rest}"
            )
            seen += 1
    assert seen > 10


def test_the_readme_names_the_verbs_without_json() -> None:
    (named,) = re.findall(r"all but (.*) take `--json`", (ROOT / "README.md").read_text())
    verbs = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    without = {name for name, verb in verbs.items() if not any("--json" in it.opts for it in verb.params)}
    assert set(re.findall(r"`([a-z]+)`", named)) == without


def test_every_submission_script_is_described() -> None:
    scripts = {path.name for path in (ROOT / "submission").glob("*.sh")} - {"common.sh"}
    assert len(scripts) > 3
    for name in ("README.md", "docs/submission.md"):
        text = (ROOT / name).read_text()
        assert not [script for script in scripts if f"submission/{script}" not in text], name
