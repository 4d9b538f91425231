"""Each job takes a GPU that no other job has."""

import re
import subprocess
import sys

import pytest
from projects import ROOT

HOLD = """
import sys; sys.path.insert(0, sys.argv[1])
from devices import free_gpu
print(free_gpu(sys.argv[2].split(",")), flush=True)
input()
"""


def test_a_job_whose_rule_asks_for_no_gpu_takes_none(monkeypatch):
    """Two GPUs: it holds neither, computes on the CPU, and leaves both to those that ask."""
    monkeypatch.syspath_prepend(ROOT / "workflow/scripts")
    devices = pytest.importorskip("devices")
    taken = []
    monkeypatch.setattr(devices, "free_gpu", lambda names: taken.append(names) or names[0])
    for setting in ("torch.set_num_threads", "torch.use_deterministic_algorithms", "ctypes.CDLL"):  # of this process
        monkeypatch.setattr(setting, lambda _: None)
    monkeypatch.setattr("torch.utils.deterministic.fill_uninitialized_memory", True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert devices.compute_device(2, gpu=False) == "cpu" and not taken
    assert devices.compute_device(2) == "cuda" and taken == [["4", "7"]]


def test_only_scripts_of_rules_with_a_gpu_take_one():
    """What a rule asks of the scheduler (`gpu=GPU`) and what its script takes are the same."""
    rules = "\n".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    checked = []
    for rule in re.split(r"\n(?=rule |use rule )", rules):
        script = re.search(r'"\.\./scripts/(\w+)\.py"', rule)
        text = (ROOT / f"workflow/scripts/{script[1]}.py").read_text() if script else ""
        if "compute_device(" in text:
            assert ("gpu=GPU" in rule) == ("gpu=False" not in text), script[1]
            checked.append(script[1])
    assert {"train_model", "make_masks"} <= set(checked)


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
