"""How well a network predicts: correlations per unit."""

import dataclasses

import numpy as np
import pandas as pd
import torch

from neurostatic.data.datasets import Member
from neurostatic.data.reliability import cc_norm, feve
from neurostatic.models.networks import CorePlusReadout
from neurostatic.statistics import pearson

MEAN_TRIALS = 256  # read at a time
SCORED_UNITS = 4096  # at a time: correlations need double precision


class StoredResponses:
    """Responses of the train trials of a scan that are too many for memory: each batch is read from the store.

    Of a tensor (trial, unit) it has what training asks for: its shape, and some of its rows.
    """

    def __init__(self, member: Member, device: torch.device):
        self.member, self.device = member, device
        self.trials = member.trials("train")
        self.shape = (len(self.trials), len(member.unit_id))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: torch.Tensor) -> torch.Tensor:
        raw = self.member.data.responses[self.trials[rows.cpu().numpy()]].values
        return torch.as_tensor(self.member.normalization.responses(raw), device=self.device)


@dataclasses.dataclass(frozen=True)
class TierTensors:
    """Trials of one tier of one scan, normalized, on the device; images are kept once and indexed.

    Attributes:
        all_images: (image, channel, y, x); image_index: (trial,); behavior: (trial, 3); eye: (trial, 2);
        responses: (trial, unit).
    """

    all_images: torch.Tensor
    image_index: torch.Tensor
    behavior: torch.Tensor
    eye: torch.Tensor
    responses: torch.Tensor | StoredResponses

    @classmethod
    def of(cls, member: Member, tier: str, device: torch.device) -> "TierTensors":
        """A tier of one scan of a StaticMultiDataset, moved to the device.

        Responses of the train tier that the member keeps in its store stay there.
        """

        def tensor(values: np.ndarray) -> torch.Tensor:
            return torch.as_tensor(np.asarray(values), device=device)

        stored = tier == "train" and not member.in_memory
        return cls(
            tensor(member.images_normalized).float(),
            tensor(member.image_index(tier)),
            tensor(member.behavior(tier)).float(),
            tensor(member.eye(tier)).float(),
            StoredResponses(member, device) if stored else tensor(member.responses(tier)).float(),
        )

    @property
    def images(self) -> torch.Tensor:
        """(trial, channel, y, x)."""
        return self.all_images.index_select(0, self.image_index)

    def mean_responses(self) -> torch.Tensor:
        """(unit,) mean over trials, read a block at a time."""
        blocks = torch.arange(len(self.responses)).split(MEAN_TRIALS)
        return sum(self.responses[trials].double().sum(0) for trials in blocks).div(len(self.responses)).float()

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
    scores = []
    for some, recorded in zip(predicted.split(SCORED_UNITS, 1), responses.split(SCORED_UNITS, 1), strict=True):
        correlation = pearson(some.cpu().numpy(), recorded.cpu().numpy())
        constant = some.std(0).cpu().numpy() == 0
        scores.append(torch.from_numpy(np.where(constant, 0.0, correlation)))
    return torch.cat(scores)


def score_tiers(
    network: CorePlusReadout, scans: dict[str, dict[str, TierTensors]], unit_ids: dict[str, np.ndarray]
) -> pd.DataFrame:
    """TestScores.UnitScores: single-trial correlation of every unit in the validation and the test tier.

    Returns:
        scan, unit_id, tier, pearson, and of the test tier, whose images are repeated, cc_norm and feve: the correlation
        with the mean response over the highest possible one, and the explained part of the explainable variance. A tier
        without trials has no rows.
    """
    tables = []
    for scan, tiers in scans.items():
        for tier in ("validation", "test"):
            responses = tiers[tier].responses
            if not len(responses):
                continue
            predicted = predict(network, scan, tiers[tier])
            scores = score_units(predicted, responses).numpy()
            table = pd.DataFrame({"scan": scan, "unit_id": unit_ids[scan], "tier": tier, "pearson": scores})
            if tier == "test":
                of_trials = (predicted.cpu().numpy(), responses.cpu().numpy(), tiers[tier].image_index.cpu().numpy())
                table = table.assign(cc_norm=cc_norm(*of_trials), feve=feve(*of_trials))
            tables.append(table)
    return pd.concat(tables, ignore_index=True)
