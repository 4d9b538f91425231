"""The virtual mouse at full size: how much of what can be predicted do the models predict? About 30 minutes on a core.

python -m pytest -m slow tests/test_truth.py -s
"""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from neurostatic.config import DataConfig, Network, Simulation, Training
from neurostatic.data import build_dataset, open_multi_dataset, read_scan
from neurostatic.fitting import TierTensors, predict, score_units, train_network
from neurostatic.simulation import natural_session, noiseless_correlations, simulate_scan
from neurostatic.store import write_arrays

pytestmark = pytest.mark.slow
CPU = torch.device("cpu")
SEEDS = (1009, 1215)
# As noisy as the demo's mouse; about 1,000 of its cells are recorded.
MOUSE = Simulation(seed=1, n_cells=1110, median_events=0.17, n_images=5000, n_repeated=60, repeats=10)
# In the mouse, too, the gain multiplies the response (OutputMLP).
SETTINGS = {"readout": "FullGaussian2d", "modulator": "OutputMLP", "hidden_channels": 16, "skip": 0}
SETTINGS |= {"gamma_input": 10.0, "gamma_hidden": 0.01, "gamma_features": 0.3}
CORES = {"cnn": "GaussianLaplace", "linear": "StackedLinearGaussianLaplace"}
TRAINING = Training(learning_rates=(0.01, 0.003, 0.001), max_epochs=40, batch_size=60, patience=3)
NONLINEAR = ("complex", "end_stopped", "curved")


@pytest.fixture(scope="module")
def units(tmp_path_factory) -> pd.DataFrame:
    """kind, ceiling (correlation of the true rate with single test trials), and each ensemble's correlation."""
    folder = tmp_path_factory.mktemp("truth")
    torch.set_num_threads(1)
    truth = simulate_scan(MOUSE, natural_session(MOUSE), folder / "day1")
    write_arrays(build_dataset(read_scan(folder / "day1")), folder / "day1.zarr.zip", {})
    member = open_multi_dataset({"day1": folder / "day1.zarr.zip"}, DataConfig(layer="all"))["day1"]
    tiers = {tier: TierTensors.of(member, tier, CPU) for tier in ("train", "validation", "test")}
    test = tiers["test"]
    trial_idx = member.data.trial_idx.values[member.trials("test")]
    table = noiseless_correlations(truth, member.responses("test"), trial_idx, member.unit_id)
    table["ceiling"] = table.noiseless_correlation

    def ensemble(networks, shown):
        predicted = torch.stack([predict(network, "day1", shown) for network in networks]).mean(0)
        return score_units(predicted, test.responses).numpy()

    for name, core in CORES.items():
        networks = [train_network(Network(core=core, **SETTINGS), TRAINING, {"day1": tiers}, s, CPU)[0] for s in SEEDS]
        for seed, network in zip(SEEDS, networks, strict=True):
            table[f"{name} {seed}"] = ensemble([network], test)
        table[name] = ensemble(networks, test)
        if name == "cnn":
            for control, shown in controls(test, member.normalization).items():
                table[control] = ensemble(networks, shown)
    table = table[table.kind != "no cell"]
    print(of_kinds(table).round(3).to_string())
    return table


def controls(test: TierTensors, normalization) -> dict[str, TierTensors]:
    """The test tier with one thing wrong."""
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(test.responses), generator=generator)
    images_px = test.all_images * normalization.image_std + normalization.image_mean
    return {
        "wrong normalization": dataclasses.replace(test, all_images=images_px / 255),
        "shuffled behavior": dataclasses.replace(test, behavior=test.behavior[order]),
        "shuffled eye": dataclasses.replace(test, eye=test.eye[order]),
    }


def of_kinds(table: pd.DataFrame) -> pd.DataFrame:
    """Mean correlations of each kind of cell, as parts of the mean ceiling."""
    groups = dict(list(table.groupby("kind")))
    groups["nonlinear"] = table[table.kind.isin(NONLINEAR)]
    scores = table.columns.difference(["unit_id", "kind", "noiseless_correlation", "ceiling"], sort=False)
    rows = {
        kind: {"n": len(group), "ceiling": group.ceiling.mean()} | dict(group[scores].mean() / group.ceiling.mean())
        for kind, group in groups.items()
    }
    return pd.DataFrame(rows).T


def mean_and_error(values: pd.Series) -> tuple[float, float]:
    return values.mean(), values.std() / np.sqrt(len(values))


def test_it_is_of_full_size(units):
    assert len(units) > 900 and (units.kind.isin(NONLINEAR)).sum() > 500


def test_the_cnn_predicts_most_of_what_can_be_predicted_of_nonlinear_cells(units):
    nonlinear = units[units.kind.isin(NONLINEAR)]
    assert nonlinear.cnn.mean() / nonlinear.ceiling.mean() >= 0.85
    assert units.cnn.mean() / units.ceiling.mean() < 1  # no model is better than the truth


def test_the_cnn_beats_the_linear_model_on_nonlinear_cells_alone(units):
    nonlinear = units[units.kind.isin(NONLINEAR)]
    assert nonlinear.linear.mean() < 0.5 * nonlinear.cnn.mean()
    difference, _ = mean_and_error((units.cnn - units.linear)[units.kind == "linear"])
    assert abs(difference) < 0.01  # of a correlation of 0.21


@pytest.mark.parametrize("control", ["wrong normalization", "shuffled behavior", "shuffled eye"])
def test_what_is_wrong_lowers_the_score(units, control):
    change, error = mean_and_error(units[control] - units.cnn)
    assert change < -3 * error
