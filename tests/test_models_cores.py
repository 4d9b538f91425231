import pytest
import torch
from golden import close, fill, fill_core

from neurostatic.models.cores import StackedCore, gaussian_weights

IMAGE = fill((1, 1, 9, 10), 5, 13)
IMAGES = fill((2, 1, 9, 10), 5, 13)
FIRST_LAYER = [-0.903671, -0.836344]
SECOND_LAYER = [-0.863222, 2.686705]


def toy_core(layers=3, skip=3, nonlinear=True, border=(0.5, 0.0)):
    """The toy core T, float64; border None: no border weights (A = 1)."""
    sigma, bias = border or (0.5, 0.0)
    core = StackedCore(
        hidden_channels=2,
        input_kern=5,
        hidden_kern=3,
        layers=layers,
        skip=skip,
        gamma_hidden=0.1,
        gamma_input=50,
        gauss_sigma=sigma,
        gauss_bias=bias,
        nonlinear=nonlinear,
    ).double()
    fill_core(core)
    if border is None:
        core.laplace_weights.fill_(1)
    return core


def test_the_deterministic_fill():
    close(fill((2, 3)), [[-0.5, 0.2, -0.2], [0.5, 0.1, -0.3]], 1e-15)
    close(fill((2, 3), 5, 13), [[-0.6, -0.1, 0.4], [-0.4, 0.1, 0.6]], 1e-15)


def test_laplace_filter():
    """G1: with one-hot border weights the regularizer shows the filtered kernel, pixel by pixel (squared)."""
    core = StackedCore(1, 4, 3, 1, 0, 0.0, 1.0, 0.5, 0.0, True).double()
    expected = torch.tensor(
        [[-1.7, -2.5, -3, -1.7], [-2.5, -3.4, -3.4, 3], [1.5, -3.4, -3.4, 11], [34.3, 25.5, 29, 58.3]]
    )
    with torch.no_grad():
        core.convolutions[0].weight.copy_((torch.arange(16) ** 2 / 10).reshape(1, 1, 4, 4))
    for pixel, value in enumerate(expected.flatten()):
        core.laplace_weights.zero_().view(-1)[pixel] = 1
        close(core.laplace(), value**2 / 16 / 2, 1e-4)


@pytest.mark.parametrize(("border", "expected"), [(None, 1.117900), ((0.5, 0.0), 0.852310), ((1.0, 0.5), 0.960265)])
def test_laplace_regularizer(border, expected):
    """G2."""
    close(toy_core(border=border).laplace(), expected)


def test_border_weights():
    """G3."""
    close(
        gaussian_weights(5, 0.5, 0.0)[:3, :3],
        [[0.981684, 0.917915, 0.864665], [0.917915, 0.632121, 0.393469], [0.864665, 0.393469, 0]],
    )
    weights = gaussian_weights(5, 1.0, 0.5)
    close(
        weights[:3, :3],
        [[1.132121, 0.964739, 0.893469], [0.964739, 0.721199, 0.617503], [0.893469, 0.617503, 0.5]],
    )
    close(weights, weights.flip(0).double(), 0)
    close(weights, weights.T.double(), 0)


def test_toy_core_regularizers():
    """G4; the linear model (G5) has the same."""
    for nonlinear in (True, False):
        core = toy_core(nonlinear=nonlinear)
        close(core.laplace(), 0.852310)
        close(core.group_sparsity(), 1.210769)
        close(core.regularizer(), 42.736574)


def test_toy_core_in_eval_mode():
    """G4."""
    maps = toy_core().eval()(IMAGE)
    assert maps.shape == (1, 6, 5, 6)
    close(maps.sum(), 141.178249)
    close(maps.abs().sum(), 274.312203)
    close(maps[0, :, 2, 3], [*FIRST_LAYER, *SECOND_LAYER, 8.228422, -0.999959])


def test_toy_core_in_train_mode():
    """G4: batch statistics, and their running averages."""
    core = toy_core().train()
    maps = core(IMAGES)
    close(maps.sum(), 63.960604)
    close(maps.abs().sum(), 248.691939)
    close(maps[1, :, 2, 3], [0.663116, 1.061763, -0.398291, -0.135241, -0.475410, 1.088961])
    close(core.norms[0].running_mean, [0.002683, 0.001817])
    close(core.norms[0].running_var, [1.076324, 1.045915])


