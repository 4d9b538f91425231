"""Each job takes a GPU that no other job has."""

import subprocess
import sys

from projects import ROOT

HOLD = """
import sys; sys.path.insert(0, sys.argv[1])
from devices import free_gpu
print(free_gpu(sys.argv[2].split(",")), flush=True)
input()
"""


def test_jobs_hold_different_gpus_until_they_end(tmp_path):
    def job():
        return subprocess.Popen(
            [sys.executable, "-c", HOLD, str(ROOT / "workflow/scripts"), "4,GPU-a"], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"TMPDIR": str(tmp_path), "LOGNAME": "mouse"},
        )  # fmt: skip

    first, second = job(), job()
    assert {first.stdout.readline().strip(), second.stdout.readline().strip()} == {"4", "GPU-a"}
    third = job()
    assert third.stdout.readline().strip() == "4"  # none is free: the first
    for process in (first, second, third):
        process.kill()
        process.communicate()
    again = job()
    assert again.stdout.readline().strip() == "4"
    again.communicate("\n")
