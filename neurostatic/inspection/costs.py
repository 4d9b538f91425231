"""How much arithmetic a network is, and how many numbers it holds: known from its settings."""

from neurostatic.config.networks import Network

PYRAMIDS = ("SpatialTransformerPyramid2d", "ModifiedSpatialTransformerPyramid2d")
TRAINING = 3  # a step computes the gradient by inputs and by weights beside the response
ASCENT = 2  # a step computes the gradient by the image beside the response


def forward_flop(network: Network, size_px: tuple[int, int], n_units: int) -> float:
    """Floating-point operations of one image through a network: two for each weight of a kernel at each pixel.

    Of the readout: each unit interpolates every channel of every scale between four pixels.
    """
    height, width = network.map_size(*size_px)
    core = sum(2 * weights * height * width for weights in _kernels(network))
    return core + 10 * _features(network) * n_units


def n_parameters(network: Network, size_px: tuple[int, int], n_units: int) -> int:
    """Numbers in the kernels of a network and in its readout: of each unit features, and where it looks."""
    height, width = network.map_size(*size_px)
    where = height * width if network.readout == "SpatialXFeatures" else 2
    return sum(_kernels(network)) + (_features(network) + where) * n_units


def _kernels(network: Network) -> list[int]:
    """Weights of each layer's kernels; a layer sees `skip` layers below it."""
    layers = []
    for layer in range(network.depth):
        n_inputs = min(max(network.skip, 1), layer) * network.hidden_channels if layer else 1
        kern = network.hidden_kern if layer else network.input_kern
        layers.append(network.hidden_channels * n_inputs * kern**2)
    return layers


def _features(network: Network) -> int:
    """Weights that a unit gives to channels, at every scale."""
    scales = network.scale_n + 1 if network.readout in PYRAMIDS else 1
    scales = network.pool_steps + 1 if network.readout == "SpatialTransformerPooled2d" else scales
    return (network.depth * network.hidden_channels or 1) * scales
