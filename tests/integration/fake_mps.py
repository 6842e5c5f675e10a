"""A stand-in for NVIDIA's MPS control daemon: same commands, same variables, a server in its own session.

Its clients are all processes that have its pipe folder in their environment, as CUDA programs would be.
FAKE_MPS: `refuses` to start, `forgets` its clients, `stays` when it is told to quit, `dies` after 3 s.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

PIPES = Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"))
FILE, HOW = PIPES / "server", os.environ.get("FAKE_MPS", "")


def _clients():
    wanted = f"CUDA_MPS_PIPE_DIRECTORY={PIPES}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            is_own = b"nvidia-cuda-mps" in (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if wanted in variables and not is_own:
            yield folder.name


def _answer(words):
    if not FILE.exists():
        sys.exit("Cannot find MPS control daemon process")
    server = FILE.read_text()
    if words[0] == "get_server_list":
        sys.stdout.write(f"{server}\n")
    elif words[0] == "get_client_list" and words[1] == server and HOW != "forgets":
        sys.stdout.write("\n".join(_clients()) + "\n")
    elif words[0] == "quit" and HOW != "stays":
        FILE.unlink()


def _serve():
    assert Path(os.environ["CUDA_MPS_LOG_DIRECTORY"]).is_dir()
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    if HOW == "refuses":
        sys.exit("User did not have permission to start the control daemon")
    sleep = [sys.executable, "-c", "import time; time.sleep(300)", "nvidia-cuda-mps-server"]
    server = subprocess.Popen(sleep, start_new_session=True)
    FILE.with_suffix(".new").write_text(str(server.pid))
    FILE.with_suffix(".new").rename(FILE)
    sys.stdout.write("up\n")  # as NVIDIA's, it logs to its output in the foreground
    sys.stdout.flush()
    began = time.monotonic()
    while FILE.exists() and not (HOW == "dies" and time.monotonic() - began > 3):
        time.sleep(0.05)
    if HOW != "dies":
        server.terminate()


_serve() if sys.argv[1:] == ["-f"] else _answer(sys.stdin.readline().split())
