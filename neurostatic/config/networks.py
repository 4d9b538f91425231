"""Networks: what they are built of, which settings matter to which of their parts, and grids of them."""

import dataclasses
from typing import Any

from neurostatic.config.keys import key

STACK = ("hidden_channels", "input_kern", "hidden_kern", "layers", "skip", "gamma_hidden", "gamma_input", "pad_input",
         "batch_norm", "bias", "final_nonlinearity")  # fmt: skip
LINEAR_STACK = STACK[:-1]
ONE_LAYER = ("hidden_channels", "input_kern", "gamma_input", "batch_norm")
GAUSS = ("gauss_sigma", "gauss_bias")
SIGMOID = ("sigmoid_scale", "sigmoid_center")
CORES = {  # CoreConfig: what can be set of each
    "GaussianLaplace": (*STACK, *GAUSS),
    "StackedLinearGaussianLaplace": (*LINEAR_STACK, *GAUSS),
    "LinearGaussianLaplace": (*ONE_LAYER, *GAUSS),
    "SigmoidLaplace": (*STACK, *SIGMOID),
    "LinearSigmoidLaplace": (*ONE_LAYER, *SIGMOID),
    "Stacked2d": STACK,
    "ModStacked2d": (*STACK, "laplace_padding"),
    "Linear": ONE_LAYER,
    "ModLinear": (*ONE_LAYER, "laplace_padding"),
    "Identity": (),
}
PUBLISHED_CORES = ("GaussianLaplace", "StackedLinearGaussianLaplace")  # the CNN and the linear model of the paper
CNN_CORES = ("GaussianLaplace", "SigmoidLaplace", "Stacked2d", "ModStacked2d")  # the others have no nonlinearity
PYRAMID = ("scale_n", "downsample", "pyramid_filter", "gamma_features", "positive")
READOUTS = {  # ReadoutConfig
    "SpatialTransformerPyramid2d": PYRAMID,
    "ModifiedSpatialTransformerPyramid2d": PYRAMID,
    "SpatialTransformerPooled2d": ("pool_steps", "gamma_features", "positive"),
    "SpatialTransformer2d": ("gamma_features", "positive"),
    "SpatialXFeatures": ("gamma_readout", "positive", "normalize_spatial"),
    "FullGaussian2d": ("init_range", "init_sigma", "gamma_features", "positive"),
}
SHIFTERS = {  # ShifterConfig
    "MLP": ("shift_layers", "hidden_channels_shifter"),
    "StaticAffine2d": ("gamma_shifter",),
    "none": (),
}
MODULATOR_MLP = ("modulator_layers", "hidden_channels_modulator", "gamma_modulator")
MODULATORS = {"MLP": MODULATOR_MLP, "OutputMLP": MODULATOR_MLP, "none": ()}  # ModulatorConfig, and one beyond it
PARTS = {"core": CORES, "readout": READOUTS, "shifter": SHIFTERS, "modulator": MODULATORS}


