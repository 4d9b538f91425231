"""What goes wrong beside a job: a message, and nothing is harmed."""

import subprocess
import sys
import time

import pytest
from projects import SMALL, copy_of_the_project, environment, snakemake

from neurostatic.store import read_arrays

pytestmark = pytest.mark.loop


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
