"""The whole small loop on a real SLURM with two nodes and two placeholder GPUs, while things go wrong.

One run meets every fault that a cluster knows, each once; it must end with the results of an undisturbed local run.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
import xarray as xr
import yaml
from projects import SMALL, copy_of_the_project, environment, snakemake
from slurm_cluster import Cluster, missing_programs

from neurostatic.store import read_arrays

MISSING = missing_programs()
pytestmark = [
    pytest.mark.loop,
    pytest.mark.skipif(bool(MISSING), reason=f"SLURM is not installed: no {', '.join(MISSING)}"),
]
ON_SLURM = [str(Path(__file__).with_name("impatient_snakemake.py")), "--workflow-profile", "profiles/slurm"]
LONGEST_S = 1200
MODEL = "results/models/mouse1/GaussianLaplace"
TRAINING = "rule_train_model_wildcards_mouse1_GaussianLaplace_{}"


@pytest.fixture(scope="module")
def cluster():
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # of pytest's folders the paths are too long for sockets
    try:
        with Cluster(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder)


class Run:
    """Snakemake at work on the cluster."""

    def __init__(self, folder: Path, cluster: Cluster):
        self.folder, self.cluster = folder, cluster
        self.process = None

    def start(self) -> None:
        command = [sys.executable, *ON_SLURM, *SMALL]
        with open(self.folder / "run.log", "a") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True,
                env={**environment(self.folder), **self.cluster.environment},
            )  # fmt: skip

    def said(self) -> str:
        return (self.folder / "run.log").read_text()

    def job(self, comment: str) -> str:
        """Number of the running job that Snakemake calls so, or ""."""
        running = self.cluster.jobs("-t", "running")
        return next((number for number, found in running.items() if found.startswith(comment)), "")

    def training(self, seed: int) -> str:
        """Number of the job of a training that has written a checkpoint, or ""."""
        there = (self.folder / MODEL / f"{seed}.checkpoint").is_file()
        return self.job(TRAINING.format(seed)) if there else ""


def node_drained(run: Run) -> bool:
    if not run.job("rule_build_dataset"):
        return False
    done = run.cluster.run("scontrol", "update", "nodename=node2", "state=drain", "reason=test")
    assert done.returncode == 0, done.stderr
    return True


def signalled(job: str, number: signal.Signals) -> bool:
    """Whether the training of a job was found, and sent a signal."""
    for process in Path("/proc").glob("[0-9]*") if job else ():
        try:
            of_job = f"SLURM_JOB_ID={job}\0" in (process / "environ").read_text()
            if of_job and re.search(r"scripts/\w+\.train_model\.py", (process / "cmdline").read_text()):
                os.kill(int(process.name), number)
                return True
        except (OSError, UnicodeDecodeError):
            continue
    return False


def out_of_time(run: Run) -> bool:
    """SLURM looks at the time every half a minute; meanwhile the training hangs, so that it cannot be done before."""
    job = run.training(1)
    if not signalled(job, signal.SIGSTOP):
        return False
    done = run.cluster.run("scontrol", "update", f"JobId={job}", "EndTime=now")
    assert done.returncode == 0, done.stderr
    return True


def killed(run: Run) -> bool:
    return signalled(run.training(2), signal.SIGKILL)


def controller_restarted(run: Run) -> bool:
    """While the last training goes on alone: a job that begins or ends without a controller waits for minutes."""
    left = [seed for seed in (1, 2) if not (run.folder / MODEL / f"{seed}.pt").is_file()]
    others_done = len(left) == 1 and run.said().count("Trying to restart job") == 2
    if not (others_done and run.training(left[0]) and len(run.cluster.jobs()) == 1):
        return False
    resumed = run.cluster.run("scontrol", "update", "nodename=node2", "state=resume")
    assert resumed.returncode == 0, resumed.stderr
    run.cluster.stop_controller()
    time.sleep(1)
    run.cluster.start_controller()
    return True


def snakemake_killed(run: Run) -> bool:
    """Its jobs go on without it, and finish or not while the next run does the same."""
    if not run.job("rule_make_meis"):
        return False
    os.killpg(run.process.pid, signal.SIGKILL)
    run.process.wait()
    assert "--unlock" in snakemake(run.folder, *SMALL).stdout + snakemake(run.folder, *SMALL).stderr
    assert snakemake(run.folder, *SMALL, "--unlock").returncode == 0
    run.start()
    return True


FAULTS = [node_drained, out_of_time, killed, controller_restarted, snakemake_killed]


@pytest.fixture(scope="module")
def disturbed(cluster, tmp_path_factory) -> Run:
    """Every fault strikes as soon as it can, and one rule asks for too little memory."""
    folder = tmp_path_factory.mktemp("cluster")
    copy_of_the_project(folder)
    profile = folder / "profiles/slurm/config.yaml"
    settings = yaml.safe_load(profile.read_text())
    settings["set-resources"]["evaluate_models"] = {**settings["set-resources"]["evaluate_models"]}
    settings["set-resources"]["evaluate_models"]["mem_mb"] = "300 * attempt ** 3"
    profile.write_text(yaml.safe_dump(settings))
    run, waiting = Run(folder, cluster), list(FAULTS)
    run.start()
    end = time.monotonic() + LONGEST_S
    while run.process.poll() is None and time.monotonic() < end:
        waiting = [fault for fault in waiting if not fault(run)]
        time.sleep(0.2)
    if run.process.poll() is None:
        os.killpg(run.process.pid, signal.SIGKILL)
    assert run.process.wait() == 0, run.said()
    assert not waiting, f"did not strike: {waiting}"
    return run


def test_gpu_jobs_ran_where_the_gpus_are(disturbed):
    log = pd.DataFrame(
        [
            dict(re.findall(r"(\w+)=(\S*)", line))
            for line in (disturbed.cluster.folder / "jobs.log").read_text().splitlines()
        ]
    )
    log = log.dropna(subset=["Partition"])  # of a line that the old controller did not finish
    assert set(log.Partition) == {"cpu", "gpu"} and {"COMPLETED", "TIMEOUT", "FAILED"} <= set(log.JobState)


def test_a_training_out_of_time_goes_on_from_its_checkpoint(disturbed):
    assert "TIMEOUT" in disturbed.said()
    for seed in (1, 2):
        log = (disturbed.folder / f"results/logs/train_model/mouse1/GaussianLaplace/{seed}.log").read_text()
        assert "going on from the checkpoint of epoch" in log


def test_a_job_over_its_memory_is_tried_with_more(disturbed):
    asked = pd.read_csv(disturbed.folder / "results/benchmarks/evaluate_models/mouse1.tsv", sep="\t").resources[0]
    assert "2400" in str(asked)


def test_a_second_run_does_nothing(disturbed):
    run = snakemake(disturbed.folder, *SMALL)
    assert run.returncode == 0 and "Nothing to be done" in run.stdout + run.stderr


def test_the_results_are_those_of_a_local_run(disturbed, finished_loop):
    here, there = disturbed.folder / "results", finished_loop / "results"
    kinds = ("*.csv", "*.zarr.zip", "*.pt", "*.png")
    made = sorted(str(path.relative_to(here)) for kind in kinds for path in here.rglob(kind))
    assert made == sorted(str(path.relative_to(there)) for kind in kinds for path in there.rglob(kind))
    assert len(made) > 150 and (here / "report.html").is_file()
    for name in made:
        one, other = here / name, there / name
        if name.endswith(".zarr.zip"):
            xr.testing.assert_identical(read_arrays(one).drop_attrs(), read_arrays(other).drop_attrs())
        elif name.endswith(".pt"):
            one, other = (torch.load(path, weights_only=True)["weights"] for path in (one, other))
            assert all(torch.equal(one[part], other[part]) for part in other), name
        else:
            assert one.read_bytes() == other.read_bytes(), name
    assert not [*here.rglob(".*.tmp"), *here.rglob("*.checkpoint")]
