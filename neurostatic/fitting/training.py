"""Training: Poisson loss, a learning rate a stage, early stopping on validation correlation, checkpoints."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

from neurostatic.config import Training
from neurostatic.config.networks import Network
from neurostatic.fitting.checkpoints import Checkpoint
from neurostatic.fitting.early_stopping import Stopping, early_stopping
from neurostatic.fitting.scores import predict, score_units
from neurostatic.fitting.tensors import TierTensors
from neurostatic.models.networks import CorePlusReadout
from neurostatic.problems import InputError, NoModelError

Report = Callable[[str], None]
Scans = dict[str, dict[str, TierTensors]]
HISTORY = ["stage", "learning_rate", "epoch", "loss", "correlation_before"]


def train_network(
    config: Network,
    training: Training,
    scans: Scans,
    seed: int,
    device: torch.device,
    report: Report = print,
    checkpoint: Checkpoint | None = None,
) -> tuple[CorePlusReadout, list[dict[str, float]]]:
    """Train one network with one seed (TrainConfig.Default).

    Loss of a batch = mean(y - r log(y + 1e-12)) + regularizers of the core and of the batch's scan. For each learning
    rate a fresh Adam, then the best state so far is restored.

    Args:
        config: of the parts. training: its seeds and checkpoint_epochs are the caller's.
        scans: scan -> tier ("train", "validation") -> tensors on the device.
        seed: of the first weights, the batch order and the points of a Gaussian readout, each with its own generator.
        checkpoint: where to keep the state, and to go on from if it is of the same training; the weights are then the
            same, to the last bit, as without an interruption.

    Returns:
        The network in eval mode, and the history: one row an epoch (HISTORY; the loss is a mean over batches, the
        correlation that of the validation tier before the epoch).

    Raises InputError if a scan has no train or no validation trial; NoModelError if the training diverged before
    anything was learned, or no unit of any scan varies over the validation trials.
    """
    for tier, settings in (("train", "preprocessing"), ("validation", "preprocessing.validation_*")):
        without = [scan for scan, tiers in scans.items() if not len(tiers[tier].responses)]
        if without:
            raise InputError(f"scan {', '.join(without)}: no trial is of the {tier} tier; see {settings}")
    network = _untrained(config, scans, seed).to(device)
    order, noise = torch.Generator().manual_seed(seed + 1), torch.Generator().manual_seed(seed + 2)
    history: list[dict[str, float]] = []
    epoch, first_stage, resumed = 0, 0, None
    state = checkpoint.read() if checkpoint else None
    if checkpoint and checkpoint.path.exists() and not state:
        report("the checkpoint is of another training, or damaged: from the beginning")
    if state:
        network.load_state_dict(state["network"])
        order.set_state(state["order"])
        noise.set_state(state["noise"])
        history, first_stage = state["history"], state["stage"]
        resumed = Stopping(**state["stopping"])
        for parameter in network.parameters():  # Adam passes by a parameter that never had a gradient
            parameter.grad = torch.zeros_like(parameter)
        report(f"going on from the checkpoint of epoch {resumed.epoch - 1}")
    clock = _Clock(training.max_epochs, done=len(history))
    for stage, learning_rate in enumerate(training.learning_rates[first_stage:], first_stage):
        optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
        if state and resumed:
            optimizer.load_state_dict(state["optimizer"])
        epochs = early_stopping(
            network,
            lambda: validation_correlation(network, scans),
            training.patience,
            training.tolerance,
            epoch,
            training.max_epochs,
            resumed=resumed,
        )
        resumed = None
        for stopping in epochs:
            epoch = stopping.epoch
            if checkpoint and history and len(history) % checkpoint.epochs == 0:
                checkpoint.write(
                    {
                        "network": network.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "order": order.get_state(),
                        "noise": noise.get_state(),
                        "stage": stage,
                        "stopping": dataclasses.asdict(stopping),
                        "history": history,
                    }
                )
            loss = _train_epoch(network, optimizer, scans, training.batch_size, order, noise)
            history.append(dict(zip(HISTORY, (stage, learning_rate, epoch, loss, stopping.current), strict=True)))
            report(
                f"epoch {epoch} ({clock.left(epoch)}), learning rate {learning_rate}: loss {loss:.4f}, "
                f"validation correlation before it {stopping.current:.4f}"
            )
        if history and not math.isfinite(history[-1]["loss"]):
            report("the training diverged; back to the best state so far")
    diverged = any(not math.isfinite(row["loss"]) for row in history)
    final = validation_correlation(network, scans)
    if not math.isfinite(final) or (diverged and final == history[0]["correlation_before"]):
        raise NoModelError(
            "no validation correlation: no unit's responses vary over the validation trials, or the training diverged "
            "(a smaller training.learning_rates may help)"
        )
    report(f"validation correlation of the best state: {final:.4f}")
    return network.eval(), history


def _untrained(config: Network, scans: Scans, seed: int) -> CorePlusReadout:
    n_units = {scan: tiers["train"].responses.shape[1] for scan, tiers in scans.items()}
    _, channels, height, width = next(iter(scans.values()))["train"].all_images.shape
    network = CorePlusReadout(config, n_units, (channels, height, width))
    mean_responses = {scan: tiers["train"].mean_responses().cpu() for scan, tiers in scans.items()}
    mean_eye = {scan: tiers["train"].mean_eye.cpu() for scan, tiers in scans.items()}
    network.initialize(mean_responses, torch.Generator().manual_seed(seed), mean_eye)
    return network


class _Clock:
    """How long a training may still take at most."""

    def __init__(self, max_epochs: int, done: int):
        self.max_epochs, self.done, self.began_s = max_epochs, done, time.monotonic()

    def left(self, epoch: int) -> str:
        of_one_s = (time.monotonic() - self.began_s) / max(1, epoch - self.done)
        return f"at most {self.max_epochs}, at most {of_one_s * (self.max_epochs - epoch):.0f} s left"


def validation_correlation(network: CorePlusReadout, scans: Scans) -> float:
    """Mean over the units of all scans of the single-trial correlation in the validation tier; NaN if none varies."""
    scores = []
    for scan, tiers in scans.items():
        responses = tiers["validation"].responses[:]
        varies = (responses != responses[:1]).any(0).cpu()  # a silent unit has no correlation
        scores.append(score_units(predict(network, scan, tiers["validation"]), responses)[varies])
    return torch.cat(scores).mean().item()


def poisson_loss(predicted: torch.Tensor, responses: torch.Tensor) -> torch.Tensor:
    """mean(y - r log(y + 1e-12)) over trials and units."""
    return (predicted - responses * torch.log(predicted + 1e-12)).mean()


def cycle_scans(batches: Mapping[str, Sequence[torch.Tensor]]) -> Iterator[tuple[str, torch.Tensor]]:
    """One batch of each scan in turn, in complete rounds, until the shortest scan has no more."""
    for batch_round in zip(*batches.values(), strict=False):
        yield from zip(batches, batch_round, strict=True)


def _train_epoch(
    network: CorePlusReadout,
    optimizer: torch.optim.Optimizer,
    scans: Scans,
    batch_size: int,
    order: torch.Generator,
    noise: torch.Generator,
) -> float:
    """One pass over the training tier in random order; returns the mean loss."""
    network.train()
    batches = {
        scan: torch.split(torch.randperm(len(tiers["train"].responses), generator=order), batch_size)
        for scan, tiers in scans.items()
    }
    losses = []
    for scan, batch in cycle_scans(batches):
        train = scans[scan]["train"]
        data = train.take(batch.to(train.image_index.device))
        predicted = network(data.images, scan, data.eye, data.behavior, noise=noise)
        loss = poisson_loss(predicted, data.responses[:]) + network.regularizer(scan)
        torch.autograd.backward(loss)
        optimizer.step()
        # Zero, not None: Adam's momentum keeps moving the readouts of the scans that are not in this batch.
        optimizer.zero_grad(set_to_none=False)
        losses.append(loss.detach())
    return torch.stack(losses).mean().item()
