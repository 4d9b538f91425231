"""Gray levels as a network takes them, and back."""

from dataclasses import dataclass

import numpy as np
import torch

FLAT_STD_PX = 0.01  # an image of less contrast is flat


@dataclass(frozen=True)
class Scale:
    """z = (px - mean) / std, of the images that a network was trained on."""

    mean_px: float
    std_px: float

    @property
    def bounds(self) -> tuple[float, float]:
        """Gray levels 0 and 255, normalized."""
        return -self.mean_px / self.std_px, (255 - self.mean_px) / self.std_px

    def normalize(self, images_px: np.ndarray, device: torch.device | str) -> torch.Tensor:
        """Float32 tensor on the device."""
        return torch.as_tensor((images_px - self.mean_px) / self.std_px, dtype=torch.float32, device=device)

    def to_px(self, images: torch.Tensor) -> np.ndarray:
        """Gray levels, clipped to 0-255: rounding leaves 255.00001."""
        return (images.double().cpu().numpy() * self.std_px + self.mean_px).clip(0, 255)
