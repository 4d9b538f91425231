"""How fast is a training step beside the field's package, and how much memory does it take?

The peer is neuralpredictors: Stacked2dCore and PointPyramid2d, in the published sizes (32 channels, kernels of 15 and
7 px, three layers, each seeing those before it, a pyramid of 5 scales), and channels last in memory, which makes it
faster. Both networks have the same weights; that they have the same loss is checked before anything is timed.
"""

import math
import sys
import warnings
from pathlib import Path

import legacy_python  # noqa: F401, before neuralpredictors
import torch
from neuralpredictors.layers.cores import Stacked2dCore
from neuralpredictors.layers.readouts import PointPyramid2d

from neurostatic.config import Network
from neurostatic.fitting.tensors import TierTensors
from neurostatic.fitting.training import poisson_loss
from neurostatic.models.networks import CorePlusReadout

SCAN, BATCH, IMAGE = "scan", 60, (1, 36, 64)
PUBLISHED = Network(shifter="none", modulator="none")


class Peer(torch.nn.Module):
    """The same network of the peer's parts; both are timed without regularizers."""

    def __init__(self, n_units: int):
        super().__init__()
        config = PUBLISHED
        self.core = Stacked2dCore(
            input_channels=1, hidden_channels=config.hidden_channels, input_kern=config.input_kern,
            hidden_kern=config.hidden_kern, layers=config.layers, skip=config.skip, pad_input=False, bias=False,
            independent_bn_bias=True, stack=None,
        )  # fmt: skip
        map_size = config.map_size(*IMAGE[1:])
        channels = config.hidden_channels * config.layers
        self.readout = PointPyramid2d(
            (channels, *map_size), n_units, scale_n=config.scale_n, positive=False, bias=True, init_range=0.1,
            downsample=True, type="gauss5x5", feature_reg_weight=config.gamma_features,
        )  # fmt: skip
        self.to(memory_format=torch.channels_last)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(image, 1, y, x) -> (image, unit)."""
        images = images.contiguous(memory_format=torch.channels_last)
        return torch.nn.functional.elu(self.readout(self.core(images))) + 1


def ours(n_units: int) -> CorePlusReadout:
    """The published network, its weights and its data drawn from seed 0."""
    network = CorePlusReadout(PUBLISHED, {SCAN: n_units}, IMAGE)
    network.initialize({SCAN: torch.ones(n_units)}, torch.Generator().manual_seed(0))
    with torch.no_grad():  # features that differ, so that an exchanged channel would show
        features = network.readout[SCAN].features
        features.mul_(torch.rand(features.shape, generator=torch.Generator().manual_seed(1)))
    return network


def peer_of(network: CorePlusReadout, n_units: int) -> Peer:
    """The peer with the weights of our network."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # neuralpredictors warns of its own defaults
        peer = Peer(n_units)
    readout = network.readout[SCAN]
    with torch.no_grad():
        kernels = [module for module in peer.core.modules() if isinstance(module, torch.nn.Conv2d)]
        for theirs, own in zip(kernels, network.core.convolutions, strict=True):
            theirs.weight.copy_(own.weight)
        norms = [module for module in peer.core.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        for theirs, own in zip(norms, network.core.norms, strict=True):
            theirs.load_state_dict(own.state_dict())
        peer.readout.grid.copy_(readout.grid[None, :, None])
        peer.readout.features.copy_(readout.features.flatten(0, 1)[None, :, None])
        peer.readout.bias.copy_(readout.bias)
    return peer


def data(n_units: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and responses of a batch."""
    generator = torch.Generator().manual_seed(2)
    return torch.randn(BATCH, *IMAGE, generator=generator), torch.rand(BATCH, n_units, generator=generator)


class Step:
    """A training step: loss, gradients, Adam."""

    def __init__(self, network: torch.nn.Module, respond, n_units: int):
        self.network, self.respond = network.train(), respond
        self.images, self.responses = data(n_units)
        self.optimizer = torch.optim.Adam(network.parameters(), lr=0.005)

    def __call__(self) -> float:
        loss = poisson_loss(self.respond(self.images), self.responses)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)
        return loss.item()


def our_step(n_units: int) -> Step:
    """Ours, as it is trained."""
    network = ours(n_units)
    return Step(network, lambda images: network(images, SCAN), n_units)


def bf16_step(n_units: int) -> Step:
    """Ours with a core in bfloat16, which the library does not offer: as `torch.autocast` makes it."""
    network = ours(n_units)

    def respond(images: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            maps = network.core(images)
        return torch.nn.functional.elu(network.readout[SCAN](maps.float())) + 1

    return Step(network, respond, n_units)


def peer_step(n_units: int) -> Step:
    """The peer's, with the same weights at the start."""
    peer = peer_of(ours(n_units), n_units)
    return Step(peer, peer, n_units)


def batch_of_data(n_units: int):
    """What a step waits for: a batch taken from the tensors of 4,000 trials."""
    n = 4000
    zeros = torch.zeros(n, 3)
    tier = TierTensors(torch.zeros(n, *IMAGE), torch.arange(n), zeros, zeros[:, :2], torch.rand(n, n_units), None, None)
    return lambda: (taken := tier.take(torch.randperm(n)[:BATCH])).images + 0 * taken.responses[0, 0]


def layers_of_core() -> list[tuple[int, int]]:
    """Input channels and size of the kernels, layer by layer; each hidden layer sees all before it."""
    config = PUBLISHED
    return [(1, config.input_kern)] + [
        (n * config.hidden_channels, config.hidden_kern) for n in range(1, config.layers)
    ]


def step_gflop() -> float:
    """Of the convolutions of a step: outputs, gradients of the kernels, and, but for the images, of the inputs."""
    n_outputs = BATCH * PUBLISHED.hidden_channels * math.prod(PUBLISHED.map_size(*IMAGE[1:]))
    passes = [2 if layer == 0 else 3 for layer in range(PUBLISHED.layers)]
    counts = [2 * n * kern**2 * n_outputs * k for (n, kern), k in zip(layers_of_core(), passes, strict=True)]
    return sum(counts) / 1e9


def convolutions_alone():
    """The convolutions of a step and their gradients, and nothing else: the best that this machine does with them."""
    config, layers = PUBLISHED, []
    for layer, (n_inputs, kern) in enumerate(layers_of_core()):
        size = IMAGE[1:] if layer == 0 else config.map_size(*IMAGE[1:])
        padding = 0 if layer == 0 else kern // 2
        convolution = torch.nn.Conv2d(n_inputs, config.hidden_channels, kern, padding=padding, bias=False)
        inputs = torch.randn(BATCH, n_inputs, *size).to(memory_format=torch.channels_last).requires_grad_(layer > 0)
        upstream = torch.randn_like(convolution(inputs)).to(memory_format=torch.channels_last)
        layers.append((convolution.to(memory_format=torch.channels_last), inputs, upstream))

    def step():
        for convolution, inputs, upstream in layers:
            convolution(inputs).backward(upstream)

    return step


def peak_bytes() -> int:
    """Highest resident memory of this process so far (ru_maxrss would be that of the process that started it)."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":  # the memory of one kind of step, in a process of its own
    before = peak_bytes()
    step = {"ours": our_step, "peer": peer_step}[sys.argv[1]](int(sys.argv[2]))
    for _ in range(3):
        step()
    print(peak_bytes() - before, peak_bytes())
