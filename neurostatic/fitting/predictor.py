"""A model file as a function: images -> responses, all in the units of the recording."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from neurostatic.data.datasets import Normalization
from neurostatic.models.files import TrainedNetwork, load_network
from neurostatic.problems import InputError

Given = str | np.ndarray | None


def load(path: str | Path, device: str | torch.device = "cpu") -> "Predictor":
    """Read a model file.

    Raises InputError if it cannot be used, and says why (missing, damaged, of a newer format, a training that failed).
    """
    model = load_network(path, device)
    try:
        normalization = {scan: Normalization.from_dict(values) for scan, values in model.normalization.items()}
    except TypeError as error:
        raise InputError(f"{path}: its normalization is not understood ({error}); train again") from error
    return Predictor(model, normalization)


@dataclass(frozen=True)
class Predictor:
    """A trained network that takes images, pupil and running as recorded, and answers in recorded units.

    Attributes:
        model: the trained network.
        normalization: scan -> what turns recorded into normalized quantities.
    """

    model: TrainedNetwork
    normalization: dict[str, Normalization]

    @property
    def scans(self) -> list[str]:
        """Whose units it predicts."""
        return list(self.normalization)

    def __call__(
        self,
        images: np.ndarray,
        eye_pos: Given = None,
        behavior: Given = None,
        scan: str | None = None,
        batch_size: int = 256,
    ) -> xr.DataArray:
        """Predicted responses.

        Args:
            images: (image, y, x), or (image, channel, y, x) in color, of the size the model sees, in gray levels 0-255
                (in cd/m2 for a model of luminance). `neurostatic.data.area_resize` reduces larger ones.
            eye_pos: pupil center x, y in px of the eye camera, (2,) for all images or (image, 2); "mean": that of the
                training trials; None: no shift, the mouse looks straight ahead.
            behavior: pupil_radius (px), dpupil (px/s), treadmill (cm/s), (3,) or (image, 3); "mean" likewise; None: a
                gain of one.
            scan: whose units; needed if the model was fitted to several scans.

        Returns:
            (image, unit) in the units of the recorded responses, with unit_id.

        Raises InputError that lists what does not fit.
        """
        name = self._scan(scan)
        normalizer = self.normalization[name]
        images = self._checked_images(np.asarray(images))
        eye = self._state("eye_pos", eye_pos, normalizer.eye, normalizer.mean_eye, len(images))
        state = self._state("behavior", behavior, normalizer.behavior, normalizer.mean_behavior, len(images))
        predicted = []
        with torch.no_grad():
            for start in range(0, len(images), batch_size):
                part = slice(start, start + batch_size)
                batch = self._tensor(normalizer.images(images[part]))
                states = [given if given is None or len(given) == 1 else given[part] for given in (eye, state)]
                predicted.append(self.model.network(batch, name, *states).cpu().numpy())
        unit_ids = self.model.unit_ids[name]
        responses = np.concatenate(predicted) if predicted else np.empty((0, len(unit_ids)), dtype=np.float32)
        responses = responses / normalizer.response_factor
        return xr.DataArray(responses, dims=("image", "unit"), coords={"unit_id": ("unit", unit_ids)}, name="response")

    def _scan(self, scan: str | None) -> str:
        if scan is None and len(self.scans) == 1:
            return self.scans[0]
        if scan not in self.scans:
            raise InputError(f"scan: one of {', '.join(self.scans)} is needed, got {scan!r}")
        return scan

    def _checked_images(self, images: np.ndarray) -> np.ndarray:
        """(image, channel, y, x)."""
        expected = self.model.image_shape
        if images.ndim == 3:
            images = images[:, None]
        shape = images.shape[1:]
        n_channels = self.model.network.image_shape[0]
        if images.ndim != 4 or shape[0] != n_channels or (expected and shape != expected):
            size = " x ".join(map(str, expected[1:])) + " px" if expected else "the size it was trained on"
            raise InputError(
                f"images: the model sees {n_channels} channel(s) of {size}, got an array of shape {images.shape} "
                "(image, channel, y, x); neurostatic.data.area_resize changes sizes"
            )
        if not np.isfinite(images).all():
            raise InputError("images: some values are not finite")
        return images

    def _state(
        self,
        name: str,
        given: Given,
        normalize: Callable[[np.ndarray], np.ndarray],
        mean: np.ndarray,
        n_images: int,
    ) -> torch.Tensor | None:
        """(image, n) or (1, n), normalized."""
        if given is None:
            return None
        if isinstance(given, str):
            if given != "mean":
                raise InputError(f"{name}: None, 'mean' or numbers, got {given!r}")
            return self._tensor(mean[None])
        values = np.atleast_2d(np.asarray(given, dtype=float))
        if values.shape not in ((1, len(mean)), (n_images, len(mean))):
            raise InputError(
                f"{name}: ({len(mean)},) or ({n_images}, {len(mean)}) is needed for {n_images} images, got the shape "
                f"{np.shape(given)}"
            )
        if not np.isfinite(values).all():
            raise InputError(f"{name}: some values are not finite")
        return self._tensor(normalize(values))

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        device = next(self.model.network.parameters()).device
        return torch.as_tensor(np.asarray(values), dtype=torch.float32, device=device)
