"""The YAML file of a tenants study: one model alone, or several that share a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from harness_llm.config.harness import wrong
from harness_llm.study.study_file import Seconds, SomeSeconds, Strict, spelled
from harness_llm.study.workloads import Workload

_OF_A_MODEL = {"model_name", "batch_size", "seq_len", "num_iters", "num_warmup"}
_MOST_SUBSETS_OF = 6
_LONGEST_NAME = 40  # a folder's name holds several
Device = Literal["auto", "cuda", "cpu"]
_FolderName = Annotated[
    str,
    spelled(
        r"[A-Za-z0-9_][A-Za-z0-9_.-]*",
        "it names a folder: letters, digits, _, . and -, and neither . nor - at its start",
    ),
]
_Name = Annotated[_FolderName, Field(max_length=_LONGEST_NAME)]
_Memory = Annotated[str, spelled(r"[1-9][0-9]*[MG]", "expected a whole number of M or G, such as 20G")]
Percentage = Annotated[int, Field(ge=1, le=100)]


class Tenant(Strict):
    """One tenant: a model that is timed by forward passes, or any engine of a harness YAML file.

    Attributes:
        name: Its name, unique; a folder is called so.
        model_name: Hub name or checkpoint folder.
        batch_size: Prompts of one forward pass.
        seq_len: Tokens of a prompt.
        num_iters: Forward passes that are measured.
        num_warmup: Forward passes before.
        harness: Harness YAML file of an engine and its data, instead of `model_name`.
        workload: When it is asked; None: one batch after another, or LoadGen, as the harness file says.
        active_thread_percentage: Share of the GPU's processors, by MPS; None: all.
        memory: Most memory that it may take on the GPU, by MPS, e.g. `20G`; None: all.
        priority: Whose kernels go first, by MPS.
        device: In `single_model`: as at the top.
        tag: In `single_model`: another name for its folder.
    """

    name: _Name
    model_name: str | None = None
    batch_size: PositiveInt = 8
    seq_len: PositiveInt = 128
    num_iters: PositiveInt = 200
    num_warmup: NonNegativeInt = 10
    harness: Path | None = None
    workload: Workload | None = None
    active_thread_percentage: Percentage | None = None
    memory: _Memory | None = None
    priority: Literal["normal", "low"] = "normal"
    device: Device | None = None
    tag: _Name | None = None

    @model_validator(mode="after")
    def _is_one_kind(self) -> Tenant:
        if (self.model_name is None) == (self.harness is None):
            raise ValueError("needs one of model_name and harness")
        if self.harness is not None and (given := sorted(_OF_A_MODEL & self.model_fields_set)):
            raise ValueError(f"{given[0]} goes with model_name; the harness file and workload say it here")
        if self.workload is not None and (
            given := sorted({"num_iters", "num_warmup"} & self.model_fields_set)
        ):
            raise wrong("does nothing beside workload, which says how much is asked", given[0])
        return self

    @property
    def limits_gpu(self) -> bool:
        """Whether anything is asked that only MPS can do."""
        asked = (self.active_thread_percentage, self.memory)
        return any(it is not None for it in asked) or self.priority == "low"


class Mps(Strict):
    """NVIDIA MPS, in more words than `true`.

    Attributes:
        default_active_thread_percentage: Of each tenant that asks for none of its own.
        existing: Use the daemon that runs on this host already.
    """

    default_active_thread_percentage: Percentage | None = None
    existing: bool = False


class TenantsConfig(Strict):
    """The YAML file.

    Attributes:
        experiment_name: A folder is called so.
        mps: Whether tenants share the GPU by NVIDIA MPS.
        device: Where forward passes run; `auto`: on a GPU where there is one.
        sleep_duration: Longest time until every tenant is ready to begin, seconds.
        tenants: Those that share the GPU.
        single_model: One model alone, instead of tenants.
        cores: Without a GPU: all tenants on all cores, or each on its own.
        until: When measuring ends: all are measured, the first is, or after so many seconds.
        matrix: Which subsets are measured, too: each tenant alone (`solo`), and each pair, or `all`.
        out_dir: Where results go; None: by the command line.
        scale: `tiny`: two thin layers of each model, to try everything without a GPU.
        trials: How often each subset is measured.
        settle_s: Pause before each measurement, seconds.
        seed: Of everything that is drawn.
    """

    experiment_name: _FolderName
    mps: bool | Mps = False
    device: Device = "auto"
    sleep_duration: SomeSeconds = 120.0
    tenants: list[Tenant] = []
    single_model: Tenant | None = None
    cores: Literal["shared", "split"] = "shared"
    until: Literal["all", "first"] | SomeSeconds = "all"
    matrix: Literal["none", "solo", "pairs", "all"] = "none"
    out_dir: Path | None = None
    scale: Literal["full", "tiny"] = "full"
    trials: PositiveInt = 1
    settle_s: Seconds = 0.0
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _has_tenants(self) -> TenantsConfig:
        if bool(self.tenants) == (self.single_model is not None):
            said = "needs one of tenants, a list, and single_model"
            raise wrong(said, "single_model") if self.tenants else ValueError(said)
        names = [tenant.name for tenant in self.tenants]
        for place, tenant in enumerate(self.tenants):
            if tenant.name in names[:place]:
                said = f"two tenants are called {tenant.name!r}: each needs a name of its own"
                raise wrong(said, "tenants", place, "name")
            for key in ("device", "tag"):
                if getattr(tenant, key):
                    raise wrong("a key of single_model alone", "tenants", place, key)
            if tenant.limits_gpu and self.mps is False:
                said = f"{tenant.name}: shares, memory limits and priorities need mps: true"
                raise wrong(said, "tenants", place)
        if self.matrix == "all" and len(names) > _MOST_SUBSETS_OF:
            raise wrong(f"{len(names)} tenants are {2 ** len(names) - 1} subsets; choose pairs", "matrix")
        return self

    @property
    def seats(self) -> list[Tenant]:
        """The tenants, or the one model under the name of its folder."""
        one = self.single_model
        if one is None:
            return self.tenants
        return [one.model_copy(update={"name": one.tag or one.name})]

    @property
    def place(self) -> Device:
        """Where forward passes run, wherever it is written."""
        return (self.single_model and self.single_model.device) or self.device
