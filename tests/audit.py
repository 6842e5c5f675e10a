"""Reports known vulnerabilities of the packages in a lock: a report and no check, so it never fails.

    python tests/audit.py [requirements/cuda.txt]

pip-audit is put into an environment of its own under .cache: what it needs is in no lock of the project.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_TOOL = _ROOT / ".cache" / "audit"
_PINNED = "pip-audit==2.10.1"
_SECONDS = 120


def report(lock: Path) -> str:
    """What is known of the packages that a lock names."""
    try:
        found = json.loads(_audit(lock))["dependencies"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        return f"not audited: {type(error).__name__}; pip-audit could not be installed or gave no answer"
    return summary(found)


def summary(found: list[dict[str, object]]) -> str:
    """The report of pip-audit's dependencies: what each has, and how many nobody could tell of."""
    lines = []
    for package in found:
        for hole in package.get("vulns") or ():  # type: ignore[attr-defined]
            fixed = ", ".join(hole["fix_versions"]) or "no version"
            lines.append(f"{package['name']} {package['version']}: {hole['id']}, fixed in {fixed}")
    skipped = sum("skip_reason" in package for package in found)
    lines.append(
        f"audited {len(found) - skipped} of {len(found)} packages: {len(lines)} known vulnerabilities"
    )
    return "\n".join(lines)


def _audit(lock: Path) -> str:
    tool = _TOOL / "bin" / "pip-audit"
    if not tool.exists():
        venv.create(_TOOL, with_pip=True)
        install = [_TOOL / "bin" / "python", "-m", "pip", "install", "--quiet", _PINNED]
        subprocess.run(
            install, check=True, timeout=_SECONDS, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    command = [tool, "--requirement", lock, "--no-deps", "--disable-pip", "--format", "json"]
    answer = subprocess.run(command, check=False, timeout=_SECONDS, capture_output=True, text=True)
    return answer.stdout


if __name__ == "__main__":
    asked = Path(sys.argv[1]) if len(sys.argv) > 1 else _ROOT / "requirements" / "cpu.txt"
    sys.stdout.write(report(asked) + "\n")
