"""Trials of a data set as tensors on the device."""

import dataclasses

import numpy as np
import torch

from neurostatic.data.datasets import Member

MEAN_TRIALS = 256  # read at a time


class StoredResponses:
    """Responses of the train trials of a scan that are too many for memory: each batch is read from the store.

    Of a tensor (trial, unit) it has what training asks for: its shape, and some of its rows; `[:]` reads them all.
    """

    def __init__(self, member: Member, device: torch.device):
        self.member, self.device = member, device
        self.trials = member.trials("train")
        self.shape = (len(self.trials), len(member.unit_id))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: torch.Tensor | slice) -> torch.Tensor:
        trials = self.trials[rows if isinstance(rows, slice) else rows.cpu().numpy()]
        raw = self.member.data.responses[trials].values
        return torch.as_tensor(self.member.normalization.responses(raw), device=self.device)


@dataclasses.dataclass(frozen=True)
class TierTensors:
    """Trials of one tier of one scan, normalized, on the device; images are kept once and indexed.

    Attributes:
        all_images: (image, channel, y, x); image_index: (trial,); behavior: (trial, 3); eye: (trial, 2);
        responses: (trial, unit); mean_eye: (2,), mean_behavior: (3,) over the training trials, whatever the tier.
    """

    all_images: torch.Tensor
    image_index: torch.Tensor
    behavior: torch.Tensor
    eye: torch.Tensor
    responses: torch.Tensor | StoredResponses
    mean_eye: torch.Tensor
    mean_behavior: torch.Tensor

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
            tensor(member.normalization.mean_eye).float(),
            tensor(member.normalization.mean_behavior).float(),
        )

    @property
    def images(self) -> torch.Tensor:
        """(trial, channel, y, x)."""
        return self.all_images.index_select(0, self.image_index)

    def mean_responses(self) -> torch.Tensor:
        """(unit,) mean over trials, read a block at a time."""
        blocks = torch.split(torch.arange(len(self.responses)), MEAN_TRIALS)
        total = sum((self.responses[trials].double().sum(0) for trials in blocks), torch.zeros(()))
        return total.div(len(self.responses)).float()

    def take(self, trials: torch.Tensor) -> "TierTensors":
        """Some of the trials."""
        return dataclasses.replace(
            self,
            image_index=self.image_index[trials],
            behavior=self.behavior[trials],
            eye=self.eye[trials],
            responses=self.responses[trials],
        )
