"""What describes the result: system, measurements, README, documentation, source."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from mutation.faults.edits import drop, org, place, set_system, system_file
from mutation.faults.registry import fault
from mutation.good_tree import BENCHMARK, SYSTEM, system_description

from harness_llm.engines.openai import OpenAI

if TYPE_CHECKING:
    from pathlib import Path


@fault("system.file")
def system_description_missing(tree: Path) -> None:
    system_file(tree).unlink()


@fault("system.file")
def system_description_no_json(tree: Path) -> None:
    system_file(tree).write_text("{'division': 'closed'}")


@fault("system.host_processor_model_name")
def system_field_missing(tree: Path) -> None:
    drop(system_file(tree), "host_processor_model_name")


@fault("system.cooling")
def system_field_empty(tree: Path) -> None:
    set_system(tree, cooling="")


@fault("system.division")
def system_of_the_wrong_division(tree: Path) -> None:
    system_file(tree).write_text(json.dumps(system_description("open")))


@fault("system.submitter")
def system_of_another_submitter(tree: Path) -> None:
    set_system(tree, submitter="OtherOrg")


@fault("system.status")
def system_status_unknown(tree: Path) -> None:
    set_system(tree, status="soon")


@fault("system.accelerators_per_node")
def system_with_a_count_in_words(tree: Path) -> None:
    set_system(tree, accelerators_per_node="eight")


@fault("system.system_type")
def system_type_unknown(tree: Path) -> None:
    set_system(tree, system_type="data center")


@fault("system.is_network")
def networked_system_in_closed(tree: Path) -> None:
    set_system(tree, is_network="true")


@fault("system.file")
def system_description_under_another_name(tree: Path) -> None:
    system_file(tree).rename(system_file(tree).with_name(f"{SYSTEM}_v2.json"))


@fault("measurements.fields")
def measurement_field_empty(tree: Path) -> None:
    path = place(tree) / "measurements.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"retraining": ""}))


@fault("measurements.file")
def measurements_missing(tree: Path) -> None:
    (place(tree) / "measurements.json").unlink()


@fault("measurements.fields")
def measurement_field_missing(tree: Path) -> None:
    drop(place(tree) / "measurements.json", "weight_data_types")


@fault("readme.file")
def readme_missing(tree: Path) -> None:
    (place(tree, "Offline") / "README.md").unlink()


@fault("readme.file")
def readme_blank(tree: Path) -> None:
    (place(tree, "Offline") / "README.md").write_text("\n \n")


@fault("documentation.calibration")
def documentation_missing(tree: Path) -> None:
    shutil.rmtree(org(tree) / "documentation")


@fault("documentation.calibration")
def calibration_empty(tree: Path) -> None:
    (org(tree) / "documentation" / "calibration.md").write_text("")


@fault("documentation.calibration")
def calibration_of_a_blank_line(tree: Path) -> None:
    (org(tree) / "documentation" / "calibration.md").write_text(" \n")


@fault("documentation.calibration")
def calibration_to_be_done(tree: Path) -> None:
    (org(tree) / "documentation" / "calibration.md").write_text("TBD\n")


@fault("documentation.bandwidth")
def network_path_not_described(tree: Path) -> None:
    (org(tree) / "documentation" / "bandwidth.md").unlink()


@fault("source.folder")
def source_holds_only_an_empty_folder(tree: Path) -> None:
    shutil.rmtree(org(tree) / "src")
    (org(tree) / "src" / BENCHMARK).mkdir(parents=True)


@fault("source.folder")
def source_missing(tree: Path) -> None:
    shutil.rmtree(org(tree) / "src")


@fault("tree.engine")
def server_with_unknown_caching_in_closed(tree: Path) -> None:
    path = place(tree) / "README.md"
    path.write_text(path.read_text() + f"\n**{OpenAI.marker}.**\n")


@fault("tree.simulated")
def simulated_run_in_closed(tree: Path) -> None:
    path = place(tree) / "README.md"
    path.write_text(path.read_text() + "\nThis run is simulated, not a result.\n")
