"""Trained networks as one function, images -> responses: ensembles of seeds."""

import numpy as np
import torch

from neurostatic.models.files import TrainedNetwork
from neurostatic.store import InputError


class Ensemble:
    """The seeds of one network: its response is the mean over seeds of the final outputs.

    Behavior is None (gain one) and the eye is at its training mean, so that the shifter runs.

    Args:
        members: trained networks of one config on the same units.
        scan: the scan whose units answer.

    Raises InputError for networks of color images or of luminance: images are made in gray levels.
    """

    def __init__(self, members: list[TrainedNetwork], scan: str):
        image_units = members[0].normalization[scan].get("image_units", "px")
        channels = members[0].network.image_shape[0]
        if image_units != "px" or channels != 1:
            raise InputError(
                f"scan {scan}: its models see images of {channels} channel(s) in {image_units}; images are made for "
                "models of gray levels only (1 channel, preprocessing.luminance: false)"
            )
        self.networks = [member.network for member in members]
        self.scan = scan
        self.unit_ids = members[0].unit_ids[scan]
        self.image_mean_px = members[0].normalization[scan]["image_mean"]
        self.image_std_px = members[0].normalization[scan]["image_std"]
        self.per_image = members[0].normalization[scan].get("per_image", False)
        self.device = next(self.networks[0].parameters()).device
        self.mean_eye = torch.tensor([members[0].normalization[scan].get("mean_eye", (0.0, 0.0))], device=self.device)

    def respond(self, images: torch.Tensor, units: torch.Tensor | None = None) -> torch.Tensor:
        """Normalized images (image, y, x) -> responses (image, unit); or (image,), image i by unit units[i]."""
        if self.per_image:  # these networks were shown every image without its mean
            images = images - images.mean((-2, -1), keepdim=True)
        return torch.stack([net(images[:, None], self.scan, self.mean_eye, None, units) for net in self.networks]).mean(
            0
        )

    def respond_px(self, images_px, units=None, batch_size: int = 256):
        """Gray levels (image, y, x), numpy -> responses, numpy; in batches, without gradient."""
        units = None if units is None else torch.as_tensor(units, device=self.device)
        responses = []
        with torch.no_grad():
            for start in range(0, len(images_px), batch_size):
                part = slice(start, start + batch_size)
                images = torch.as_tensor(images_px[part], dtype=torch.float32, device=self.device)
                images = (images - self.image_mean_px) / self.image_std_px
                responses.append(self.respond(images, None if units is None else units[part]).cpu())
        return torch.cat(responses).numpy()

    def index_of(self, unit_ids) -> torch.Tensor:
        """Positions of units in the network's output."""
        position = {unit_id: i for i, unit_id in enumerate(self.unit_ids)}
        return torch.tensor([position[unit_id] for unit_id in unit_ids], device=self.device)


def paired_responses(members: list[TrainedNetwork], scans: list[str], unit_ids: list[int]):
    """How each unit of a list, of one scan or several, responds to images of its own.

    Args:
        members: trained networks of one config.
        scans, unit_ids: (unit,) the list.

    Returns:
        A function of images_px (image, y, x) and positions (image,) in the list -> responses (image,), image i by the
        unit at positions[i].
    """
    ensembles = {scan: Ensemble(members, scan) for scan in dict.fromkeys(scans)}
    index = np.array([ensembles[scan].index_of([unit]).item() for scan, unit in zip(scans, unit_ids, strict=True)])
    scans = np.array(scans, dtype=str)

    def respond(images_px: np.ndarray, positions: np.ndarray) -> np.ndarray:
        images_px, positions = np.asarray(images_px), np.asarray(positions)
        responses = np.empty(len(images_px))
        for scan, ensemble in ensembles.items():
            of_scan = scans[positions] == scan
            if of_scan.any():
                responses[of_scan] = ensemble.respond_px(images_px[of_scan], index[positions[of_scan]])
        return responses

    return respond
