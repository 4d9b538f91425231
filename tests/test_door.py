"""What a job says: on the terminal that all share, in its own log, and when it fails."""

import subprocess
import sys

import pytest
from projects import ROOT

JOB = """
import sys; sys.path.insert(0, sys.argv[1])
from types import SimpleNamespace
from door import door
from neurostatic.problems import InputError
with door(SimpleNamespace(rule="train_model", log=["results/logs/train_model/a/{name}.log"])):
    {body}
"""
EPOCHS = "[print(f'epoch {i}: loss 1.0') for i in range(200)]"


def job(body: str, name: str = "1") -> list[str]:
    return [sys.executable, "-c", JOB.format(body=body, name=name), str(ROOT / "workflow/scripts")]


def test_lines_of_many_jobs_at_once_stay_whole_and_named(tmp_path):
    """As of a grid of trainings: each line is of one job and says of which, and comes in the order of that job."""
    with open(tmp_path / "terminal", "w") as terminal:
        jobs = [subprocess.Popen(job(EPOCHS, str(i)), cwd=tmp_path, stdout=terminal) for i in range(8)]
        assert not any(process.wait() for process in jobs)
    said = (tmp_path / "terminal").read_text().splitlines()
    assert len(said) == 8 * 200
    for i in range(8):
        lines = [line.partition("] ")[2] for line in said if line.startswith(f"[train_model/a/{i}] ")]
        assert lines == [f"epoch {epoch}: loss 1.0" for epoch in range(200)]
        opening, *log = (tmp_path / f"results/logs/train_model/a/{i}.log").read_text().splitlines()
        assert opening.startswith("train_model: commit ") and "torch" in opening and log == lines


@pytest.mark.parametrize(
    ("body", "message", "traceback"),
    [
        ("raise InputError('units.csv: column um_x is missing')", "units.csv: column um_x is missing", False),
        ("raise OSError(28, 'No space left on device')", "the disk is full: make room, then run again", False),
        ("raise OSError(122, 'Disk quota exceeded')", "your quota is used up: make room, then run again", False),
        ("raise RuntimeError('a fault of ours')", "RuntimeError: a fault of ours", True),
    ],
)
def test_a_job_that_fails_says_why_and_where(tmp_path, body, message, traceback):
    run = subprocess.run(job(f"print('so far'); {body}"), cwd=tmp_path, capture_output=True, text=True)
    log = (tmp_path / "results/logs/train_model/a/1.log").read_text()
    assert run.returncode == 1 and run.stdout == "[train_model/a/1] so far\n"
    for said in (run.stderr, log):
        assert message in said and "(log: results/logs/train_model/a/1.log)" in said
        assert ("Traceback" in said) == traceback
    assert "so far" in log
