"""The fields of systems/<system>.json: which must say something, and the question that each one answers.

Source: mlcommons/inference @b66003e10e2db4b8c36a448b0545ec90fcc6e9e9
tools/submission/submission_checker/constants.py lines 1833-1899 (fields, and which may not be empty) and
line 1393 (status), and checks/system_check.py lines 93-115 (system types).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """One field of a system description.

    Attributes:
        name: Key in the JSON file.
        must_say: Whether the official checker refuses an empty value; `N/A` is a value to it.
        question: What to write there, with an example.
        choices: The only values that are allowed; empty where any text is.
    """

    name: str
    must_say: bool
    question: str
    choices: tuple[str, ...] = ()

    @property
    def prompt(self) -> str:
        """The question with its choices."""
        return f"{self.question} One of: {' | '.join(self.choices)}." if self.choices else self.question


_STATUS = ("available", "preview", "rdi")
_TYPES = ("datacenter", "edge", "datacenter,edge", "edge,datacenter")

FIELDS: tuple[Field, ...] = (
    Field("division", True, "The division, as the folder is named.", ("closed", "open", "network")),
    Field("submitter", True, "The organization, as the folder is named."),
    Field("status", True, "Can this system be bought or rented today, soon, or is it research?", _STATUS),
    Field("system_name", True, "What the system is called, e.g. Dell PowerEdge XE9680 (8x H200-SXM-141GB)."),
    Field("system_type", True, "Where it runs.", _TYPES),
    Field("system_type_detail", False, "More on the type, e.g. N/A or on-premise."),
    Field("number_of_nodes", True, "How many hosts served the model, e.g. 1."),
    Field("host_processor_model_name", True, "Model of the host's processors, e.g. AMD EPYC 9575F."),
    Field("host_processors_per_node", True, "Processor packages in one host, e.g. 2."),
    Field("host_processor_core_count", True, "Physical cores of one processor, e.g. 64."),
    Field("host_processor_frequency", False, "Highest frequency of the processors, e.g. 5000 MHz."),
    Field("host_processor_caches", False, "Cache sizes of the processors, e.g. L2 1 MiB a core, L3 256 MiB."),
    Field("host_processor_interconnect", False, "Link between the processors, e.g. xGMI or UPI."),
    Field("host_memory_capacity", True, "Main memory of one host, e.g. 1.5 TiB."),
    Field("host_memory_configuration", True, "Its modules, e.g. 24x 64 GB DDR5 4800 MT/s."),
    Field("host_storage_capacity", True, "Storage of one host, e.g. 7.68 TB."),
    Field("host_storage_type", True, "Kind of storage, e.g. NVMe SSD."),
    Field("host_networking", True, "Kind of network, e.g. Ethernet 100 Gbit/s, or Infiniband NDR."),
    Field("host_networking_topology", True, "How hosts are connected, e.g. N/A for one host, or fat tree."),
    Field("host_network_card_count", True, "Network cards in one host, e.g. 8x 400 Gbit/s, 1x 10 Gbit/s."),
    Field("accelerators_per_node", True, "Accelerators in one host, a number: 8, or 0 for none."),
    Field(
        "accelerator_model_name", True, "Model of the accelerators, e.g. NVIDIA H200-SXM-141GB; N/A for none."
    ),
    Field("accelerator_memory_capacity", True, "Memory of one accelerator, e.g. 141 GB; N/A for none."),
    Field("accelerator_memory_configuration", True, "Its kind, e.g. HBM3e; N/A for none."),
    Field("accelerator_frequency", False, "Highest compute clock, e.g. 1980 MHz."),
    Field("accelerator_host_interconnect", True, "Link to the host, e.g. PCIe Gen5 x16; N/A for none."),
    Field("accelerator_interconnect", True, "Link between accelerators, e.g. NVLink 900 GB/s; N/A for none."),
    Field("accelerator_interconnect_topology", False, "Its shape, e.g. NVSwitch."),
    Field("accelerator_on-chip_memories", False, "Caches of one accelerator, e.g. L2 50 MB."),
    Field("cooling", True, "How the system is cooled: air, liquid, passive."),
    Field("framework", True, "What ran the model, with versions, e.g. vLLM 0.25.1, CUDA 13.0."),
    Field("operating_system", True, "Operating system with its version, e.g. Ubuntu 24.04 LTS."),
    Field(
        "other_software_stack", True, "Driver and libraries with versions, e.g. driver 580.65, cuDNN 9.10."
    ),
    Field("hw_notes", False, "Anything else on the hardware that changed the result, e.g. a power limit."),
    Field("sw_notes", False, "Anything else on the software that changed the result."),
)
"""Every field that must exist, in the order in which they are written."""

FIELD_NAMES: frozenset[str] = frozenset(field.name for field in FIELDS)

OPTIONAL_FIELDS: frozenset[str] = frozenset({"system_power_capacity"})
"""Fields that the checker reads where they are there (checks/system_check.py line 258, v6.1)."""
