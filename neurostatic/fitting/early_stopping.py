"""Early stopping: train as long as an objective gets better, then go back to the best state."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch


@dataclass
class Stopping:
    """How far a stage of training is.

    Attributes:
        epoch: counted over all stages; the one that the caller is asked to train.
        current: objective before it.
        best: highest objective so far (lowest, if it is minimized), and n_bad: evaluations since.
        best_state: state of the network then.
    """

    epoch: int
    current: float
    best: float
    n_bad: int
    best_state: dict[str, torch.Tensor]


def early_stopping(
    network: torch.nn.Module,
    objective: Callable[[], float],
    patience: int,
    tolerance: float,
    start_epoch: int,
    max_epochs: int,
    *,
    interval: int = 1,
    maximize: bool = True,
    restore_best: bool = True,
    resumed: Stopping | None = None,
) -> Iterator[Stopping]:
    """Yield for the caller to train one epoch, until nothing improves; then restore the best state.

    The objective is evaluated before the first epoch (the untrained state is the first best) and after every
    `interval` epochs. It is better if it exceeds the best so far by more than the tolerance. It ends after `patience`
    evaluations without improvement, at max_epochs, or when the objective is not finite.

    Args:
        network: whose state is kept and restored.
        objective: () -> number.
        patience, tolerance: see above.
        start_epoch: epochs done by earlier stages, which share max_epochs.
        interval: epochs between two evaluations.
        maximize: or else minimize.
        restore_best: or else leave the last state.
        resumed: as yielded before, by a run of interval 1 that came no further; the network must be in that state
            again.
    """
    sign = 1 if maximize else -1
    if resumed is None:
        value = objective()
        stopping = Stopping(start_epoch, value, value, 0, copy.deepcopy(network.state_dict()))
    else:
        stopping = resumed
        stopping.epoch -= 1
    while stopping.n_bad < patience and stopping.epoch < max_epochs and math.isfinite(stopping.current):
        for _ in range(interval):
            stopping.epoch += 1
            yield stopping
        stopping.current = objective()
        if sign * stopping.current > sign * stopping.best + tolerance:
            stopping.best, stopping.n_bad = stopping.current, 0
            stopping.best_state = copy.deepcopy(network.state_dict())
        else:
            stopping.n_bad += 1
    if restore_best:
        network.load_state_dict(stopping.best_state)
