"""The network: core, then per scan readout, shifter, modulator and output nonlinearity."""

from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.nn import functional as F

from neurostatic.config.networks import Network
from neurostatic.models.cores import build_core
from neurostatic.models.modulators import MLPModulator, build_modulator
from neurostatic.models.readouts import MaskReadout, PointReadout, build_readout
from neurostatic.models.shifters import MLPShifter, StaticAffineShifter, build_shifter
from neurostatic.models.windows import has_windows, read_in_windows
from neurostatic.problems import InputError

# In place: a saturated ELU then has gradient exactly zero, instead of overflowing through the Poisson loss.
NONLINEARITIES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "elu1": lambda response: F.elu(response, inplace=True) + 1,
    "adjusted_elu": lambda response: F.elu(response - 1, inplace=True) + 1,
    "log1exp": F.softplus,  # log(1 + exp(x)); upstream's overflowed above 88
}


class CorePlusReadout(nn.Module):
    """NetworkConfig.CorePlusReadout: y = f(readout(core(x), shifter(eye)) * modulator(behavior)), f(v) = ELU(v) + 1.

    One core for all scans; readout, shifter and modulator are each scan's own. f is config.nonlinearity. With the
    modulator OutputMLP, which was not published, y = f(readout(core(x), shifter(eye))) * modulator(behavior). The
    published gain acts backwards where the readout is negative, as for most units most of the time: a higher gain
    lowers the response.

    Args:
        config: what it is built of.
        n_units: scan name -> number of units.
        image_shape: (channels, height, width) of the images, channels 1 for gray.

    Raises InputError for a scan with a name that torch's modules keep for themselves.
    """

    readout: Mapping[str, MaskReadout | PointReadout]
    shifter: Mapping[str, MLPShifter | StaticAffineShifter]
    modulator: Mapping[str, MLPModulator]

    def __init__(self, config: Network, n_units: dict[str, int], image_shape: tuple[int, int, int] = (1, 36, 64)):
        super().__init__()
        for scan in n_units:
            if hasattr(nn.ModuleDict(), scan):  # torch keeps modules and its own attributes in one space of names
                raise InputError(f"a scan cannot be called '{scan}': torch keeps this name for itself")
        self.config = config
        self.image_shape = tuple(image_shape)
        channels, *size = image_shape
        # Channels last: a third faster on CPUs, and the layout that the readout wants.
        self.core = build_core(config, channels)
        self.core.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types leave it out
        map_size = config.map_size(*size)
        readouts, shifters, modulators = {}, {}, {}
        for scan, n in n_units.items():
            readouts[scan] = build_readout(config, self.core.out_channels, map_size, n)
            shifters[scan] = build_shifter(config)
            modulators[scan] = build_modulator(config, n)
        # torch does not say what its dictionaries hold.
        self.readout = nn.ModuleDict(readouts)  # type: ignore[assignment]
        self.shifter = nn.ModuleDict({k: part for k, part in shifters.items() if part})  # type: ignore[assignment]
        self.modulator = nn.ModuleDict({k: part for k, part in modulators.items() if part})  # type: ignore[assignment]

    def initialize(
        self,
        mean_responses: dict[str, torch.Tensor],
        generator: torch.Generator,
        mean_eye: dict[str, torch.Tensor] | None = None,
    ) -> None:
        """Draw all parameters anew.

        Args:
            mean_responses: of each scan, mean (normalized) training responses (unit,).
            mean_eye: of each scan, mean of the normalized pupil center (2,); 0 if not given, as after z-scoring.
        """
        self.core.initialize(generator)
        for scan, mean in mean_responses.items():
            self.readout[scan].initialize(mean, generator)
        for scan, shifter in self.shifter.items():
            shifter.initialize(torch.zeros(2) if mean_eye is None else mean_eye[scan], generator)
        for modulator in self.modulator.values():
            modulator.initialize(generator)

    def forward(
        self,
        images: torch.Tensor,
        scan: str,
        eye: torch.Tensor | None = None,
        behavior: torch.Tensor | None = None,
        units: torch.Tensor | None = None,
        noise: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Predicted responses, all quantities normalized.

        Args:
            images: (image, channel, y, x).
            scan: whose units.
            eye: (image, 2) or (1, 2) pupil center; None looks straight ahead (no shift).
            behavior: (image, 3) or (1, 3); None is gain one.
            units: (image,) one unit index an image, or None for all units of the scan. Of a unit that looks at one
                point only the window around it is computed (`windows`).
            noise: draws the points of a readout whose points are random while it is trained (FullGaussian2d).

        Returns:
            (image, unit), or (image,) if `units` is given.
        """
        shift = None
        if eye is not None and scan in self.shifter:
            shift = self.shifter[scan](eye).expand(len(images), -1)
        readout = self.readout[scan]
        if units is not None and isinstance(readout, PointReadout) and has_windows(self.core, readout):
            response = read_in_windows(self.core, readout, images, shift, units)
        else:
            response = readout(self.core(images), shift, units, noise)
        nonlinearity = NONLINEARITIES[self.config.nonlinearity]
        if behavior is None or scan not in self.modulator:
            return nonlinearity(response)
        gain = self.modulator[scan](behavior).expand(len(images), -1)  # (image, unit)
        gain = gain if units is None else gain.gather(1, units[:, None])[:, 0]
        return nonlinearity(response) * gain if self.config.modulator == "OutputMLP" else nonlinearity(response * gain)

    def regularizer(self, scan: str) -> torch.Tensor:
        """Sum of the regularizers of the core and of one scan's readout, shifter and modulator."""
        own = [parts[scan].regularizer() for parts in (self.readout, self.shifter, self.modulator) if scan in parts]
        return sum(own, self.core.regularizer())
