"""docs/reruns.md, row by row: what a change makes run again, and nothing else."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from projects import ROOT, SMALL, copy_of_the_loop, planned, snakemake

pytestmark = pytest.mark.loop
TABLE = (ROOT / "docs/reruns.md").read_text()


def setting(section: str, **values) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        overlay = yaml.safe_load((folder / "small.yaml").read_text())
        overlay[section] = {**overlay.get(section, {}), **values}
        (folder / "small.yaml").write_text(yaml.safe_dump(overlay))

    return change


def text(file: str, edit: Callable[[str], str]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = (folder / file).read_text()
        (folder / file).unlink()  # it may be a link
        (folder / file).write_text(edit(content))

    return change


def comments(folder: Path) -> None:
    text("config.yaml", lambda content: f"# another comment\n{content}")(folder)
    text("neurostatic/stimuli/envelopes.py", lambda content: f"{content}\n# only a comment\n")(folder)


def module(name: str) -> Callable[[Path], None]:
    return text(f"neurostatic/{name}", lambda content: f"{content}\n\nNEW_CONSTANT = 1\n")


def without_last_row(table: str) -> str:
    return "".join(table.splitlines(keepends=True)[:-1])


def another_scan(folder: Path) -> None:
    overlay = yaml.safe_load((folder / "small.yaml").read_text())
    overlay["scans"]["mouse2-day1"] = "simulate"
    overlay["datasets"] = {"mouse1": ["mouse1-day1"], "mouse2": ["mouse2-day1"]}
    (folder / "small.yaml").write_text(yaml.safe_dump(overlay))


NEW_SETTING = ("class Masks:\n", "class Masks:\n    new: int = key(1)\n")


def no_loops(folder: Path) -> None:
    overlay = yaml.safe_load((folder / "small.yaml").read_text())
    (folder / "small.yaml").write_text(yaml.safe_dump({**overlay, "scans": {"mouse1-day1": "simulate"}, "loops": {}}))


CHANGES = {
    "a comment": comments,
    "`masks.target_ratio`": setting("masks", target_ratio=0.8),
    "`stimuli.mean_cd_m2`": setting("stimuli", mean_cd_m2=10.5),
    "`stimuli.target`": setting("stimuli", target="mei_vs_gabor"),
    "`probes.n_diverse`": setting("probes", n_diverse=4),
    "`statistics.seed`": setting("statistics", seed=1),
    "`training.checkpoint_epochs`": setting("training", checkpoint_epochs=7),
    "a new setting": text("neurostatic/config/sections.py", lambda content: content.replace(*NEW_SETTING, 1)),
    "the module `stimuli/insilico.py`": module("stimuli/insilico.py"),
    "the module `closed_loop/hypotheses.py`": module("closed_loop/hypotheses.py"),
    "a seed more": setting("training", seeds=[1, 2, 3]),
    "a scan more": another_scan,
    "the loops and their later scans": no_loops,
    "a table of units edited": text("results/selection/mouse1.csv", without_last_row),
    "a file of an export": text("results/simulation/mouse1-day5-oracle/units.csv", without_last_row),
    "a result in between deleted": lambda folder: (folder / "results/masks/mouse1.zarr.zip").unlink(),
}
IN_SHORT = {name: set(rules.split(", ")) for name, rules in re.findall(r"^\| (\*[\w ]+\*) \| (.*) \|$", TABLE, re.M)}


def rules_of(cell: str) -> set[str]:
    names = set() if cell == "none" else set(cell.split(", "))
    return set().union(*(IN_SHORT.get(name, {name}) for name in names))


ROWS = dict(re.findall(r"^\| ([^*|]+) \| (.*) \|$", TABLE.partition("| what changes |")[2], re.M))


def test_every_row_is_a_test():
    assert len(ROWS) == len(CHANGES) > 10
    assert all(sum(row.startswith(name) for row in ROWS) == 1 for name in CHANGES)


@pytest.mark.parametrize("name", CHANGES)
def test_what_runs_again(finished_loop, tmp_path, name):
    copy_of_the_loop(finished_loop, tmp_path)
    CHANGES[name](tmp_path)
    jobs = planned(tmp_path)
    (cell,) = (rules for row, rules in ROWS.items() if row.startswith(name))
    assert set(jobs) == rules_of(cell)
    if name == "a seed more":
        assert jobs["train_model"] == 2
    if name == "a scan more":
        assert jobs["simulate_scan"] == jobs["build_dataset"] == 1 and jobs["train_model"] == 4


def test_only_files_of_an_export_make_a_scan_run_again(finished_loop, tmp_path):
    """What a desktop leaves in the folder, and raw data beside the export, make nothing of it again; a table does."""
    copy_of_the_loop(finished_loop, tmp_path)
    export = tmp_path / "export"
    shutil.copytree(finished_loop / "results/simulation/mouse1-day1", export)
    overlay = yaml.safe_load((tmp_path / "small.yaml").read_text())
    overlay |= {"scans": {"a": "export"}, "datasets": {"d": ["a"]}, "loops": {}}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(overlay))
    verdict = "results/scans/a.json"
    run = snakemake(tmp_path, *SMALL, "--", verdict)
    assert run.returncode == 0, run.stdout + run.stderr
    (export / ".DS_Store").write_text("a folder was opened")
    (export / "raw").mkdir()
    (export / "raw/movie.tif").write_text("gigabytes")
    assert planned(tmp_path, "--", verdict) == {}
    text("export/units.csv", lambda table: table + "\n")(tmp_path)
    assert planned(tmp_path, "--", verdict) == {"import_scan": 1}
