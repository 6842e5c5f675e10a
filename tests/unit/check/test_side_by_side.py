"""Many pieces of work are done in several processes, few in one, and a process that is killed loses none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CODE = Path(__file__).parents[3] / "code"
SCRIPT = """
import json, os, signal, sys, time
from functools import partial
from harness_llm.check.side_by_side import side_by_side

os.sched_getaffinity = lambda _: {0, 1}
parent = os.getpid()

def piece(number, is_killed):
    time.sleep(0.01)
    if is_killed and os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    return number, os.getpid() != parent

count, killed = int(sys.argv[1]), int(sys.argv[2])
print(json.dumps(side_by_side([partial(piece, number, number == killed) for number in range(count)])))
"""


@pytest.mark.parametrize(
    ("pieces", "killed", "is_elsewhere"), [(31, -1, False), (40, -1, True), (40, 17, False)]
)
def test_pieces_come_back_in_order(pieces: int, killed: int, is_elsewhere: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(pieces), str(killed)],
        env={"PYTHONPATH": str(CODE)}, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert json.loads(done.stdout) == [[number, is_elsewhere] for number in range(pieces)]
