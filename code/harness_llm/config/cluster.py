"""What a user writes in `harness_config.launcher`: where replicas are started, if not on this host."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, field_validator

_LAST_PORT = 65535


class RayCluster(BaseModel):
    """The hosts of a Ray cluster, of which this host is one; docs/several-hosts.md has an example.

    Attributes:
        address: Of the cluster's head, such as `10.0.0.1:6379`.
        cpus: CPUs that Ray sets aside for a replica; it may use more.
        gpus: GPUs of a replica, all of one host; None for as many as the engine's arguments ask for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["ray"]
    address: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+:[0-9]{1,5}$")]
    cpus: Annotated[float, Field(gt=0, le=4096)] = 1.0
    gpus: NonNegativeInt | None = None

    @field_validator("address")
    @classmethod
    def _names_a_port(cls, given: str) -> str:
        if not 1 <= int(given.rpartition(":")[2]) <= _LAST_PORT:
            raise ValueError(f"a port is a number from 1 to {_LAST_PORT}")
        return given
