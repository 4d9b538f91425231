"""The core: a stack of convolutions shared by all units, whose every layer is handed to the readout."""

from collections.abc import MutableSequence

import torch
from torch import nn
from torch.nn import functional as F

from neurostatic.config.networks import CNN_CORES, Network
from neurostatic.models.fourier import fourier_convolution, fourier_pays

LAPLACE = ((0.0, -1.0, 0.0), (-1.0, 4.0, -1.0), (0.0, -1.0, 0.0))


class StackedCore(nn.Module):
    """Convolution, batch norm and ELU, `layers` times; the output joins all layers' channels (CoreConfig).

    The one stack behind every core type; `build_core` says which settings make which. Hidden layers keep the size of
    the maps. Layer l reads the outputs of the last min(skip, l) layers, oldest first (for skip <= 1 the last one
    alone). With no layer it hands on the images (Identity).

    Args:
        hidden_channels: of every layer.
        input_kern, hidden_kern: kernel sizes in px.
        layers: number of layers.
        skip: how many earlier layers a layer reads.
        gamma_hidden, gamma_input: weights of the two regularizers.
        nonlinear: ELU after each batch norm; without it the core is linear, batch norm stays.
        final_nonlinearity: ELU after the last layer, too.
        pad_input: the first layer keeps the size of the images (an even kernel adds a pixel).
        batch_norm, bias: after each convolution; of each convolution.
        laplace_padding: zeros around the kernels that the Laplacian sees, 0 or 1 px.
        border_weights: (input_kern, input_kern) how much smoothness counts at each pixel of a kernel; None: 1.
        input_channels: of the images.

    Raises ValueError for border weights without padding: the Laplacian has no value at the border then.
    """

    convolutions: MutableSequence[nn.Conv2d]
    norms: MutableSequence[nn.BatchNorm2d | nn.Identity]
    laplace_filter: torch.Tensor
    border_weights: torch.Tensor

    def __init__(
        self,
        hidden_channels: int = 0,
        input_kern: int = 1,
        hidden_kern: int = 1,
        layers: int = 0,
        skip: int = 0,
        gamma_hidden: float = 0.0,
        gamma_input: float = 0.0,
        nonlinear: bool = True,
        final_nonlinearity: bool = True,
        pad_input: bool = False,
        batch_norm: bool = True,
        bias: bool = False,
        laplace_padding: int = 1,
        border_weights: torch.Tensor | None = None,
        input_channels: int = 1,
    ):
        super().__init__()
        if border_weights is not None and not laplace_padding:
            raise ValueError("border_weights need laplace_padding: without it the Laplacian has no value at the border")
        self.skip = max(skip, 1)
        self.gamma_hidden = gamma_hidden
        self.gamma_input = gamma_input
        self.n_elus = 0 if not nonlinear else layers if final_nonlinearity else layers - 1
        self.laplace_padding = laplace_padding
        self.out_channels = layers * hidden_channels or input_channels
        self.paddings: list[int] = []
        # torch does not say what its lists hold.
        self.convolutions = nn.ModuleList()  # type: ignore[assignment]
        self.norms = nn.ModuleList()  # type: ignore[assignment]
        for layer in range(layers):
            n_inputs = input_channels if layer == 0 else min(self.skip, layer) * hidden_channels
            kern = input_kern if layer == 0 else hidden_kern
            self.paddings.append(kern // 2 if layer or pad_input else 0)
            self.convolutions.append(nn.Conv2d(n_inputs, hidden_channels, kern, padding=self.paddings[-1], bias=bias))
            self.norms.append(nn.BatchNorm2d(hidden_channels) if batch_norm else nn.Identity())
        self.register_buffer("laplace_filter", torch.tensor(LAPLACE)[None, None], persistent=False)
        weights = torch.ones(()) if border_weights is None else border_weights
        self.register_buffer("border_weights", weights, persistent=False)

    def initialize(self, generator: torch.Generator) -> None:
        """Draw every kernel from the Xavier normal distribution, std = sqrt(2 / (fan_in + fan_out)); biases are 0."""
        for convolution in self.convolutions:
            nn.init.xavier_normal_(convolution.weight, generator=generator)
            if convolution.bias is not None:
                nn.init.zeros_(convolution.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(image, input_channels, y, x) -> (image, layers * hidden_channels, y', x')."""
        outputs: list[torch.Tensor] = []
        for layer, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            seen = outputs[-self.skip :] or [images]
            inputs = torch.cat(seen, 1) if len(seen) > 1 else seen[0]
            kernels, bias = (convolution.weight, convolution.bias) if self.training else _fixed(convolution, norm)
            output = _convolved(inputs, kernels, bias, self.paddings[layer])
            output = norm(output) if self.training else output
            outputs.append(F.elu(output, inplace=True) if layer < self.n_elus else output)
        return torch.cat(outputs, 1) if outputs else images

    @property
    def lost(self) -> int:
        """How many px smaller than the images the maps are, along each axis; of kernels of odd sizes."""
        return sum(layer.kernel_size[0] - 1 for layer in self.convolutions) - 2 * self.reach

    @property
    def reach(self) -> int:
        """How many px of the maps away zeros from outside of them reach, along each axis."""
        return sum(self.paddings)

    def regularizer(self) -> torch.Tensor:
        """gamma_hidden * group_sparsity + gamma_input * laplace."""
        return self.gamma_hidden * self.group_sparsity() + self.gamma_input * self.laplace()

    def laplace(self) -> torch.Tensor:
        """Smoothness of the first layer: mean(A * (L * w)^2) / 2, L the 3 x 3 Laplacian, A the border weights.

        The mean runs over all elements of the (padded) result, those with weight zero included. Upstream raised an
        error without padding; here the mean is that of the valid part, as intended.
        """
        if not self.convolutions:
            return self.laplace_filter.new_zeros(())
        kernels = self.convolutions[0].weight  # (out, in, y, x)
        filtered = F.conv2d(kernels.flatten(0, 1)[:, None], self.laplace_filter, padding=self.laplace_padding)
        return (self.border_weights * filtered.square()).mean() / 2

    def group_sparsity(self) -> torch.Tensor:
        """Sparsity of the hidden layers' kernels: mean over layers of mean_oi sqrt(sum_yx w^2)."""
        hidden = [convolution.weight.square().sum((2, 3)).sqrt().mean() for convolution in self.convolutions[1:]]
        return torch.stack(hidden).mean() if hidden else self.laplace_filter.new_zeros(())


def _convolved(inputs: torch.Tensor, kernels: torch.Tensor, bias: torch.Tensor | None, padding: int) -> torch.Tensor:
    """conv2d, in the faster way."""
    if not fourier_pays(inputs, kernels, padding):
        return F.conv2d(inputs, kernels, bias, padding=padding)
    output = fourier_convolution(inputs, kernels, padding)
    return output if bias is None else output.add_(bias[:, None, None])


def _fixed(convolution: nn.Conv2d, norm: nn.BatchNorm2d | nn.Identity) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Kernels and bias of norm(convolution(...)) in eval mode: batch norm is then a factor and an offset of kernels."""
    if isinstance(norm, nn.Identity):
        return convolution.weight, convolution.bias
    mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    scale = norm.weight * (variance + norm.eps).rsqrt()  # (out,)
    offset = mean if convolution.bias is None else mean - convolution.bias
    return convolution.weight * scale[:, None, None, None], norm.bias - offset * scale


def build_core(config: Network, input_channels: int) -> StackedCore:
    """The core that a config names (CoreConfig).

    Stacked2d is the stack whose regularizer sees kernels without padding; ModStacked2d chooses the padding. The Laplace
    cores weigh smoothness toward the border, by a Gaussian (GaussianLaplace, the published CNN) or a sigmoid
    (SigmoidLaplace). StackedLinearGaussianLaplace, the published linear model, has lost its ELUs and kept batch norm;
    Linear, ModLinear and the Linear...Laplace cores have one padded layer without ELU. Identity hands on the images.
    """
    if not config.depth:
        return StackedCore(input_channels=input_channels)
    border_weights = None
    if "Gaussian" in config.core:
        border_weights = gaussian_weights(config.input_kern, config.gauss_sigma, config.gauss_bias)
    elif "Sigmoid" in config.core:
        border_weights = sigmoid_weights(config.input_kern, config.sigmoid_scale, config.sigmoid_center)
    return StackedCore(
        hidden_channels=config.hidden_channels,
        input_kern=config.input_kern,
        hidden_kern=config.hidden_kern,
        layers=config.depth,
        skip=config.skip,
        gamma_hidden=config.gamma_hidden,
        gamma_input=config.gamma_input,
        nonlinear=config.core in CNN_CORES,
        final_nonlinearity=config.final_nonlinearity,
        pad_input=config.padded,
        batch_norm=config.batch_norm,
        bias=config.bias,
        laplace_padding=config.smoothness_padding,
        border_weights=border_weights,
        input_channels=input_channels,
    )


def gaussian_weights(size: int, sigma: float, bias: float) -> torch.Tensor:
    """A = 1 - exp(-d^2 / (2 sigma^2)) + bias, d the distance from the center of a (size, size) kernel."""
    return 1 - torch.exp(-_squared_distance(size) / (2 * sigma**2)) + bias


def sigmoid_weights(size: int, scale: float, center: float) -> torch.Tensor:
    """A = 1 / (1 + exp(-scale (d - center))), d the distance from the center of a (size, size) kernel."""
    return torch.sigmoid(scale * (_squared_distance(size).sqrt() - center))


def _squared_distance(size: int) -> torch.Tensor:
    """(size, size) d^2; the corners are at (+-1, +-1)."""
    axis = torch.linspace(-1, 1, size)
    return axis[:, None] ** 2 + axis[None, :] ** 2
