"""How well do networks predict a public scan, each with its own trainer: ours, and the field's published baseline?

    python benchmarks/peer.py SCAN [--seeds 1009 1215] [--only "neuralpredictors, FullGaussian2d"]

SCAN is a Sensorium-2022 tree or zip file (in the README: static90101-1-1-twin.zip). It is read as the workflow reads
it, and every network gets the same tiers and the same normalized tensors. Printed is one table: the single-trial
Pearson correlation on the test tier, mean over units, of each seed and of the ensemble (the mean output of all seeds).

Ours are trained as the workflow trains them: with the peer's readout, FullGaussian2d; with readout and modulator of
Walker et al. 2019, a pyramid; and the pyramid with a gain of the output. The peer is the Sensorium-2022 baseline
(Willeke et al. 2022): Stacked2dCore and FullGaussian2d readout of the package neuralpredictors (pip install
neuralpredictors==0.3.0), its PoissonLoss and its early stopping. One thread.
"""

import argparse
import dataclasses
import functools
import math
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import legacy_python  # noqa: F401, before neuralpredictors
import numpy as np
import torch
from neuralpredictors.layers.cores import Stacked2dCore
from neuralpredictors.layers.encoders import FiringRateEncoder
from neuralpredictors.layers.readouts import FullGaussian2d, MultiReadoutSharedParametersBase
from neuralpredictors.layers.shifters import MLPShifter
from neuralpredictors.measures.modules import PoissonLoss
from neuralpredictors.training import LongCycler, early_stopping
from torch.utils.data import DataLoader, TensorDataset

from neurostatic.config import DataConfig, Network, Preprocessing, Training
from neurostatic.data import open_multi_dataset
from neurostatic.data.importers import read_sensorium
from neurostatic.fitting import TierTensors, predict, score_units, train_network
from neurostatic.store import write_arrays

SCAN = "scan"  # key of the only scan in the peer's dictionaries
Tiers = dict[str, TierTensors]


@dataclasses.dataclass(frozen=True)
class Trained:
    """What one training gave: predictions (trial, unit) of the test tier, validation correlation, and its cost."""

    predictions: torch.Tensor
    validation: float
    parameters: int
    epochs: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class PeerSettings:
    """Settings of the peer; the others are those of the published baseline, written where they are used."""

    hidden_channels: int = 32  # published: 64, four times as slow
    layers: int = 4
    gamma_readout: float = 0.0076
    behavior: bool = True  # as further channels of the image, and eye positions to a shifter (the Sensorium+ track)
    max_epochs: int = 200


