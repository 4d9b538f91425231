"""What goes wrong beside a job: damaged files, a full disk, two runs at once. A message, and the next run is right."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import xarray as xr
from projects import SMALL, copy_of_the_loop, copy_of_the_project, environment, snakemake

from neurostatic.store import read_arrays

pytestmark = pytest.mark.loop


def damage(path: Path, content: bytes) -> None:
    """Other bytes under the same time, as of a disk that fails."""
    times = path.stat()
    path.unlink()  # it is a link
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_damaged_files_are_named_by_the_rules_that_read_them(finished_loop, tmp_path):
    """A store, a model, a picture and a table, each read by a rule that needs nothing else that is damaged."""
    copy_of_the_loop(finished_loop, tmp_path)
    results = tmp_path / "results"
    picture = sorted((results / "stimuli/mouse1/mei_vs_rf").rglob("*.png"))[0]
    read_by = {
        results / "datasets/mouse1-day5-oracle.zarr.zip": ("check_matches", "closed_loop/loop1/oracle.csv"),
        results / "models/mouse1/GaussianLaplace/2.pt": ("evaluate_models", "evaluation/mouse1.csv"),
        picture: ("simulate_scan", "simulation/mouse1-day6-both.truth.zarr.zip"),
        results / "closed_loop/loop1/unmatched.csv": ("summarize_confusion", "closed_loop/loop1/tests.csv"),
    }
    for path in read_by:
        damage(path, b"\xff\x00 no table" if path.suffix == ".csv" else path.read_bytes()[: path.stat().st_size // 2])
    targets = [f"results/{target}" for _, target in read_by.values()]
    again = ("--keep-going", "--rerun-triggers", "mtime", "--forcerun", *targets)
    run = snakemake(tmp_path, *SMALL, *again, "--", *targets)
    said = run.stdout + run.stderr
    assert run.returncode != 0 and "Traceback" not in said, said
    *_, at_the_end = said.partition("Exiting because a job execution failed")
    for path, (rule, target) in read_by.items():
        told = [line for line in said.splitlines() if line.startswith(f"[{rule}")]
        assert any(path.name in line for line in told), f"{path}: {told}"
        assert path.name in at_the_end and f"results/logs/{rule}" in at_the_end
        assert not (results / target).exists()
    assert not [*results.rglob(".*.tmp")]


def test_two_runs_at_once_are_refused(tmp_path):
    copy_of_the_project(tmp_path)
    target = "results/simulation/mouse1-day5-oracle.truth.zarr.zip"
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *SMALL, "--", target]
    first = subprocess.Popen(command, cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)  # fmt: skip
    while first.poll() is None and not list((tmp_path / ".snakemake/locks").glob("*")):
        time.sleep(0.05)
    second = snakemake(tmp_path, *SMALL, "--", target)
    assert second.returncode != 0 and "cannot be locked" in second.stdout + second.stderr
    assert first.wait() == 0
    assert read_arrays(tmp_path / target).sizes["unit"] > 0


def test_a_source_without_positions_is_refused_where_cells_are_matched(finished_loop, tmp_path):
    """It was imported when it was in no loop, and nobody asked for positions then."""
    copy_of_the_loop(finished_loop, tmp_path)
    export, bare = tmp_path / "results/simulation/mouse1-day1", tmp_path / "bare"
    shutil.copytree(export, bare, ignore=shutil.ignore_patterns("stack_coordinates.csv"))
    verdict = tmp_path / "results/scans/mouse1-day1.json"
    damage(verdict, json.dumps({**json.loads(verdict.read_text()), "source": "bare"}).encode())
    target = "results/closed_loop/loop1/matches.csv"
    run = snakemake(tmp_path, *SMALL, "--rerun-triggers", "mtime", "--forcerun", "match_cells", "--", target)
    said = run.stdout + run.stderr
    assert run.returncode != 0 and "Traceback" not in said, said
    assert "match_cells: bare: neither stack_coordinates.csv nor field_registrations.csv is there" in said
    assert not (tmp_path / target).exists()


STORE = "results/datasets/mouse1-day1.zarr.zip"


def built_again(folder: Path, before: str = "") -> str:
    """What a run says that makes a store anew and fails; nothing of it may stay."""
    command = f"{before} exec {sys.executable} -m snakemake --cores 1 {' '.join(SMALL)}"
    command += f" --rerun-triggers mtime --forcerun build_dataset -- {STORE}"
    run = subprocess.run(["bash", "-c", command], cwd=folder, env=environment(folder), capture_output=True, text=True)
    said = run.stdout + run.stderr
    assert run.returncode != 0 and "Traceback" not in said, said
    assert not (folder / STORE).exists() and not list((folder / STORE).parent.glob(".*"))
    return said


def check_built(folder: Path, before: xr.Dataset) -> None:
    run = snakemake(folder, *SMALL, "--rerun-triggers", "mtime", "--", STORE)
    assert run.returncode == 0, run.stdout + run.stderr
    xr.testing.assert_identical(read_arrays(folder / STORE).drop_attrs(), before.drop_attrs())


def test_files_that_may_not_be_so_large(finished_loop, tmp_path):
    copy_of_the_loop(finished_loop, tmp_path)
    before = read_arrays(tmp_path / STORE)
    assert "files may not be as large as this here" in built_again(tmp_path, "ulimit -f 200;")
    check_built(tmp_path, before)


def test_a_full_disk(finished_loop, tmp_path):
    """A file system of its own, too small for the store that is written to it, and then large enough."""
    copy_of_the_loop(finished_loop, tmp_path)
    before, folder = read_arrays(tmp_path / STORE), str((tmp_path / STORE).parent)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "none", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    (tmp_path / STORE).with_name("other").touch()  # Snakemake would remove the empty folder, where the disk is mounted
    try:
        assert "build_dataset: the disk is full: make room, then run again" in built_again(tmp_path)
        subprocess.run(["mount", "-o", "remount,size=1g", folder], check=True)
        check_built(tmp_path, before)
    finally:
        subprocess.run(["umount", folder], check=True)
