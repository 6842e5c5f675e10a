"""The shape of the tree, and files as such."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from mutation.faults.edits import DETAIL, org, place, run
from mutation.faults.registry import fault
from mutation.good_tree import SYSTEM

if TYPE_CHECKING:
    from pathlib import Path


@fault("tree.submitter")
def no_submitter(tree: Path) -> None:
    shutil.rmtree(org(tree))


@fault("tree.benchmark")
def benchmark_with_a_typing_error(tree: Path) -> None:
    place(tree).parent.rename(place(tree).parent.with_name("llama-2-70b-99.9"))


@fault("tree.scenarios")
def scenario_that_the_benchmark_lacks(tree: Path) -> None:
    shutil.copytree(place(tree, "Offline"), place(tree, "SingleStream"))


@fault("tree.divisions")
def division_misspelt(tree: Path) -> None:
    (tree / "closed").rename(tree / "Closed")


@fault("tree.benchmark")
def benchmark_that_the_round_dropped(tree: Path) -> None:
    place(tree).parent.rename(place(tree).parent.with_name("llama2-70b-99"))


@fault("tree.benchmark")
def benchmark_by_its_conf_name(tree: Path) -> None:
    place(tree).parent.rename(place(tree).parent.with_name("llama2-70b"))


@fault("tree.scenarios")
def no_offline(tree: Path) -> None:
    shutil.rmtree(place(tree, "Offline"))


@fault("tree.scenarios")
def neither_server_nor_interactive(tree: Path) -> None:
    shutil.rmtree(place(tree, "Server"))
    shutil.rmtree(place(tree, "Interactive"))


@fault("tree.scenarios", "note")
def scenario_misspelt(tree: Path) -> None:
    place(tree).rename(place(tree).with_name("server"))


@fault("tree.layout")
def layout_of_an_older_round(tree: Path) -> None:
    (org(tree) / "measurements").mkdir()


@fault("tree.model-mapping")
def model_mapping_in_closed(tree: Path) -> None:
    (org(tree) / "model_mapping.json").write_text("{}")


@fault("tree.results")
def results_empty(tree: Path) -> None:
    shutil.rmtree(org(tree) / "results" / SYSTEM)


@fault("files.links")
def log_is_a_link(tree: Path) -> None:
    (run(tree) / DETAIL).rename(org(tree) / "src" / "log.txt")
    (run(tree) / DETAIL).symlink_to(org(tree) / "src" / "log.txt")


@fault("files.links")
def link_to_itself(tree: Path) -> None:
    (org(tree) / "src" / "loop").symlink_to(org(tree) / "src")


@fault("files.links")
def broken_link(tree: Path) -> None:
    (org(tree) / "src" / "code").symlink_to("code")


@fault("files.linked-source", "note")
def link_within_the_source(tree: Path) -> None:
    (org(tree) / "src" / "main.py").symlink_to("run.py")


@fault("files.encoding", "note")
def readme_in_another_encoding(tree: Path) -> None:
    (place(tree) / "README.md").write_bytes("Größe: 8 GPUs".encode("latin-1"))


@fault("conf.file")
def user_conf_in_utf16(tree: Path) -> None:
    path = place(tree) / "user.conf"
    path.write_bytes(path.read_text().encode("utf-16"))


@fault("files.size")
def file_too_large(tree: Path) -> None:
    with (org(tree) / "src" / "weights.bin").open("wb") as file:
        file.truncate(52_428_801)


@fault("files.blanks")
def name_with_a_blank(tree: Path) -> None:
    (org(tree) / "src" / "my script.py").write_text("pass\n")


@fault("files.names", "note")
def names_that_differ_by_case(tree: Path) -> None:
    (org(tree) / "src" / "RUN.py").write_text("pass\n")


@fault("files.leftovers", "note")
def editor_leftover(tree: Path) -> None:
    (org(tree) / "src" / "run.py.bak").write_text("pass\n")


@fault("tree.further-folders", "note")
def folder_beside_the_rounds(tree: Path) -> None:
    (org(tree) / "scripts").mkdir()
    (org(tree) / "scripts" / "run.sh").write_text("true\n")


@fault("files.hidden")
def dot_file(tree: Path) -> None:
    (org(tree) / "src" / ".env").write_text("A=1\n")


@fault("files.hidden")
def dot_file_beside_the_logs(tree: Path) -> None:
    (run(tree) / ".DS_Store").write_text("x\n")


@fault("files.hidden-source", "note")
def dot_file_of_the_source(tree: Path) -> None:
    (org(tree) / "src" / ".clang-format").write_text("BasedOnStyle: Google\n")


@fault("files.empty-folders")
def empty_folder(tree: Path) -> None:
    (org(tree) / "src" / "empty").mkdir()


@fault("files.plain")
def named_pipe(tree: Path) -> None:
    os.mkfifo(run(tree) / "pipe.txt")
