"""The replica process: one engine, asked by loadgen processes, watched by the supervisor.

Started by the supervisor as `python -m harness_llm.replica.process SPEC`. It outlives tests: each test
opens a session, which ends the one before it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import zmq

from harness_llm.engines import make_engine
from harness_llm.replica.server import Server
from harness_llm.transport.control import ControlClient, bind_within, die_with_parent
from harness_llm.transport.keys import admitting, secure_server
from harness_llm.transport.spec import ReplicaSpec, read_spec
from harness_llm.transport.wire import PROTOCOL_VERSION, Ready, Stage

_log = logging.getLogger(__name__)
_TICK_S = 1.0
_EXIT_FAILED = 3
_OBJECTS_A_COLLECTION = 50_000


def _tame_gc() -> None:
    """Keep the garbage collector from walking the engine's objects, and from walking at each step.

    A step of 1,000 sequences makes some 1,000 lists; the default is to look after each 700.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_A_COLLECTION, 20, 100)


async def _run(spec: ReplicaSpec, context: zmq.Context[zmq.Socket[bytes]]) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    broken: list[BaseException] = []

    def on_loop_error(_: Any, details: dict[str, Any]) -> None:
        error = details.get("exception") or RuntimeError(str(details.get("message")))
        _log.error("the replica cannot continue", exc_info=error)
        broken.append(error)
        stop.set()

    loop.set_exception_handler(on_loop_error)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    socket = context.socket(zmq.ROUTER)
    for option in (zmq.SNDHWM, zmq.RCVHWM, zmq.LINGER):
        socket.setsockopt(option, 0)
    secure_server(socket, spec.keys)
    engine = make_engine(spec.engine, spec.engine_arguments)
    server = Server(engine, socket)

    def stop_soon() -> None:
        loop.call_soon_threadsafe(stop.set)

    control = ControlClient(context, spec.control, spec.name, server.heartbeat, stop_soon, keys=spec.keys)
    with control, admitting(context, spec.keys):
        try:
            endpoint = bind_within(socket, spec.listen)
            control.send(Stage("loading the model"))
            facts = await engine.start(server)
            server.serve(facts.max_concurrent)
            _tame_gc()
            control.send(Ready(PROTOCOL_VERSION, endpoint, dataclasses.asdict(facts)))
            while not stop.is_set():
                engine.check()
                server.tick()
                try:
                    await asyncio.wait_for(stop.wait(), _TICK_S)
                except TimeoutError:
                    continue
            if broken:
                raise broken[0]
            return 0
        except Exception as error:  # noqa: BLE001 - the process's edge: reported, then it ends
            _log.error("the replica cannot continue", exc_info=error)
            control.fail(error)
            return _EXIT_FAILED
        finally:
            await engine.stop()
            socket.close()


def main() -> None:
    """Run the replica whose spec file is the only argument."""
    die_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    spec = read_spec(ReplicaSpec, Path(sys.argv[1]))
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    code = asyncio.run(_run(spec, context))
    context.term()
    sys.stderr.flush()
    os._exit(code)  # engines leave threads behind that would keep the interpreter


if __name__ == "__main__":
    main()
