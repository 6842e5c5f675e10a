"""Write one run's results into the folder of an organization."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from harness_llm.check.decoding_checks import STATED as DECODING
from harness_llm.compliance import AUDIT_TESTS, AuditTest
from harness_llm.errors import ConfigError, FolderError
from harness_llm.files import read_regular
from harness_llm.logs.source import ACCURACY_LOG, DETAIL_LOG, SUMMARY_LOG, read_object, read_text
from harness_llm.package.accuracy_files import accuracy_text, copy_truncated, published_numbers
from harness_llm.package.admission import Admission
from harness_llm.package.documents import calibration_section, measurements, merge_calibration, readme
from harness_llm.package.layout import Place
from harness_llm.package.masking import mask_files
from harness_llm.package.source_code import write_source
from harness_llm.results.finished import FinishedRun, FinishedScenario
from harness_llm.results.paths import ACCURACY_TXT, RUN_JSON, USER_CONF
from harness_llm.secret_values import masked, masked_document
from harness_llm.system import HostFacts, SystemFile, describe, validate
from harness_llm.system.network_path import bandwidth_document

_LOGS = (SUMMARY_LOG, DETAIL_LOG)
_NOTICE = "notice"
_NOTICE_FILE = "NOTICE.txt"


class Writer:
    """Writes below `<tree>/<division>/<organization>`, which nobody else touches meanwhile.

    Attributes:
        warnings: What came up on the way and the submitter must know.
    """

    def __init__(
        self, organization: Path, run: FinishedRun, admission: Admission, stated: SystemFile
    ) -> None:
        self._top = organization
        self._run = run
        self._admission = admission
        self._marks = admission.marks
        self._stated = stated
        self.warnings: list[str] = []

    def source(self, place: Place, repository: Path) -> str:
        """Write the source of the run and return its path in the tree, for the README."""
        commit = self._run.record.git.commit
        if commit is None:
            self.warnings.append("the run was made outside of a git checkout: its source cannot be named")
        if self._run.record.git.dirty:
            self.warnings.append(
                f"the run's work tree had changes that are not in commit {str(commit)[:12]}, so the source "
                "in the tree is not all that ran; README.md of each result says so"
            )
        folder = write_source(commit, repository, self._top / place.source)
        self._mask(folder, "the source")
        return str(folder.relative_to(self._top))

    def result(self, place: Place, folder: FinishedScenario, source: str) -> None:
        """Write the logs, the compliance tests and the documents of one scenario."""
        for owned in place.owned:
            shutil.rmtree(self._top / owned, ignore_errors=True)
        self._logs(folder.path / "performance", place.performance, _LOGS)
        self._accuracy(place, folder)
        for test in folder.compliance:
            self._compliance(place.compliance / test, folder.path / test, AUDIT_TESTS[test])
        documents = self._folder(place.documents)
        conf = read_regular(_present(folder.path / "performance" / USER_CONF))
        (documents / USER_CONF).write_bytes(self._notes().encode() + conf)
        self._mask(documents, "user.conf")
        text = readme(folder, self._run, place, source, self._marks, self._admission.round)
        (documents / "README.md").write_text(masked(text), encoding="utf-8")
        fields: dict[str, Any] = dict(measurements(folder, self._stated.measurements, self._marks))
        if self._admission.official is not None and not self._marks.is_simulated:
            fields[DECODING] = msgspec.to_builtins(folder.decoding)
        _write_json(self._top / place.measurements, fields)

    def _accuracy(self, place: Place, folder: FinishedScenario) -> None:
        source, target = folder.path / "accuracy", self._top / place.accuracy
        self._logs(source, place.accuracy, _LOGS)
        digest = copy_truncated(_present(source / ACCURACY_LOG), target / ACCURACY_LOG)
        numbers = published_numbers(folder.accuracy, source / ACCURACY_TXT)
        text = accuracy_text(numbers, self._marks.sentences)
        (target / ACCURACY_TXT).write_text(f"{text}\nhash={digest}\n", encoding="utf-8")

    def _compliance(self, below: Path, source: Path, test: AuditTest) -> None:
        """Write a compliance test; the verdict file must say that it passed where closed needs it."""
        name = test.row.result_file
        verdict = _text(_present(source / name))
        if test.says_failed(verdict):
            message = f"{source / name}: the compliance test failed"
            if self._admission.division == "closed":
                raise FolderError(message, "Closed needs a passing compliance test of each scenario.")
            self.warnings.append(message)
        (self._folder(below) / name).write_text(verdict + self._notes(), encoding="utf-8")
        for file in test.tree_files:
            place = below / file.path.parent
            if not file.is_cut:
                self._logs(source, place, (file.path.name,))
                continue
            self._logs(source, place, ())
            digest = copy_truncated(_present(source / file.path.name), self._top / place / file.path.name)
            text = f"{self._notes()}hash={digest}\n"
            (self._top / place / ACCURACY_TXT).write_text(text, encoding="utf-8")

    def _notes(self) -> str:
        """The marks as comment lines; empty for an official result."""
        return "".join(f"# {sentence}\n" for sentence in self._marks.sentences)

    def _logs(self, source: Path, below: Path, names: tuple[str, ...]) -> None:
        """Copy LoadGen's logs as they are, and say beside them what they do not say of themselves."""
        target = self._folder(below)
        _copy(source, target, names)
        if self._marks.sentences:
            said = "".join(f"{sentence}\n" for sentence in self._marks.sentences)
            text = f"{said}\nThe logs in this folder are as LoadGen wrote them, so they carry no mark.\n"
            (target / _NOTICE_FILE).write_text(text, encoding="utf-8")

    def description(self, place: Place) -> None:
        """Write systems/<system>.json.

        Raises:
            ConfigError: Closed was asked for, and a field is missing or wrong.
        """
        record, admission = self._run.record, self._admission
        facts = HostFacts.from_json(record.host, record.accelerators, str(self._run.path / RUN_JSON))
        stated = dict(self._stated.system)
        first = self._run.scenarios[0]
        engine = first.engine_kind
        framework = engine.framework(first.engine.as_facts(), record.packages)
        if engine.is_simulated:
            stated["framework"] = self._marks.label(framework)
        elif not engine.needs_devices:  # it ran elsewhere: nothing that is installed here is of it
            stated["framework"] = stated.get("framework") or framework
        if self._marks.text:
            stated["sw_notes"] = ". ".join(filter(None, (self._marks.text, stated.get("sw_notes"))))
        found = describe(
            facts,
            record.packages,
            stated,
            engine=framework,
            submitter=self._top.name,
            division=admission.division,
            system_name=place.system,
            fill=admission.division != "closed",
        )
        problems = validate(found, submitter=self._top.name, division=admission.division)
        if problems:
            listed = "\n  ".join(map(str, problems))
            remedy = "Write them into a system YAML (`harness-llm system --template FILE`)."
            raise ConfigError(f"the system description of {place.system} is incomplete:\n  {listed}", remedy)
        path = self._top / place.description
        self._warn_of_changes(path, found)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_json(path, found)

    def _warn_of_changes(self, path: Path, found: Mapping[str, str]) -> None:
        """A second run of the same system may say other things of it; the newer description stays."""
        try:
            before = json.loads(read_regular(path))
            changed = sorted(key for key in found if before.get(key) != found[key])
        except FileNotFoundError:
            return
        except (OSError, ValueError, AttributeError):
            changed = ["every field: the old file could not be read"]
        if changed:
            self.warnings.append(f"{path.name}: replaced, with other values of {', '.join(changed)}")

    def documentation(self, place: Place, folder: FinishedScenario, extra: Path | None) -> None:
        """Write documentation/: the submitter's files, and a section of calibration.md for this benchmark."""
        target = self._folder(Path("documentation"))
        for path in sorted(extra.iterdir()) if extra else ():
            if path.is_file() and path.name != "calibration.md":
                shutil.copyfile(path, target / path.name)
        if self._admission.division == "closed" and bandwidth_document(target) is None:
            self.warnings.append(
                "documentation/ does not say how data gets from the network cards to the accelerators, nor "
                "at which bandwidth; closed needs it: give the folder of a bandwidth.md with --documentation"
            )
        fields = measurements(folder, self._stated.measurements, self._marks)
        quantization = fields["weight_transformations"]
        document = self._calibration_document(folder, extra)
        if document is None and quantization != "none" and self._admission.division == "closed":
            raise FolderError(
                f"the weights were transformed ({quantization}), and there is no calibration.md",
                "Give the folder that holds it with --documentation.",
            )
        section = calibration_section(place, document, quantization, self._marks)
        path = target / "calibration.md"
        existing = _text(path) if path.exists() else ""
        key = f"{place.system}/{place.benchmark}"
        path.write_text(merge_calibration(existing, key, section), encoding="utf-8")
        self._mask(target, "the documentation")

    def _calibration_document(self, folder: FinishedScenario, extra: Path | None) -> str | None:
        """The submitter's write-up, else the one that lies in the checkpoint's folder."""
        model = (folder.config.get("llm_config") or {}).get("model")
        candidates = [extra / "calibration.md"] if extra else []
        candidates += [Path(str(model)) / "calibration.md"] if model else []
        for path in candidates:
            if path.is_file():
                return _text(path.resolve())  # a model cache holds links
        return None

    def mapping(self, place: Place) -> None:
        """Write model_mapping.json in open: which official benchmark an unofficial name stands for."""
        admission = self._admission
        if admission.division != "open" or admission.official is not None:
            return
        path = self._top / "model_mapping.json"
        existing, problem = read_object(path) if path.exists() else ({}, "")
        if existing is None:
            raise FolderError(f"{path.name} in the tree: {problem}", "Correct it, or remove it.")
        existing.pop(place.benchmark, None)
        if admission.maps_to is not None:
            existing[place.benchmark] = admission.maps_to
        if self._marks.text:
            existing[_NOTICE] = f"{place.benchmark}: {self._marks.text}"
        _write_json(path, existing)

    def _mask(self, folder: Path, origin: str) -> None:
        """Mask secrets in what was copied, and say where they come from."""
        if held := list(mask_files(folder)):
            self.warnings.append(
                f"{origin} holds what looks like a secret, masked in the tree: {', '.join(held)}. "
                "Whoever has read it may use it: replace it where it is valid, and take it out"
            )

    def _folder(self, below: Path) -> Path:
        folder = self._top / below
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _copy(source: Path, target: Path, names: tuple[str, ...]) -> None:
    for name in names:
        shutil.copyfile(_present(source / name), target / name)


def _present(path: Path) -> Path:
    if path.is_symlink() or not path.is_file() or not path.stat().st_size:
        raise FolderError(f"{path}: is missing, empty or no plain file", "Run that test again.")
    return path


def _text(path: Path) -> str:
    text, problem = read_text(path)
    if problem:
        raise FolderError(f"{path}: {problem}", "Replace it with a UTF-8 text file.")
    return text


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(
        json.dumps(masked_document(content), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
