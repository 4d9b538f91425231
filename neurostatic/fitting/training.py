"""Training: Poisson loss, two learning rates, early stopping on validation correlation, best state restored."""

import copy
import math
import time
from collections.abc import Callable, Iterator

import torch

from neurostatic.config import Network, Training
from neurostatic.fitting.evaluation import TierTensors, predict, score_units
from neurostatic.models.networks import CorePlusReadout
from neurostatic.store import InputError

Progress = Callable[[str], None]


def train_network(
    config: Network,
    training: Training,
    scans: dict[str, dict[str, TierTensors]],
    seed: int,
    device: torch.device,
    report: Progress = print,
) -> tuple[CorePlusReadout, list[dict]]:
    """Train one network with one seed (TrainConfig.Default).

    Loss of a batch = mean(y - r log(y + 1e-12)) + regularizers of the core and of the batch's scan. For each learning
    rate a fresh Adam, then the best state so far is restored.

    Args:
        scans: scan -> tier ("train", "validation") -> tensors on the device.
        seed: of the first weights and of the batch order, each with its own generator.

    Returns:
        The network in eval mode, and the history: one row an epoch (stage, learning_rate, epoch, loss, and
        correlation_before: the mean validation correlation before that epoch).

    Raises InputError if no unit's responses vary in a validation tier, or the training diverged from the start.
    """
    untested = [scan for scan, tiers in scans.items() if not len(tiers["validation"].responses)]
    if untested:
        raise InputError(
            f"scan {', '.join(untested)}: no trial is of the validation tier; see preprocessing.validation_*"
        )
    n_units = {scan: tiers["train"].responses.shape[1] for scan, tiers in scans.items()}
    channels = next(iter(scans.values()))["train"].all_images.shape[1]
    network = CorePlusReadout(config, n_units, channels)
    mean_responses = {scan: tiers["train"].mean_responses().cpu() for scan, tiers in scans.items()}
    network.initialize(mean_responses, torch.Generator().manual_seed(seed))
    network.to(device)
    order = torch.Generator().manual_seed(seed + 1)

    def validation_correlation() -> float:
        scores = []
        for scan, tiers in scans.items():
            responses = tiers["validation"].responses
            varies = (responses != responses[:1]).any(0).cpu()  # a silent unit has no correlation
            scores.append(score_units(predict(network, scan, tiers["validation"]), responses)[varies])
        return torch.cat(scores).mean().item()

    history: list[dict] = []
    epoch = 0
    began_s = time.monotonic()
    for stage, learning_rate in enumerate(training.learning_rates):
        optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
        epochs = early_stopping(
            network, validation_correlation, training.patience, training.tolerance, epoch, training.max_epochs
        )
        for epoch, correlation in epochs:
            loss = _train_epoch(network, optimizer, scans, training.batch_size, order)
            history.append(
                {
                    "stage": stage,
                    "learning_rate": learning_rate,
                    "epoch": epoch,
                    "loss": loss,
                    "correlation_before": correlation,
                }
            )
            left_s = (time.monotonic() - began_s) / epoch * (training.max_epochs - epoch)
            report(
                f"epoch {epoch} (at most {training.max_epochs}, at most {left_s:.0f} s left), "
                f"learning rate {learning_rate}: loss {loss:.4f}, validation correlation before it {correlation:.4f}"
            )
    final = validation_correlation()
    if not math.isfinite(final):
        raise InputError(
            "no validation correlation: no unit's responses vary over the validation trials, or the training diverged "
            "(a smaller training.learning_rates may help)"
        )
    report(f"validation correlation of the best state: {final:.4f}")
    return network.eval(), history


def early_stopping(
    network: torch.nn.Module,
    objective: Callable[[], float],
    patience: int,
    tolerance: float,
    start_epoch: int,
    max_epochs: int,
) -> Iterator[tuple[int, float]]:
    """Yield (epoch, objective before it) for the caller to train one epoch, until nothing improves; restore the best.

    An epoch counts as better if the objective exceeds the best so far by more than the tolerance. The untrained state
    is the first best. It stops after `patience` epochs without improvement, at max_epochs, or when the objective is
    not finite.
    """
    current = best = objective()
    best_state = copy.deepcopy(network.state_dict())
    epoch, n_bad = start_epoch, 0
    while n_bad < patience and epoch < max_epochs and math.isfinite(current):
        epoch += 1
        yield epoch, current
        current = objective()
        if current > best + tolerance:
            best, best_state, n_bad = current, copy.deepcopy(network.state_dict()), 0
        else:
            n_bad += 1
    network.load_state_dict(best_state)


def poisson_loss(predicted: torch.Tensor, responses: torch.Tensor) -> torch.Tensor:
    """mean(y - r log(y + 1e-12)) over trials and units."""
    return (predicted - responses * torch.log(predicted + 1e-12)).mean()


def cycle_scans(batches: dict[str, list]) -> Iterator[tuple[str, object]]:
    """One batch of each scan in turn, in complete rounds, until the shortest scan has no more."""
    for batch_round in zip(*batches.values(), strict=False):
        yield from zip(batches, batch_round, strict=True)


def _train_epoch(network, optimizer, scans, batch_size: int, order: torch.Generator) -> float:
    """One pass over the training tier in random order; returns the mean loss."""
    network.train()
    batches = {
        scan: torch.randperm(len(tiers["train"].responses), generator=order).split(batch_size)
        for scan, tiers in scans.items()
    }
    losses = []
    for scan, batch in cycle_scans(batches):
        data = scans[scan]["train"].take(batch.to(optimizer.param_groups[0]["params"][0].device))
        predicted = network(data.images, scan, data.eye, data.behavior)
        loss = poisson_loss(predicted, data.responses) + network.regularizer(scan)
        loss.backward()
        optimizer.step()
        # Zero, not None: Adam's momentum keeps moving the readouts of the scans that are not in this batch.
        optimizer.zero_grad(set_to_none=False)
        losses.append(loss.detach())
    return torch.stack(losses).mean().item()
