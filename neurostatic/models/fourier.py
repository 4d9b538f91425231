"""Convolutions with large kernels, as products of spectra."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch

COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}
CONJUGATE = -1  # sign of a transform; a product of matrices would have to copy what is conjugated later
LANES = 8  # of a CPU's vector
GAIN = 4  # so many times fewer products it must take, as the transforms wait for memory more than a convolution does


def fourier_pays(images: torch.Tensor, kernels: torch.Tensor, padding: int) -> bool:
    """Whether `fourier_convolution` is the faster way: on a CPU, with large kernels between many channels."""
    n_images, n_inputs, height, width = images.shape
    n_outputs, _, *kernel = kernels.shape
    sizes = [[side + 2 * padding - k + 1 for side, k in zip((height, width), kernel, strict=True)], [height, width]]
    direct: float = n_images * math.prod(sizes[0]) * math.prod(kernel) * n_inputs * n_outputs
    rows, columns = height + padding, (width + padding) // 2 + 1  # of a spectrum
    transforms = sum(
        n_maps * columns * y * (2 * x + 4 * rows)
        for n_maps, (y, x) in (
            (n_images * n_inputs, sizes[1]),
            (n_images * n_outputs, sizes[0]),
            (n_inputs * n_outputs, kernel),
        )
    )
    products = 4 * n_images * rows * columns * n_inputs * n_outputs
    if images.requires_grad:  # a direct gradient fills as many of the lanes of a vector as there are channels
        direct *= (1 + max(1, LANES / n_inputs)) / 2
    return images.device.type == "cpu" and images.dtype in COMPLEX and direct > GAIN * (transforms + products)


def fourier_convolution(images: torch.Tensor, kernels: torch.Tensor, padding: int) -> torch.Tensor:
    """conv2d(images, kernels, padding=padding), to rounding.

    output = F^-1(F(images) conj(F(kernels))), a product of (image, input) and (input, output) matrices at every
    frequency (convolution theorem). The period is the size of the images and the padding, so that what would wrap
    around meets zeros. A transform is one small matrix an axis: at the size of a core's maps this beats an FFT, and
    keeps images and channels side by side as the columns that the products need.

    Args:
        images: (image, input, y, x).
        kernels: (output, input, y, x).

    Returns:
        (image, output, y', x'), channels last in memory.
    """
    return _Convolution.apply(images, kernels, padding)  # type: ignore[no-untyped-call]  # torch leaves it untyped


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: torch.Tensor, kernels: torch.Tensor, padding: int) -> torch.Tensor:
        size, kernel_size = images.shape[2:], kernels.shape[2:]
        period = (size[0] + padding, size[1] + padding)
        seen = _spectra(images, period)  # (frequency, image, input)
        weights = _spectra(kernels, period, CONJUGATE, -padding)  # (frequency, output, input)
        ctx.save_for_backward(seen if ctx.needs_input_grad[1] else None, weights)
        ctx.sizes = size, kernel_size, period, padding
        out_size = [side + 2 * padding - k + 1 for side, k in zip(size, kernel_size, strict=True)]
        return _maps(seen @ weights.mT, period, out_size)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        seen, weights = ctx.saved_tensors
        size, kernel_size, period, padding = ctx.sizes
        upstream = _spectra(upstream, period, CONJUGATE)  # (frequency, image, output)
        of_images = of_kernels = None
        if ctx.needs_input_grad[0]:
            of_images = _maps(upstream @ weights, period, size, CONJUGATE)
        if ctx.needs_input_grad[1]:
            of_kernels = _maps(upstream.mT @ seen, period, kernel_size, first=-padding)
        return of_images, of_kernels, None


def _spectra(maps: torch.Tensor, period: tuple[int, int], sign: int = 1, first: int = 0) -> torch.Tensor:
    """Maps (a, b, y, x), the first pixel at (first, first), zeros up to the period -> spectra (frequency, a, b)."""
    along_y, along_x = _analysis(period, tuple(maps.shape[2:]), sign, first, maps.dtype)
    columns = maps.permute(2, 3, 0, 1).flatten(2)  # (y, x, map)
    real, imaginary = (along_x @ columns).chunk(2, 1)  # (y, x frequency, map)
    spectra = along_y @ torch.complex(real, imaginary).flatten(1)  # (y frequency, x frequency * map)
    return spectra.view(-1, *maps.shape[:2])


def _maps(
    spectra: torch.Tensor, period: tuple[int, int], size: Sequence[int], sign: int = 1, first: int = 0
) -> torch.Tensor:
    """Spectra (frequency, a, b) of the same sign -> maps (a, b, y, x) of a size, from pixel (first, first) on."""
    along_y, along_x = _synthesis(period, tuple(size), sign, first, spectra.real.dtype)
    rows = (along_y @ spectra.view(period[0], -1)).view(size[0], period[1] // 2 + 1, -1)  # (y, x frequency, map)
    maps = along_x @ torch.cat([rows.real, rows.imag], 1)  # (y, x, map)
    return torch.unflatten(maps, 2, spectra.shape[1:]).permute(2, 3, 0, 1).clone(memory_format=torch.channels_last)


@functools.lru_cache(maxsize=64)
def _analysis(
    period: tuple[int, int], size: tuple[int, int], sign: int, first: int, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Matrices of a transform: complex (y frequency, y), and real and imaginary part (2 * x frequency, x).

    The spectrum of real maps mirrors itself, so that half of the frequencies of one axis are enough.
    """
    along_y, along_x = (_waves(cycle, n, sign, first) for cycle, n in zip(period, size, strict=True))
    half = along_x[: period[1] // 2 + 1]
    return along_y.to(COMPLEX[dtype]), torch.cat([half.real, half.imag]).to(dtype)


@functools.lru_cache(maxsize=64)
def _synthesis(
    period: tuple[int, int], size: tuple[int, int], sign: int, first: int, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Matrices back: complex (y, y frequency), and (x, 2 * x frequency); a mirrored frequency counts twice."""
    along_y, along_x = (_waves(cycle, n, sign, first) / cycle for cycle, n in zip(period, size, strict=True))
    twice = torch.tensor([1 if 2 * frequency % period[1] == 0 else 2 for frequency in range(period[1] // 2 + 1)])
    half = twice[:, None] * along_x[: len(twice)]
    return along_y.mH.to(COMPLEX[dtype]), torch.cat([half.real, half.imag]).mT.to(dtype)


def _waves(period: int, size: int, sign: int, first: int) -> torch.Tensor:
    """(frequency, size) exp(-2 pi i sign frequency pixel / period), pixels from `first` on."""
    cycles = (torch.arange(period)[:, None] * torch.arange(first, first + size) % period).double() / period
    return torch.polar(torch.ones_like(cycles), -2 * math.pi * sign * cycles)
