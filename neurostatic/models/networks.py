"""The network: core, then per scan readout, shifter, modulator and output nonlinearity; and ensembles of seeds."""

import dataclasses
import json

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from neurostatic.config import Network
from neurostatic.models.cores import StackedCore
from neurostatic.models.modulators import MLPModulator
from neurostatic.models.readouts import PyramidReadout
from neurostatic.models.shifters import MLPShifter
from neurostatic.store import InputError, written_whole

FORMAT = 1  # of the model file


class CorePlusReadout(nn.Module):
    """NetworkConfig.CorePlusReadout: y = ELU(readout(core(x), shifter(eye)) * modulator(behavior)) + 1.

    One core for all scans; readout, shifter and modulator are each scan's own.

    Args:
        config: what it is built of.
        n_units: scan name -> number of units.
        channels: of the images, 1 for gray.
    """

    def __init__(self, config: Network, n_units: dict[str, int], channels: int = 1):
        super().__init__()
        for scan in n_units:
            if hasattr(nn.ModuleDict(), scan):  # torch keeps modules and its own attributes in one space of names
                raise InputError(f"a scan cannot be called '{scan}': torch keeps this name for itself")
        self.config = config
        self.core = StackedCore(
            hidden_channels=config.hidden_channels,
            input_kern=config.input_kern,
            hidden_kern=config.hidden_kern,
            layers=config.layers,
            skip=config.skip,
            gamma_hidden=config.gamma_hidden,
            gamma_input=config.gamma_input,
            gauss_sigma=config.gauss_sigma,
            gauss_bias=config.gauss_bias,
            nonlinear=config.core == "GaussianLaplace",
            input_channels=channels,
        ).to(memory_format=torch.channels_last)  # a third faster on CPUs, and the layout that the readout wants
        self.readout = nn.ModuleDict(
            {
                scan: PyramidReadout(
                    self.core.out_channels,
                    n,
                    config.scale_n,
                    config.downsample,
                    config.gamma_features,
                    config.positive,
                )
                for scan, n in n_units.items()
            }
        )
        self.shifter = nn.ModuleDict({scan: MLPShifter() for scan in n_units if config.shifter == "MLP"})
        self.modulator = nn.ModuleDict(
            {scan: MLPModulator(n) for scan, n in n_units.items() if config.modulator == "MLP"}
        )

    def initialize(self, mean_responses: dict[str, torch.Tensor], generator: torch.Generator) -> None:
        """Draw all parameters anew; `mean_responses` are each scan's mean (normalized) training responses (unit,)."""
        self.core.initialize(generator)
        for scan, mean in mean_responses.items():
            self.readout[scan].initialize(mean, generator)
        for part in [*self.shifter.values(), *self.modulator.values()]:
            part.initialize(generator)

    def forward(
        self,
        images: torch.Tensor,
        scan: str,
        eye: torch.Tensor | None = None,
        behavior: torch.Tensor | None = None,
        units: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Predicted responses, all quantities normalized.

        Args:
            images: (image, channel, y, x).
            scan: whose units.
            eye: (image, 2) or (1, 2) pupil center; None looks straight ahead (no shift).
            behavior: (image, 3) or (1, 3); None is gain one.
            units: (image,) one unit index an image, or None for all units of the scan.

        Returns:
            (image, unit), or (image,) if `units` is given.
        """
        shift = None
        if eye is not None and scan in self.shifter:
            shift = self.shifter[scan](eye).expand(len(images), -1)
        response = self.readout[scan](self.core(images), shift, units)
        if behavior is not None and scan in self.modulator:
            gain = self.modulator[scan](behavior).expand(len(images), -1)  # (image, unit)
            response = response * (gain if units is None else gain.gather(1, units[:, None])[:, 0])
        # In place: a saturated ELU then has gradient exactly zero, instead of overflowing through the Poisson loss.
        return F.elu(response, inplace=True) + 1

    def regularizer(self, scan: str) -> torch.Tensor:
        """Regularizers of the core and of one scan's readout (shifter and modulator MLPs have none)."""
        return self.core.regularizer() + self.readout[scan].regularizer()


def save_network(
    network: CorePlusReadout,
    path,
    unit_ids: dict[str, list[int]],
    normalization: dict[str, dict],
    provenance: dict,
) -> None:
    """Write a model file that needs nothing beside it: weights, config, unit ids, normalization, provenance."""
    content = {
        "format": FORMAT,
        "network": dataclasses.asdict(network.config),
        "unit_ids": {scan: [int(unit_id) for unit_id in ids] for scan, ids in unit_ids.items()},
        "normalization": normalization,
        "provenance": json.dumps(provenance, default=str),
        "weights": {name: tensor.cpu() for name, tensor in network.state_dict().items()},
    }
    with written_whole(path) as temporary:
        torch.save(content, temporary)


@dataclasses.dataclass(frozen=True)
class TrainedNetwork:
    """A model file in memory, in eval mode and with frozen weights."""

    network: CorePlusReadout
    unit_ids: dict[str, list[int]]
    normalization: dict[str, dict]


def load_network(path, device: str | torch.device = "cpu") -> TrainedNetwork:
    """Read a model file.

    Raises InputError if it is unreadable or of another format.
    """
    try:
        content = torch.load(path, map_location=device, weights_only=True)
        if content["format"] != FORMAT:
            raise InputError(f"{path}: model file of format {content['format']}, this version reads format {FORMAT}")
        n_units = {scan: len(ids) for scan, ids in content["unit_ids"].items()}
        channels = content["weights"]["core.convolutions.0.weight"].shape[1]
        network = CorePlusReadout(Network(**content["network"]), n_units, channels)
        network.load_state_dict(content["weights"])
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: not a readable model file ({error}); delete it and run again") from error
    network.to(device).eval().requires_grad_(False)
    return TrainedNetwork(network, content["unit_ids"], content["normalization"])


class Ensemble:
    """The seeds of one network: its response is the mean over seeds of the final outputs.

    Behavior is None (gain one) and the eye is at its training mean (zero after z-scoring, so that the shifter runs).

    Args:
        members: trained networks of one config on the same units.
        scan: the scan whose units answer.

    Raises InputError for networks of color images or of luminance: images are made in gray levels.
    """

    def __init__(self, members: list[TrainedNetwork], scan: str):
        image_units = members[0].normalization[scan].get("image_units", "px")
        channels = members[0].network.core.convolutions[0].in_channels
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

    def respond(self, images: torch.Tensor, units: torch.Tensor | None = None) -> torch.Tensor:
        """Normalized images (image, y, x) -> responses (image, unit); or (image,), image i by unit units[i]."""
        eye = torch.zeros(1, 2, device=self.device)
        if self.per_image:  # these networks were shown every image without its mean
            images = images - images.mean((-2, -1), keepdim=True)
        return torch.stack([net(images[:, None], self.scan, eye, None, units) for net in self.networks]).mean(0)

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
