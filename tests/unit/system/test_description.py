from pathlib import Path

import pytest

from harness_llm.errors import ConfigError
from harness_llm.system import (
    HostFacts,
    describe,
    read_system_file,
    system_command,
    template,
    validate,
    write_template,
)
from harness_llm.system.facts import Accelerator, Cpu, Disk, Memory, NetworkCard
from harness_llm.system.fields import FIELD_NAMES, FIELDS

GPU = Accelerator(
    "NVIDIA H200", "NVIDIA", 143771 * 2**20, 1980, "PCIe Gen5 x16", "NVLink, 18 links", "580.65"
)
HOST = HostFacts(
    cpu=Cpu("AMD EPYC 9575F", "x86_64", 2, 64, 256, 5000, {"L3": "262144K"}),
    memory=Memory(1536 * 2**30, "24x 64 GB DDR5 4800 MT/s"),
    disks=(Disk("nvme0n1", 2**40, "NVMe SSD"), Disk("nvme1n1", 2**40, "NVMe SSD")),
    networks=(NetworkCard("eth0", 400000, "mlx5_core"), NetworkCard("eth1", 400000, "mlx5_core")),
    accelerators=(GPU,) * 8,
    product="Supermicro AS-8125GS",
    operating_system="Ubuntu 24.04.1 LTS",
    kernel="6.8.0",
    compute_stack="CUDA 13.0",
)
PACKAGES = {"vllm": "0.25.1", "torch": "2.9.0", "transformers": "5.0.0"}
STATED = {
    "status": "available",
    "system_type": "datacenter",
    "host_networking_topology": "N/A",
    "cooling": "air",
}


def made(facts: HostFacts = HOST, stated: dict[str, str] = STATED, fill: bool = False) -> dict[str, str]:
    return describe(
        facts, PACKAGES, stated, engine="vLLM 0.25.1", submitter="Org", division="closed",
        system_name="8xH200", fill=fill,
    )  # fmt: skip


def test_a_gpu_host_needs_little_from_its_owner() -> None:
    found = made()
    assert validate(found, submitter="Org", division="closed") == ()
    assert list(found) == [field.name for field in FIELDS]
    assert found["accelerator_model_name"] == "NVIDIA H200" and found["accelerators_per_node"] == "8"
    assert found["accelerator_memory_capacity"] == "140.4 GiB"
    assert found["accelerator_memory_configuration"] == "HBM3e"
    assert found["host_memory_capacity"] == "1.5 TiB" and found["host_storage_capacity"] == "2 TiB"
    assert found["host_networking"] == "2x mlx5_core 400000 Mbit/s"
    assert found["framework"] == "vLLM 0.25.1, PyTorch 2.9.0, CUDA 13.0"
    assert "GPU driver 580.65" in found["other_software_stack"]


def test_what_the_owner_states_wins() -> None:
    assert made(stated={**STATED, "system_name": "Mine", "cooling": " liquid "})["system_name"] == "Mine"
    assert made(stated={**STATED, "cooling": " liquid "})["cooling"] == "liquid"
    assert made(stated={**STATED, "submitter": "Other"})["submitter"] == "Org"


def test_every_missing_field_is_asked_for() -> None:
    problems = validate(made(HostFacts(), {}), submitter="Org", division="closed")
    named = {problem.field for problem in problems}
    assert {"status", "system_type", "cooling", "host_processor_model_name", "host_storage_type"} <= named
    assert all(problem.remedy for problem in problems)
    assert not named & {"hw_notes", "sw_notes", "system_name", "number_of_nodes", "accelerators_per_node"}


def test_fill_makes_even_an_unknown_host_acceptable() -> None:
    found = made(HostFacts(), {}, fill=True)
    assert validate(found, submitter="Org", division="closed") == ()
    assert found["status"] == "rdi" and found["cooling"] == "N/A"


def test_a_host_without_accelerators_has_the_text_0_of_them() -> None:
    assert made(HostFacts())["accelerators_per_node"] == "0"


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("status", "soon", "available | preview | rdi"),
        ("system_type", "cloud", "datacenter | edge"),
        ("submitter", "Else", "must be 'Org'"),
        ("division", "open", "must be 'closed'"),
        ("number_of_nodes", "two", "whole number"),
        ("accelerators_per_node", "N/A", "whole number"),
        ("cooling", "", "air, liquid"),
        ("cooling", "   ", "air, liquid"),
        ("number_of_nodes", 0, "How many hosts"),
        ("hw_notes", None, "hardware"),
    ],
)
def test_a_wrong_value_is_one_problem(field: str, value: object, words: str) -> None:
    (problem,) = validate({**made(), field: value}, submitter="Org", division="closed")
    assert problem.field == field and words in problem.remedy


def test_names_are_compared_as_the_checker_does() -> None:
    assert (
        validate({**made(), "submitter": "ORG", "status": "Available"}, submitter="org", division="Closed")
        == ()
    )


def test_the_template_reads_back_as_nothing_stated(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "system.yaml"
    write_template(path, HOST)
    found = read_system_file(path)
    assert set(found.system) == FIELD_NAMES - {"submitter", "division"}
    assert not any(found.system.values()) and not any(found.measurements.model_dump().values())
    assert "TODO" not in template(HOST)
    with pytest.raises(ConfigError, match="exists already"):
        write_template(path, HOST)


def test_yaml_words_stay_words(tmp_path: Path) -> None:
    path = tmp_path / "system.yaml"
    path.write_text("system: {number_of_nodes: 2, cooling: yes}\nmeasurements: {retraining: No}\n")
    found = read_system_file(path)
    assert found.system == {"number_of_nodes": "2", "cooling": "yes"}
    assert found.measurements.retraining == "No"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("system: {coolin: air}", "Did you mean cooling?"),
        ("system: {zzz: air}", "hw_notes"),
        ("systems: {}", "systems"),
        ("system: [air]", "system"),
        ("system: {cooling: [air]}", "system.cooling"),
        ("measurements: {weights: x}", "measurements.weights"),
        ("system: {", "YAML"),
        ("- 1", "the top level"),
    ],
)
def test_a_wrong_system_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "system.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_system_file(path)
    assert words in str(caught.value) and str(path) in str(caught.value)


def test_a_missing_system_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--template"):
        read_system_file(tmp_path / "none.yaml")


def test_the_command_writes_only_what_is_complete(tmp_path: Path) -> None:
    output = tmp_path / "systems" / "mine.json"
    result = system_command(output, None, "Org", "closed")
    assert result.problems and result.written is None and not output.exists()
    path = tmp_path / "system.yaml"
    stated = {field.name: "N/A" for field in FIELDS if not field.choices} | STATED
    stated |= {"number_of_nodes": "1", "accelerators_per_node": "0"}
    del stated["submitter"]
    path.write_text("system:\n" + "".join(f"  {key}: {value}\n" for key, value in stated.items()))
    result = system_command(output, path, "Org", "closed")
    assert result.problems == () and result.written == output and '"submitter": "Org"' in output.read_text()
    assert [entry.name for entry in output.parent.iterdir()] == ["mine.json"]
