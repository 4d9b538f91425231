"""What a run would cost: arithmetic and parameters of networks, jobs, hours, disk."""

import inspect
import re

import pandas as pd
import pytest
import torch
from projects import ROOT
from torch.utils.flop_counter import FlopCounterMode

from neurostatic.cli import main
from neurostatic.config import CORES, READOUTS, Network, read_config
from neurostatic.inspection.costs import ASCENT, forward_flop, n_parameters
from neurostatic.inspection.plan import Size, _n_gabors, _probed, measured_rate
from neurostatic.models.networks import CorePlusReadout
from neurostatic.stimuli.diversity import diverse_images
from neurostatic.stimuli.gabors import candidates
from neurostatic.store import write_table

SIZE_PX = (36, 64)
OVERLAYS = [str(ROOT / "workflow/config" / name) for name in ("paper.yaml", "five_mice.yaml")]


def test_the_published_core_is_131_gflop_a_step():
    network = Network(hidden_channels=32, input_kern=15, hidden_kern=7, layers=3, skip=3, pad_input=True)
    assert 60 * 3 * forward_flop(network, SIZE_PX, 0) == pytest.approx(131e9, rel=0.002)


@pytest.mark.parametrize("core", CORES)
def test_arithmetic_of_a_core_is_that_of_its_convolutions(core, monkeypatch):
    network = Network(core=core, hidden_channels=6, input_kern=9, hidden_kern=3, layers=4, skip=2)
    built = CorePlusReadout(network, {"a": 1}).train()
    with FlopCounterMode(display=False) as counter:
        built.core(torch.zeros(1, 1, *SIZE_PX))
    assert counter.get_total_flops() == forward_flop(network, SIZE_PX, 0)


@pytest.mark.parametrize("readout", READOUTS)
def test_parameters_are_those_of_the_built_network(readout):
    network = Network(readout=readout, hidden_channels=8, input_kern=9, hidden_kern=3)
    built = CorePlusReadout(network, {"a": 500})
    held = sum(value.numel() for part in (built.core, built.readout) for value in part.parameters())
    assert n_parameters(network, SIZE_PX, 500) == pytest.approx(held, rel=0.15)


def test_the_plan_of_five_mice(tmp_path, monkeypatch, capsys):
    """By hand: 64 models a mouse; one training is 40 epochs of 5,900 trials, 0.2 to 0.4 GFLOP each, three times."""
    monkeypatch.chdir(tmp_path)
    assert main(["plan", *OVERLAYS, "--tflops", "10"]) == 0
    said = capsys.readouterr().out
    jobs = {rule: (int(n), hours) for rule, n, hours in re.findall(r"^  (\w+) +(\d+) +([\d.]+|-)$", said, re.M)}
    assert jobs["train_model"][0] == 320 and jobs["make_meis"][0] == 5 * 2 * 4 and jobs["simulate_scan"] == (15, "-")
    low, high = (320 * 40 * 5900 * 3 * gflop * 1e9 / 10e12 / 3600 for gflop in (0.2, 0.4))
    assert low < float(jobs["train_model"][1]) < high
    assert "5 data sets, 16 networks x 4 seeds: 320 models" in said
    disk = dict(re.findall(r"^  (\w+) +([\d.e+]+)$", said, re.M))
    assert float(disk["datasets"]) > 5 * 5900 * 3000 * 4 * 0.9 / 1e9
    assert not list(tmp_path.glob("results*"))


def test_gabors_and_diverse_images_are_planned_as_they_are_made():
    """The continuous search asks 5 x 300 x 12 images of every unit; 100 steps, forth and back, make a diverse image."""
    config = read_config(ROOT / "config.yaml")
    grid = _n_gabors(config, 10)
    assert grid == len(candidates(config.gabors)) == _n_gabors(config, 20)
    optimal = read_config(ROOT / "config.yaml", {"gabors": {"search": "optimal"}})
    assert _n_gabors(optimal, 10) == 10 * 5 * 300 * 12
    without = read_config(ROOT / "config.yaml", {"stimuli": {"sets": ["mei_vs_rf"]}, "loops": {}})
    assert _n_gabors(without, 10) == 0
    diverse = read_config(ROOT / "config.yaml", {"probes": {"parts": ["diverse"], "n_diverse": 7}})
    assert _probed(diverse) == ASCENT * 7 * inspect.signature(diverse_images).parameters["steps"].default


def test_hours_are_of_trainings_that_were_measured_here(tmp_path):
    config = read_config(ROOT / "config.yaml")
    size = Size(1000, 900, 50)
    assert "assumption" in measured_rate(config, {"mouse1": size}, tmp_path).known
    model = "mouse1/GaussianLaplace/1009"
    write_table(pd.DataFrame({"epoch": range(8)}), tmp_path / f"models/{model}_history.csv", {"device": "cpu"})
    benchmark = tmp_path / f"benchmarks/train_model/{model}.tsv"
    benchmark.parent.mkdir(parents=True)
    benchmark.write_text("s\th:m:s\n20.0\t0:00:20\n")
    rate = measured_rate(config, {"mouse1": size}, tmp_path)
    flop = 3 * 8 * 1000 * forward_flop(config.networks["GaussianLaplace"], SIZE_PX, 50)
    assert rate.tflops == pytest.approx(flop / 20 / 1e12) and rate.device == "CPU core"


def test_a_plan_of_what_cannot_be_run_says_why(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("scans: {a: no/such/scan}\ndatasets: {d: [a]}\nloops: {}\n")
    assert main(["plan", "mine.yaml"]) == 1
    said = capsys.readouterr().err
    assert "no/such/scan" in said and "Traceback" not in said
