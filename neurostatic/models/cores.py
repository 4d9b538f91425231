"""The core: a stack of convolutions shared by all units, whose every layer is handed to the readout."""

import torch
from torch import nn
from torch.nn import functional as F

LAPLACE = torch.tensor([[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]])


class StackedCore(nn.Module):
    """Convolution, batch norm and (if nonlinear) ELU, `layers` times; the output joins all layers' channels.

    CoreConfig.GaussianLaplace with nonlinear=True is the CNN; with nonlinear=False it is StackedLinearGaussianLaplace,
    the linear model: the ELUs are gone, batch norm stays. The first layer is not padded, the hidden ones keep their
    size. Layer l reads the outputs of the last min(skip, l) layers, oldest first (the last one alone for skip <= 1).

    Args:
        input_channels, hidden_channels: channels of the image and of every layer.
        input_kern, hidden_kern: kernel sizes in px.
        layers: number of layers.
        skip: how many earlier layers a layer reads.
        gamma_hidden, gamma_input: weights of the two regularizers.
        gauss_sigma, gauss_bias: the first layer's smoothness is asked for more and more toward the kernel's border.
        nonlinear: ELU after each batch norm.
    """

    def __init__(
        self,
        hidden_channels: int,
        input_kern: int,
        hidden_kern: int,
        layers: int,
        skip: int,
        gamma_hidden: float,
        gamma_input: float,
        gauss_sigma: float,
        gauss_bias: float,
        nonlinear: bool,
        input_channels: int = 1,
    ):
        super().__init__()
        self.skip = max(skip, 1)
        self.gamma_hidden = gamma_hidden
        self.gamma_input = gamma_input
        self.nonlinear = nonlinear
        self.out_channels = layers * hidden_channels
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList()
        for layer in range(layers):
            n_inputs = input_channels if layer == 0 else min(self.skip, layer) * hidden_channels
            kern, padding = (input_kern, 0) if layer == 0 else (hidden_kern, hidden_kern // 2)
            self.convolutions.append(nn.Conv2d(n_inputs, hidden_channels, kern, padding=padding, bias=False))
            self.norms.append(nn.BatchNorm2d(hidden_channels))
        self.register_buffer("laplace_weights", gaussian_weights(input_kern, gauss_sigma, gauss_bias), persistent=False)

    def initialize(self, generator: torch.Generator) -> None:
        """Draw every kernel from the Xavier normal distribution, std = sqrt(2 / (fan_in + fan_out))."""
        for convolution in self.convolutions:
            nn.init.xavier_normal_(convolution.weight, generator=generator)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(image, input_channels, y, x) -> (image, layers * hidden_channels, y', x')."""
        outputs = []
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            inputs = torch.cat(outputs[-self.skip :], 1) if outputs else images
            output = norm(convolution(inputs))
            outputs.append(F.elu(output) if self.nonlinear else output)
        return torch.cat(outputs, 1)

    def regularizer(self) -> torch.Tensor:
        """gamma_hidden * group_sparsity + gamma_input * laplace."""
        return self.gamma_hidden * self.group_sparsity() + self.gamma_input * self.laplace()

    def laplace(self) -> torch.Tensor:
        """Smoothness of the first layer: mean(A * (L * w)^2) / 2, L the padded 3 x 3 Laplacian, A the border weights.

        The mean runs over all elements of the kernel, those with weight zero included.
        """
        kernels = self.convolutions[0].weight  # (out, in, y, x)
        filtered = F.conv2d(kernels.flatten(0, 1)[:, None], LAPLACE.to(kernels)[None, None], padding=1)
        return (self.laplace_weights * filtered.square()).mean() / 2

    def group_sparsity(self) -> torch.Tensor:
        """Sparsity of the hidden layers' kernels: mean over layers of mean_oi sqrt(sum_yx w^2)."""
        hidden = [convolution.weight.square().sum((2, 3)).sqrt().mean() for convolution in self.convolutions[1:]]
        return torch.stack(hidden).mean() if hidden else self.convolutions[0].weight.new_zeros(())


def gaussian_weights(size: int, sigma: float, bias: float) -> torch.Tensor:
    """A = 1 - exp(-d^2 / (2 sigma^2)) + bias on a (size, size) grid whose corners are at (+-1, +-1)."""
    axis = torch.linspace(-1, 1, size)
    distance2 = axis[:, None] ** 2 + axis[None, :] ** 2
    return 1 - torch.exp(-distance2 / (2 * sigma**2)) + bias