@dataclasses.dataclass(frozen=True)
class Network:
    """One network: core, readout, shifter, modulator (CoreConfig, ReadoutConfig, ShifterConfig, ModulatorConfig).

    A setting that does not matter to the chosen parts keeps its default, so that networks that differ in it alone are
    equal. Raises ValueError for a part that there is not.
    """

    core: str = key("GaussianLaplace", choices=tuple(CORES))
    hidden_channels: int = key(32, low=1)
    input_kern: int = key(15, low=1)
    hidden_kern: int = key(7, low=1)
    layers: int = key(3, low=1)
    skip: int = key(3, low=0)
    gamma_hidden: float = key(0.1, low=0.0)
    gamma_input: float = key(50.0, low=0.0)
    pad_input: bool = key(False)
    batch_norm: bool = key(True)
    bias: bool = key(False)
    final_nonlinearity: bool = key(True)
    laplace_padding: int = key(1, low=0, high=1)
    gauss_sigma: float = key(0.5, low=1e-6)
    gauss_bias: float = key(0.0, low=0.0)
    sigmoid_scale: float = key(1.0, low=0.0)
    sigmoid_center: float = key(0.5, low=0.0)
    readout: str = key("SpatialTransformerPyramid2d", choices=tuple(READOUTS))
    scale_n: int = key(5, low=1)
    downsample: bool = key(True)
    pyramid_filter: str = key("gauss5x5", choices=("gauss5x5", "gauss3x3", "laplace5x5"))
    pool_steps: int = key(4, low=0)
    gamma_features: float = key(1.0, low=0.0)
    positive: bool = key(False)
    gamma_readout: float = key(1.0, low=0.0)
    normalize_spatial: bool = key(True)
    init_range: float = key(0.3, low=0.0, high=1.0)
    init_sigma: float = key(0.1, low=0.0)
    shifter: str = key("MLP", choices=tuple(SHIFTERS))
    shift_layers: int = key(3, low=1)
    hidden_channels_shifter: int = key(5, low=1)
    gamma_shifter: float = key(0.001, low=0.0)
    modulator: str = key("MLP", choices=tuple(MODULATORS))
    modulator_layers: int = key(2, low=1)
    hidden_channels_modulator: int = key(10, low=1)
    gamma_modulator: float = key(0.0, low=0.0)
    nonlinearity: str = key("elu1", choices=("elu1", "log1exp", "adjusted_elu"))

    def __post_init__(self) -> None:
        for part, kinds in PARTS.items():
            if getattr(self, part) not in kinds:
                raise ValueError(f"{part}: one of {', '.join(kinds)}, got {getattr(self, part)!r}")
        used = self.settings()
        for field in dataclasses.fields(self):
            if field.name not in used:
                object.__setattr__(self, field.name, field.default)

    @property
    def model_type(self) -> str:
        """'cnn', whose optimal images are MEIs, or 'linear', whose are receptive fields (RF)."""
        return "cnn" if self.core in CNN_CORES else "linear"

    @property
    def depth(self) -> int:
        """Layers of the core; Identity has none, and hands on the images."""
        if "layers" in CORES[self.core]:
            return self.layers
        return 0 if self.core == "Identity" else 1

    @property
    def padded(self) -> bool:
        """Whether the first layer keeps the size of the images; that of a core of one layer does, as published.

        A kernel of an even size makes padded maps one px larger.
        """
        return self.pad_input or "layers" not in CORES[self.core]

    @property
    def smoothness_padding(self) -> int:
        """Zeros around the first layer's kernels when their smoothness is measured; 0 is published for two cores."""
        return 0 if self.core in ("Stacked2d", "Linear") else self.laplace_padding

    def map_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the core's maps for images of a size."""
        lost = self.input_kern - 1 - (2 * (self.input_kern // 2) if self.padded else 0)
        return (height - lost, width - lost) if self.depth else (height, width)

    def settings(self) -> dict[str, Any]:
        """The parts, and the settings that matter to them; Network(**settings) is the same network."""
        used = {*PARTS, "nonlinearity"}
        for part, kinds in PARTS.items():
            used |= set(kinds[getattr(self, part)])
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name in used}


def named_networks(networks: list[Network]) -> dict[str, Network]:
    """Each network once, under its name: the core, then whatever varies among the networks of this core.

    A network has another name where other settings vary beside it.
    """
    networks = list(dict.fromkeys(networks))
    names = {}
    for network in networks:
        alike = [other.settings() for other in networks if other.core == network.core]
        varied = [
            _named(name, value)
            for name, value in network.settings().items()
            if any(other.get(name, value) != value for other in alike)
        ]
        names["-".join([network.core, *varied])] = network
    return names


def _named(name: str, value: object) -> str:
    if isinstance(value, float):
        value = repr(value).removesuffix(".0").replace("+", "")  # a name becomes that of a file
    return str(value) if name in ("core", "readout") else f"{name}-{value}".lower()
