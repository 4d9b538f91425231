import pytest
import torch
from golden import close
from torch.nn import functional as F

from neurostatic.models.fourier import fourier_convolution, fourier_pays


def drawn(*size, seed=0, dtype=torch.float64):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("padding", [0, 1, 3])
@pytest.mark.parametrize("kern", [(7, 7), (4, 4), (6, 3), (1, 1)])
@pytest.mark.parametrize("size", [(9, 8), (7, 12)])
def test_it_equals_conv2d_with_its_gradients(size, kern, padding):
    """Periods odd and even; kernels of even sizes, whose maps grow; kernels as large as the images."""
    images, kernels = drawn(3, 2, *size).requires_grad_(), drawn(4, 2, *kern, seed=1).requires_grad_()
    plain = F.conv2d(images, kernels, padding=padding)
    ours = fourier_convolution(images, kernels, padding)
    close(ours, plain, 1e-12)
    upstream = drawn(*plain.shape, seed=2)
    for our_gradient, gradient in zip(
        torch.autograd.grad(ours, (images, kernels), upstream),
        torch.autograd.grad(plain, (images, kernels), upstream),
        strict=True,
    ):
        close(our_gradient, gradient, 1e-11)


def test_its_gradients_are_those_of_small_steps():
    images, kernels = drawn(2, 2, 6, 5).requires_grad_(), drawn(3, 2, 3, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda *inputs: fourier_convolution(*inputs, 1), (images, kernels))


def test_of_the_published_core_the_rounding_is_that_of_float32():
    images, kernels = drawn(8, 64, 22, 50), drawn(32, 64, 7, 7, seed=1)
    exact = F.conv2d(images, kernels, padding=3)
    scale = exact.std()
    ours = (fourier_convolution(images.float(), kernels.float(), 3) - exact) / scale
    direct = (F.conv2d(images.float(), kernels.float(), padding=3) - exact) / scale
    assert direct.abs().max() < 2e-5 and ours.abs().max() < 2e-5


def test_an_image_that_is_not_finite_leaves_the_others():
    images = drawn(3, 2, 9, 8)
    images[1, 0, 4, 4] = torch.inf
    output = fourier_convolution(images, drawn(4, 2, 7, 7, seed=1), 3)
    assert output[[0, 2]].isfinite().all() and not output[1].isfinite().any()


def test_one_image_may_be_changed_in_place():
    """ELU is. The transform of one image is in memory as the output is to be, and must not be handed out itself."""
    images = drawn(1, 2, 9, 8).requires_grad_()
    F.elu(fourier_convolution(images, drawn(4, 2, 7, 7, seed=1), 3), inplace=True).sum().backward()
    assert images.grad.isfinite().all()


@pytest.mark.parametrize(
    ("size", "kern", "padding", "pays", "pays_with_gradient"),
    [
        ((60, 32, 22, 50), (32, 7), 3, True, True),  # the hidden layers of the published core
        ((60, 64, 22, 50), (32, 7), 3, True, True),
        ((60, 1, 36, 64), (32, 15), 0, False, True),  # its first: one channel
        ((60, 16, 28, 56), (16, 3), 1, False, False),  # the hidden layers of the demo
        ((60, 1, 24, 24), (16, 9), 0, False, False),  # its first, of a window
        ((1, 32, 22, 50), (32, 7), 3, False, False),  # the kernels' own transforms
        ((8, 32, 130, 240), (32, 7), 3, False, False),  # a matrix as long as the maps are
    ],
)
def test_it_is_used_where_it_is_faster(size, kern, padding, pays, pays_with_gradient):
    kernels = torch.empty(kern[0], size[1], kern[1], kern[1])
    assert fourier_pays(torch.empty(size), kernels, padding) == pays
    assert fourier_pays(torch.empty(size).requires_grad_(), kernels, padding) == pays_with_gradient
    assert not fourier_pays(torch.empty(size, device="meta"), kernels, padding)
