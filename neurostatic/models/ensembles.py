"""Trained networks as one function, images -> responses: ensembles of seeds."""

from collections.abc import Callable, Iterable

import numpy as np
import torch

from neurostatic.models.files import TrainedNetwork
from neurostatic.problems import InputError

State = tuple[torch.Tensor | None, torch.Tensor | None]  # normalized eye (1, 2) and behavior (1, 3)
CPU_BATCH, GPU_BATCH = 32, 1024  # images
WHOLE = -1  # the seed of a question to all seeds: their mean


class Ensemble:
    """The seeds of one network: its response is the mean over seeds of the final outputs.

    Args:
        members: trained networks of one config on the same units.
        scan: the scan whose units answer.
        states: of the mouse, in which it is asked (`neurostatic.fitting.states.mouse_states`); without them the
            published one: the eye at its training mean, so that the shifter runs, and no behavior (gain one).

    Attributes:
        scan; unit_ids: (unit,) in the order of the output.
        image_mean_px, image_std_px: z = (px - mean) / std.
        per_image: whether each image is seen without its own mean.

    Raises InputError for networks of color images or of luminance: images are made in gray levels.
    """

    def __init__(self, members: list[TrainedNetwork], scan: str, states: list[State] | None = None):
        normalization = members[0].normalization[scan]
        image_units = normalization.get("image_units", "px")
        channels = members[0].network.image_shape[0]
        if image_units != "px" or channels != 1:
            raise InputError(
                f"scan {scan}: its models see images of {channels} channel(s) in {image_units}; images are made for "
                "models of gray levels only (1 channel, preprocessing.luminance: false)"
            )
        self.networks = [member.network for member in members]
        self.scan = scan
        self.unit_ids = members[0].unit_ids[scan]
        self.image_mean_px = normalization["image_mean"]
        self.image_std_px = normalization["image_std"]
        self.per_image = normalization.get("per_image", False)
        self.device = next(self.networks[0].parameters()).device
        if states is None:
            states = [(torch.tensor([normalization.get("mean_eye", (0.0, 0.0))]), None)]
        self.states = [[None if part is None else part.to(self.device) for part in state] for state in states]

    def respond(self, images: torch.Tensor, units: torch.Tensor | None = None) -> torch.Tensor:
        """Normalized images (image, y, x) -> responses (image, unit); or (image,), image i by unit units[i].

        The mean over seeds, in the first state.
        """
        images = self._as_seen(images)
        return torch.stack([net(images, self.scan, *self.states[0], units) for net in self.networks]).mean(0)

    def answer(self, images: torch.Tensor, questions: torch.Tensor) -> torch.Tensor:
        """Normalized images (image, y, x) -> (image,) responses, each to a question of its own.

        Args:
            questions: (image, 3) index of the unit, of the state, and of the seed (-1: the mean over all).
        """
        images = self._as_seen(images)
        units, states, seeds = questions.unbind(1)
        weights = torch.where(seeds == WHOLE, 1 / len(self.networks), 1.0)
        responses = images.new_zeros(len(images))
        for state in torch.unique(states).tolist():
            for seed, network in enumerate(self.networks):
                (asked,) = torch.where((states == state) & ((seeds == seed) | (seeds == WHOLE)))
                if len(asked):
                    response = network(images[asked], self.scan, *self.states[state], units[asked])
                    responses = responses.index_add(0, asked, response * weights[asked])
        return responses

    def _as_seen(self, images: torch.Tensor) -> torch.Tensor:
        """(image, 1, y, x); some networks were shown every image without its mean."""
        return (images - images.mean((-2, -1), keepdim=True) if self.per_image else images)[:, None]

    def respond_px(
        self, images_px: np.ndarray, units: np.ndarray | None = None, batch_size: int | None = None
    ) -> np.ndarray:
        """Gray levels (image, y, x), numpy -> responses, numpy; in batches, without gradient.

        Args:
            batch_size: by default what is fastest: a CPU wants its maps in the cache, a GPU wants to be busy.
        """
        batch_size = batch_size or (CPU_BATCH if self.device.type == "cpu" else GPU_BATCH)
        asked = None if units is None else torch.as_tensor(units, device=self.device)
        responses = []
        with torch.no_grad():
            for start in range(0, len(images_px), batch_size):
                part = slice(start, start + batch_size)
                images = torch.as_tensor(images_px[part], dtype=torch.float32, device=self.device)
                images = (images - self.image_mean_px) / self.image_std_px
                responses.append(self.respond(images, None if asked is None else asked[part]).cpu())
        return torch.cat(responses).numpy()

    def index_of(self, unit_ids: Iterable[int]) -> torch.Tensor:
        """Positions of units in the network's output. Raises KeyError for a unit that is not modeled."""
        position = {unit_id: i for i, unit_id in enumerate(self.unit_ids)}
        return torch.tensor([position[unit_id] for unit_id in unit_ids], device=self.device)


def paired_responses(
    ensembles: dict[str, Ensemble], scans: list[str], unit_ids: list[int]
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """How each unit of a list, of one scan or several, responds to images of its own.

    Args:
        ensembles: scan -> its models.
        scans, unit_ids: (unit,) the list.

    Returns:
        A function of images_px (image, y, x) and positions (image,) in the list -> responses (image,), image i by the
        unit at positions[i].
    """
    index = np.array([ensembles[scan].index_of([unit]).item() for scan, unit in zip(scans, unit_ids, strict=True)])
    scan_of = np.array(scans, dtype=str)

    def respond(images_px: np.ndarray, positions: np.ndarray) -> np.ndarray:
        images_px, positions = np.asarray(images_px), np.asarray(positions)
        responses = np.empty(len(images_px))
        for scan in dict.fromkeys(scan_of[positions].tolist()):
            of_scan = scan_of[positions] == scan
            responses[of_scan] = ensembles[scan].respond_px(images_px[of_scan], index[positions[of_scan]])
        return responses

    return respond


def all_responses(
    ensembles: dict[str, Ensemble], scans: list[str], unit_ids: list[int]
) -> Callable[[np.ndarray], np.ndarray]:
    """How every unit of a list, of one scan or several, responds to the same images.

    Args: as of `paired_responses`.

    Returns:
        A function of images_px (image, y, x) -> responses (image, unit), the units in the order of the list.
    """
    places = {scan: [i for i, name in enumerate(scans) if name == scan] for scan in dict.fromkeys(scans)}
    index = {scan: ensembles[scan].index_of([unit_ids[i] for i in of]).cpu().numpy() for scan, of in places.items()}

    def respond(images_px: np.ndarray) -> np.ndarray:
        responses = np.empty((len(images_px), len(scans)))
        for scan, of_scan in places.items():
            responses[:, of_scan] = ensembles[scan].respond_px(images_px)[:, index[scan]]
        return responses

    return respond