def test_linear_core_keeps_batch_norm_and_loses_the_elus():
    """G5."""
    core = toy_core(nonlinear=False).eval()
    maps = core(IMAGE)
    close(maps.sum(), -6.700125)
    close(maps.abs().sum(), 736.924648)
    close(maps[0, :, 2, 3], [-2.339988, -1.809991, -2.779972, 3.370966, 17.270733, -21.090294])
    close(core(2 * IMAGE), 2 * maps, 1e-12)
    maps = core.train()(IMAGES)
    close(maps.sum(), 0.0)
    close(maps.abs().sum(), 313.946632)
    close(maps[1, :, 2, 3], [0.663116, 1.061763, -0.466460, -0.218528, -0.630173, 1.193029])


@pytest.mark.parametrize(
    ("skip", "in_channels", "total", "later", "sparsity", "regularizer"),
    [
        (0, [1, 2, 2, 2], 325.697946, [8.309516, 9.088516, 3.950822, 9.807023], 1.313890, 56.026389),
        (1, [1, 2, 2, 2], 325.697946, [8.309516, 9.088516, 3.950822, 9.807023], 1.313890, 56.026389),
        (2, [1, 2, 4, 4], 286.894586, [8.228422, -0.999959, 7.847942, -0.874809], 1.297225, 56.024723),
    ],
)
def test_skip_wiring(skip, in_channels, total, later, sparsity, regularizer):
    """G7, four layers, no border weights."""
    core = toy_core(layers=4, skip=skip, border=None).eval()
    assert [convolution.in_channels for convolution in core.convolutions] == in_channels
    maps = core(IMAGE)
    close(maps.sum(), total)
    close(maps[0, :, 2, 3], [*FIRST_LAYER, *SECOND_LAYER, *later])
    close(core.group_sparsity(), sparsity)
    close(core.regularizer(), regularizer)


def test_one_layer_has_no_group_sparsity():
    core = toy_core(layers=1)
    close(core.group_sparsity(), 0, 0)
    assert core.eval()(IMAGE).shape == (1, 2, 5, 6)


def paper_core():
    return StackedCore(32, 15, 7, 3, 3, 0.1, 50, 0.5, 0.0, True)


def test_shapes_of_the_paper():
    """Section 9: 15/7 kernels on a 36 x 64 image."""
    core = paper_core().eval()
    shapes = [tuple(convolution.weight.shape) for convolution in core.convolutions]
    assert shapes == [(32, 1, 15, 15), (32, 32, 7, 7), (32, 64, 7, 7)]
    assert all(convolution.bias is None for convolution in core.convolutions)
    assert sum(parameter.numel() for parameter in core.parameters()) == 157920
    with torch.no_grad():
        assert core(torch.zeros(1, 1, 36, 64)).shape == (1, 96, 22, 50)


def test_xavier_initialization():
    """Section 9: standard deviation of each layer's kernels; the first of 7200 draws, known to 0.8 %."""
    core = paper_core()
    core.initialize(torch.Generator().manual_seed(1))
    for convolution, std in zip(core.convolutions, (0.0164122, 0.0252538, 0.0206197), strict=True):
        weight = convolution.weight.detach()
        assert weight.std().item() == pytest.approx(std, rel=0.03)
        assert abs(weight.mean().item()) < 4 * std / weight.numel() ** 0.5
        assert weight.abs().max() > 3 * std  # normal, not uniform
    for norm in core.norms:
        assert norm.weight.eq(1).all() and norm.bias.eq(0).all()


def test_initialization_hangs_on_the_generator_alone():
    cores = [paper_core(), paper_core(), paper_core()]
    for core, seed, global_seed in zip(cores, (1, 1, 2), (10, 11, 10), strict=True):
        torch.manual_seed(global_seed)
        core.initialize(torch.Generator().manual_seed(seed))
    first, again, other = (core.convolutions[1].weight for core in cores)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
