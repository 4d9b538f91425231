"""Copies of the project in folders of their own, in which tests run Snakemake."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = ("neurostatic", "workflow", "profiles", "envs", "Snakefile", "config.yaml")
SMALL = ("--configfile", "small.yaml")


def copy_of_the_project(folder: Path) -> None:
    """The project and the small loop's overlay, small.yaml; nothing has run."""
    folder.mkdir(exist_ok=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / part)
    shutil.copy2(Path(__file__).with_name("small_loop.yaml"), folder / "small.yaml")


def copy_of_the_loop(finished: Path, folder: Path) -> None:
    """The project after its small loop has run; results are links, which Snakemake replaces and does not overwrite."""
    copy_of_the_project(folder)
    shutil.copytree(finished / "results", folder / "results", copy_function=os.link)
    shutil.copytree(finished / ".snakemake", folder / ".snakemake")


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(folder)}


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    return subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True)


def planned(folder: Path, *arguments: str) -> dict[str, int]:
    """Rules that a dry run would execute, and how many jobs of each."""
    run = snakemake(folder, "-n", *SMALL, *arguments)
    assert run.returncode == 0, run.stdout + run.stderr
    table = re.search(r"job +count\n[- ]+\n(.*?)\ntotal", run.stdout + run.stderr, re.S)
    counts = dict(line.split() for line in table[1].splitlines()) if table else {}
    return {rule: int(count) for rule, count in counts.items() if rule != "all"}
