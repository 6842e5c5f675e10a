"""The tenants study: each tenant has its own engines; what varies is which of them are asked at once."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness_llm import rules
from harness_llm.errors import ConfigError
from harness_llm.files import write_atomically
from harness_llm.fleet.fleet import Fleet, FleetPlan
from harness_llm.fleet.watch import Watch
from harness_llm.results.paths import SPEC_JSON
from harness_llm.results.reading import as_json
from harness_llm.study.points import Point, Setting, Study
from harness_llm.system import accelerators
from harness_llm.tenants import mps, mps_keeper
from harness_llm.tenants.seats import Seat, seats_of, with_variables
from harness_llm.tenants.tenants_file import Mps, TenantsConfig
from harness_llm.transport.spec import write_spec

TOGETHER = "all together"
MPS_JSON = "mps.json"
CONFIG_YAML = "config.yaml"
_ENGINES = "tenants"


class TenantsStudy(Study):
    """See the module.

    Args:
        config: What was asked for.
        folder: The study's folder.
        given: The file as the user wrote it, which is kept with the results.

    Raises:
        UsageError: It cannot be measured as asked.
    """

    kind = "tenants"

    def __init__(self, config: TenantsConfig, folder: Path, given: str) -> None:
        self._config, self._folder, self._given = config, folder, given
        self.trials, self.seed, self.settle_s = config.trials, config.seed, config.settle_s
        passes = any(tenant.model_name is not None for tenant in config.seats)
        if config.place == "cuda" and passes and not accelerators.read().accelerators:
            raise ConfigError(
                "device: cuda, and this host shows no GPU",
                "--set device=cpu measures on the CPU, and --set scale=tiny with small models.",
            )
        self._mps = self._wanted_mps()
        self._control = mps.find_control() if self._mps else ""
        self._pipes = mps.existing_pipes()
        self._is_proved = False
        self._seats = seats_of(config)
        markers = [seat.marker for seat in self._seats]
        known = dict.fromkeys(filter(None, markers))
        self.marker = rules.SIMULATED if rules.SIMULATED in known else "; ".join(known) or "unofficial"

    def _wanted_mps(self) -> Mps | None:
        asked = self._config.mps
        if asked is False or self._config.place == "cpu":
            return None
        if self._config.place == "auto" and not accelerators.read().accelerators:
            return None
        return Mps() if asked is True else asked

    # ------------------------------------------------------------------ what is asked

    def asked(self) -> dict[str, Any]:
        """The configuration, and what decides what each tenant is."""
        asked = self._config.model_dump(mode="json", exclude={"out_dir"})
        return {
            **asked,
            "marker": self.marker,
            "shares_by_mps": self._mps is not None,
            "seats": {
                seat.name: {"model": seat.model, "counts": seat.counts, **seat.identity}
                for seat in self._seats
            },
        }

    @property
    def notes(self) -> list[str]:
        """What people should know before it starts, a sentence each."""
        if self._config.mps is not False and self._mps is None:
            return ["mps does nothing without a GPU: tenants share cores"]
        return []

    def points(self) -> Sequence[Point]:
        """The tenants together, and the subsets that are asked for."""
        names = [seat.name for seat in self._seats]
        sizes = {"none": (), "solo": (1,), "pairs": (1, 2), "all": range(1, len(names))}[self._config.matrix]
        subsets = [own for size in sizes if size < len(names) for own in itertools.combinations(names, size)]
        subsets.append(tuple(names))
        return [
            Point(
                TOGETHER if len(own) == len(names) > 1 else "+".join(own),
                {"tenants": "+".join(own), "count": len(own)},
                _ENGINES,
            )
            for own in subsets
        ]

    # ------------------------------------------------------------------ measuring

    def prepare(self, folder: Path) -> None:
        """Samples of each tenant, and the file as it was given."""
        (folder / "samples").mkdir(exist_ok=True)
        write_atomically(folder / CONFIG_YAML, self._given)
        for seat in self._seats:
            seat.table.save(self._samples(seat.name))

    def _samples(self, name: str) -> Path:
        return self._folder / "samples" / f"{name}.npz"

    def samples(self, folder: Path, fleet: str) -> Path | None:
        """Those of its test; forward passes answer with one token, which no LoadGen test may."""
        seat = self._seat(fleet)
        return None if seat.test is None else self._samples(fleet)

    def _seat(self, name: str) -> Seat:
        return next(seat for seat in self._seats if seat.name == name)

    def fleets(self, engines: str) -> Sequence[FleetPlan]:
        """Each tenant's engines, with what MPS must tell their processes."""
        if self._mps is None:
            return [seat.plan for seat in self._seats]
        return [
            with_variables(
                mps.on_uuids(seat.plan), mps.client_environment(self._pipes, seat.tenant, self._mps)
            )
            for seat in self._seats
        ]

    @contextmanager
    def beside(self, watch: Watch, folder: Path) -> Iterator[None]:
        """A sampler; and the MPS daemon, where one is asked for."""
        with super().beside(watch, folder):
            if self._mps is None or self._mps.existing:
                yield
                return
            self._pipes = Path(tempfile.mkdtemp(prefix="mps-"))  # a socket's path has room for 107 characters
            try:
                self._keep(watch, folder / "mps")
                yield
            finally:
                for child in watch.children:
                    if child.role is mps_keeper.ROLE:
                        watch.children.end(child)
                shutil.rmtree(self._pipes, ignore_errors=True)

    def _keep(self, watch: Watch, folder: Path) -> None:
        """Start the process that starts and ends the daemon, and wait until the daemon answers."""
        folder.mkdir(exist_ok=True)
        children = watch.children
        name = children.free_name(mps_keeper.ROLE.kind)
        keys = children.keys and children.keys.for_client()
        devices = mps.devices_of([mps.on_uuids(seat.plan) for seat in self._seats])
        spec = mps_keeper.KeeperSpec(
            name, children.control, self._control, str(self._pipes), str(folder.resolve()), devices, keys
        )
        write_spec(spec, folder / SPEC_JSON)
        child = children.start(mps_keeper.ROLE, name, folder / SPEC_JSON, folder / "keeper.log")
        while child.stage != mps_keeper.UP:
            watch.turn("MPS starts")

    @contextmanager
    def at(self, point: Point, fleets: Mapping[str, Fleet], folder: Path) -> Iterator[Setting]:
        """Ask the tenants of the point, and nobody else."""
        if self._mps is not None and not self._is_proved:
            self._prove(fleets)
        names = str(point.settings["tenants"]).split("+")
        loads = [
            seat.load(fleets[seat.name], folder, self._samples(seat.name))
            for seat in self._seats
            if seat.name in names
        ]
        yield Setting(loads, until=self._config.until, arm_timeout_s=self._config.sleep_duration)

    def _prove(self, fleets: Mapping[str, Fleet]) -> None:
        own = {name: [it.handle.process_id for it in fleet.replicas] for name, fleet in fleets.items()}
        with contextlib.suppress(FileNotFoundError):
            (self._folder / MPS_JSON).unlink()
        found = mps.prove(self._control, self._pipes, own)
        servers = mps.servers(self._control, self._pipes)
        write_atomically(self._folder / MPS_JSON, as_json({"servers": servers, "clients": found}))
        self._is_proved = True