def read_tiers(path: str) -> Tiers:
    """Train, validation and test tier of a Sensorium scan, all units, as the workflow makes them."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "scan.zarr.zip"
        write_arrays(read_sensorium(path, Preprocessing()), store, {})
        member = open_multi_dataset({SCAN: store}, DataConfig(brain_area="all", layer="all"))[SCAN]
        return {tier: TierTensors.of(member, tier, torch.device("cpu")) for tier in ("train", "validation", "test")}


def peer_images(tier: TierTensors, settings: PeerSettings) -> torch.Tensor:
    """(trial, channel, y, x) images, with a constant channel for each behavior if the peer is to see it."""
    images = tier.images
    if settings.behavior:
        constant = tier.behavior[:, :, None, None].expand(-1, -1, *images.shape[2:])
        images = torch.cat([images, constant], dim=1)
    return images


def peer_network(images: torch.Tensor, n_units: int, settings: PeerSettings) -> FiringRateEncoder:
    """The published baseline, its weights drawn from torch's global generator.

    Its readout positions are free parameters: the scan has no cortical positions to predict them from.
    """
    core = Stacked2dCore(
        input_channels=images.shape[1],
        hidden_channels=settings.hidden_channels,
        layers=settings.layers,
        depth_separable=True,
        input_kern=9,
        hidden_kern=7,
        gamma_input=6.3831,
        input_regularizer="LaplaceL2norm",
        laplace_padding=None,
        momentum=0.9,
        pad_input=False,
        bias=False,
        stack=-1,
    )
    with torch.no_grad():
        features = core.eval()(images[:1])
    readout = MultiReadoutSharedParametersBase(
        base_readout=FullGaussian2d,
        in_shape_dict={SCAN: features.shape[1:]},
        n_neurons_dict={SCAN: n_units},
        bias=True,
        gauss_type="full",
        init_mu_range=0.3,
        init_sigma=0.1,
        gamma_readout=settings.gamma_readout,
    )
    shifter = MLPShifter([SCAN], hidden_channels_shifter=5, shift_layers=3) if settings.behavior else None
    return FiringRateEncoder(core, readout, shifter=shifter)


def peer_forward(network: FiringRateEncoder, images: torch.Tensor, eye: torch.Tensor) -> torch.Tensor:
    """(trial, unit) outputs for a batch; the order of its channels in memory makes it twice as fast."""
    return network(images.contiguous(memory_format=torch.channels_last), data_key=SCAN, pupil_center=eye)


@torch.no_grad()
def peer_outputs(network: FiringRateEncoder, tier: TierTensors, settings: PeerSettings) -> torch.Tensor:
    """(trial, unit) outputs of a network in eval mode."""
    batches = zip(peer_images(tier, settings).split(128), tier.eye.split(128), strict=True)
    return torch.cat([peer_forward(network, images, eye) for images, eye in batches])


def peer_predictions(tiers: Tiers, seed: int, settings: PeerSettings = PeerSettings()) -> Trained:
    """Train the peer as its standard trainer does: summed Poisson loss, Adam, decay of the rate, early stopping."""
    torch.manual_seed(seed)
    train, validation = tiers["train"], tiers["validation"]
    images = peer_images(train, settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # neuralpredictors warns of its own defaults
        network = peer_network(images, train.responses.shape[1], settings).train()
    loader = DataLoader(TensorDataset(images, train.eye, train.responses), batch_size=128, shuffle=True)
    poisson_loss = PoissonLoss(avg=False)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.009)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, "max", factor=0.3, patience=5, threshold=1e-6, threshold_mode="abs", min_lr=1e-4
    )

    def objective(network: FiringRateEncoder) -> float:
        return score_units(peer_outputs(network, validation, settings), validation.responses).mean().item()

    began_s = time.monotonic()
    for epoch, correlation in early_stopping(
        network,
        objective,
        interval=1,
        patience=5,
        tolerance=1e-6,
        max_iter=settings.max_epochs,
        scheduler=scheduler,
        lr_decay_steps=3,
    ):
        took_s = time.monotonic() - began_s
        print(f"peer {seed}, epoch {epoch}: {took_s:.0f} s, validation correlation {correlation:.4f}", flush=True)
        for _, (shown, eye, responses) in LongCycler({SCAN: loader}):
            loss = poisson_loss(peer_forward(network, shown, eye), responses)
            loss = math.sqrt(len(loader.dataset) / len(shown)) * loss
            (loss + network.core.regularizer() + network.readout.regularizer(SCAN)).backward()
            optimizer.step()
            optimizer.zero_grad()
    seconds = time.monotonic() - began_s
    network.eval()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Trained(peer_outputs(network, tiers["test"], settings), objective(network), parameters, epoch, seconds)


CORE = {"hidden_channels": 16, "input_kern": 15, "hidden_kern": 7}
TRAINING = Training(learning_rates=(0.006, 0.002, 0.0006), max_epochs=80, batch_size=60, patience=4)
OURS = {
    "neurostatic, FullGaussian2d": Network(
        readout="FullGaussian2d",
        modulator="OutputMLP",
        skip=0,
        gamma_hidden=0.01,
        gamma_input=10,
        gamma_features=0.1,
        **CORE,
    ),
    "neurostatic, pyramid": Network(**CORE),
    "neurostatic, pyramid and OutputMLP": Network(modulator="OutputMLP", **CORE),
}


def our_predictions(tiers: Tiers, seed: int, config: Network) -> Trained:
    """Train one of ours as the rule train_model does."""
    began_s = time.monotonic()

    def report(text: str) -> None:
        print(f"{config.core} {config.readout} {seed}: {text}", flush=True)

    network, history = train_network(config, TRAINING, {SCAN: tiers}, seed, torch.device("cpu"), report)
    seconds = time.monotonic() - began_s
    parameters = sum(parameter.numel() for parameter in network.parameters())
    validation = score_units(predict(network, SCAN, tiers["validation"]), tiers["validation"].responses).mean().item()
    return Trained(predict(network, SCAN, tiers["test"]), validation, parameters, len(history), seconds)


NETWORKS: dict[str, Callable[[Tiers, int], Trained]] = {
    name: functools.partial(our_predictions, config=config) for name, config in OURS.items()
} | {"neuralpredictors, FullGaussian2d": peer_predictions}


def table_row(name: str, trained: list[Trained], responses: torch.Tensor) -> str:
    """One network's line of the table."""
    scores = [score_units(one.predictions, responses).mean().item() for one in trained]
    ensemble = score_units(torch.stack([one.predictions for one in trained]).mean(0), responses).mean().item()
    seconds, epochs = (np.mean([getattr(one, what) for one in trained]) for what in ("seconds", "epochs"))
    cells = [name, f"{trained[0].parameters:,}", *(f"{score:.3f}" for score in scores), f"{ensemble:.3f}"]
    return f"| {' | '.join([*cells, f'{seconds:.0f}', f'{epochs:.0f}'])} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scan", help="Sensorium-2022 tree or zip file")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1009, 1215])
    parser.add_argument("--only", choices=NETWORKS, nargs="+", default=list(NETWORKS), help="networks to train")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tiers = read_tiers(arguments.scan)
    rows = []
    for name in arguments.only:
        trained = [NETWORKS[name](tiers, seed) for seed in arguments.seeds]
        rows.append(table_row(name, trained, tiers["test"].responses))
    seeds = [f"seed {seed}" for seed in arguments.seeds]
    header = ["network", "parameters", *seeds, "ensemble", "s a training", "epochs"]
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
