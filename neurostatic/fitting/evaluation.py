"""How well a network predicts: correlations per unit, and the oracle that bounds them."""

import dataclasses

import numpy as np
import pandas as pd
import torch

from neurostatic.data.datasets import Member
from neurostatic.models.networks import CorePlusReadout
from neurostatic.statistics import pearson

MIN_ORACLE_REPEATS = 5


@dataclasses.dataclass(frozen=True)
class TierTensors:
    """Trials of one tier of one scan, normalized, on the device; images are kept once and indexed.

    Attributes:
        all_images: (image, 1, y, x); image_index: (trial,); behavior: (trial, 3); eye: (trial, 2);
        responses: (trial, unit).
    """

    all_images: torch.Tensor
    image_index: torch.Tensor
    behavior: torch.Tensor
    eye: torch.Tensor
    responses: torch.Tensor

    @classmethod
    def of(cls, member: Member, tier: str, device: torch.device) -> "TierTensors":
        """A tier of one scan of a StaticMultiDataset, moved to the device."""

        def tensor(values: np.ndarray) -> torch.Tensor:
            return torch.as_tensor(np.asarray(values), device=device)

        return cls(
            tensor(member.images_normalized).float(),
            tensor(member.image_index(tier)),
            tensor(member.behavior(tier)).float(),
            tensor(member.eye(tier)).float(),
            tensor(member.responses(tier)).float(),
        )

    @property
    def images(self) -> torch.Tensor:
        """(trial, 1, y, x)."""
        return self.all_images.index_select(0, self.image_index)

    def take(self, trials: torch.Tensor) -> "TierTensors":
        """Some of the trials."""
        return TierTensors(
            self.all_images,
            self.image_index[trials],
            self.behavior[trials],
            self.eye[trials],
            self.responses[trials],
        )


@torch.no_grad()
def predict(network: CorePlusReadout, scan: str, tier: TierTensors, batch_size: int = 256) -> torch.Tensor:
    """Predicted responses (trial, unit) in eval mode, with each trial's own eye position and behavior."""
    was_training = network.training
    network.eval()
    predicted = []
    for trials in torch.arange(len(tier.responses), device=tier.responses.device).split(batch_size):
        batch = tier.take(trials)
        predicted.append(network(batch.images, scan, batch.eye, batch.behavior))
    network.train(was_training)
    return torch.cat(predicted)


def score_units(predicted: torch.Tensor, responses: torch.Tensor) -> torch.Tensor:
    """Pearson correlation over single trials, unit by unit; a constant prediction scores 0.

    Args:
        predicted, responses: (trial, unit).
    """
    correlation = pearson(predicted.cpu().numpy(), responses.cpu().numpy())
    constant = predicted.std(0).cpu().numpy() == 0
    return torch.from_numpy(np.where(constant, 0.0, correlation))


def score_tiers(
    network: CorePlusReadout, scans: dict[str, dict[str, TierTensors]], unit_ids: dict[str, np.ndarray]
) -> pd.DataFrame:
    """TestScores.UnitScores: single-trial correlation of every unit in the validation and the test tier.

    Returns:
        scan, unit_id, tier, pearson. A tier without trials has no rows.
    """
    tables = []
    for scan, tiers in scans.items():
        for tier in ("validation", "test"):
            if len(tiers[tier].responses):
                scores = score_units(predict(network, scan, tiers[tier]), tiers[tier].responses).numpy()
                tables.append(pd.DataFrame({"scan": scan, "unit_id": unit_ids[scan], "tier": tier, "pearson": scores}))
    return pd.concat(tables, ignore_index=True)


def oracle(responses: np.ndarray, image: np.ndarray) -> tuple[np.ndarray, dict]:
    """Oracle.UnitScores: correlation of each trial with the mean of the other repeats of its image.

    o_t = (sum_j y_j - y_t) / (r - 1); oracle = Pearson(y, o) over all trials of all images shown at least 5 times.
    Upstream multiplied by (n - 1)/n and failed if a single image had fewer repeats; here such images are left out.

    Args:
        responses: (trial, unit), not normalized.
        image: (trial,) identity of the image of each trial.

    Returns:
        (unit,) oracle correlations (NaN for constant units); counts of images used and left out.
    """
    groups = [np.flatnonzero(image == identity) for identity in np.unique(image)]
    used = [trials for trials in groups if len(trials) >= MIN_ORACLE_REPEATS]
    counts = {"images_used": len(used), "images_left_out": len(groups) - len(used)}
    if not used:
        return np.full(responses.shape[1], np.nan), counts
    single, others = [], []
    for trials in used:
        repeats = responses[trials]
        single.append(repeats)
        others.append((repeats.sum(0) - repeats) / (len(trials) - 1))
    return pearson(np.concatenate(single), np.concatenate(others)), counts
