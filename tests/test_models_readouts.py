import pytest
import torch
from golden import close, fill
from torch.nn import functional as F

from neurostatic.models.readouts import GAUSS_5, PyramidReadout, pyramid

PUBLISHED = torch.tensor(
    [
        [0.003765, 0.015019, 0.023792, 0.015019, 0.003765],
        [0.015019, 0.059912, 0.094907, 0.059912, 0.015019],
        [0.023792, 0.094907, 0.150342, 0.094907, 0.023792],
        [0.015019, 0.059912, 0.094907, 0.059912, 0.015019],
        [0.003765, 0.015019, 0.023792, 0.015019, 0.003765],
    ],
    dtype=torch.float64,
)
SEPARABLE = torch.outer(GAUSS_5.double(), GAUSS_5.double())
RAMP = torch.arange(42, dtype=torch.float64).reshape(1, 1, 6, 7) / 10
SHIFT = torch.tensor([[0.2, -0.1], [-0.3, 0.4]], dtype=torch.float64)
# The golden numbers were printed with the six-digit kernel. The convolutions below reproduce them with that kernel,
# to the printed digits; ours agree with the convolutions with our kernel exactly, and with the numbers to KERNEL.
KERNEL = 5e-6


def convolved_pyramid(maps, scale_n, downsample, kernel):
    """The pyramid as published, (image, channel, y, x), with a full 5 x 5 kernel."""
    channels = maps.shape[1]
    weight = kernel.to(maps).expand(channels, 1, 5, 5)
    levels = []
    for _ in range(scale_n):
        low = F.conv2d(maps, weight, padding=2, groups=channels)
        if downsample:
            low = low[..., ::2, ::2]
            odd = ((maps.shape[2] + 1) % 2, (maps.shape[3] + 1) % 2)
            up = 4 * F.conv_transpose2d(low, weight, stride=2, padding=2, output_padding=odd, groups=channels)
            levels.append(maps - up)
        else:
            levels.append(maps - low)
        maps = low
    return [*levels, maps]


def convolved_readout(readout, maps, shift, kernel):
    """The published readout: sample every level, join, weigh."""
    points = readout.grid.clamp(-1, 1).expand(len(maps), -1, -1)
    points = points if shift is None else points + shift[:, None]
    sampled = [
        F.grid_sample(level, points[:, :, None], align_corners=True)[..., 0]
        for level in convolved_pyramid(maps, readout.scale_n, readout.downsample, kernel)
    ]
    features = readout.features.clamp(min=0) if readout.positive else readout.features
    return (torch.cat(sampled, 1) * features.flatten(0, 1)).sum(1) + readout.bias


def channels_last(maps):
    return maps.permute(0, 2, 3, 1)


def make_readout(grid, channels, scale_n, bias, downsample=True, positive=False):
    n_units = len(grid)
    readout = PyramidReadout(channels, n_units, scale_n, downsample, 1.0, positive).double()
    with torch.no_grad():
        readout.grid.copy_(torch.tensor(grid))
        readout.features.copy_(fill((scale_n + 1, channels, n_units)))  # published (1, level * channel, 1, unit)
        readout.bias.copy_(torch.tensor(bias, dtype=torch.float64))
    return readout


def small_readout(downsample=True, positive=False):
    """G10's."""
    return make_readout([(-0.5, 0.25), (0.9, -0.9), (1.5, 0.0)], 3, 2, (0.1, 0.2, 0.3), downsample, positive)


SMALL_MAPS = fill((2, 3, 6, 7), 5, 13)
LARGE_MAPS = fill((2, 4, 22, 50), 5, 13) + torch.arange(1100, dtype=torch.float64).reshape(1, 1, 22, 50) / 1100


def test_the_kernel_is_separable_and_equals_the_published_one():
    assert (SEPARABLE - PUBLISHED).abs().max() < 3e-7
    assert SEPARABLE.sum().item() == pytest.approx(0.999998, abs=1e-6)


@pytest.mark.parametrize("downsample", [True, False])
@pytest.mark.parametrize("size", [(6, 7), (9, 4), (22, 50), (1, 3)])
def test_pyramid_equals_the_one_made_of_convolutions(size, downsample):
    maps = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours, theirs = channels_last(maps).clone().requires_grad_(), maps.clone().requires_grad_()
    our_levels = pyramid(ours, 3, downsample)
    their_levels = convolved_pyramid(theirs, 3, downsample, SEPARABLE)
    for our_level, their_level in zip(our_levels, their_levels, strict=True):
        close(our_level, channels_last(their_level), 1e-12)
    sum(level.pow(2).sum() for level in our_levels).backward()
    sum(level.pow(2).sum() for level in their_levels).backward()
    close(ours.grad, channels_last(theirs.grad), 1e-12)


def test_pyramid_that_halves():
    """G8."""
    sums = [30.711119, 9.314822, 3.231838]
    fine = [-0.280403, -0.284468, -0.303019, -0.257618, -0.217089, -0.060065, 0.127702]
    fourth = [0.774379, 0.489709, 0.204172, 0.231727, 0.240346, 0.637518, 1.098780]
    middle = [
        [-0.196591, -0.140353, -0.048752, 0.105077],
        [0.422678, 0.825493, 0.964432, 0.869965],
        [1.124844, 1.845327, 1.968196, 1.574506],
    ]
    coarse = [[0.394330, 0.676586], [0.830297, 1.330626]]
    ours = [level[0, :, :, 0] for level in pyramid(channels_last(RAMP), 2, True)]
    published = [level[0, 0] for level in convolved_pyramid(RAMP, 2, True, PUBLISHED)]
    assert [tuple(level.shape) for level in ours] == [(6, 7), (3, 4), (2, 2)]
    for levels, tolerance, tolerance_sum in ((published, 2e-6, 2e-6), (ours, KERNEL, 42 * KERNEL)):
        close(torch.stack([level.sum() for level in levels]), sums, tolerance_sum)
        close(levels[0][0], fine, tolerance)
        close(levels[0][3], fourth, tolerance)
        close(levels[1], middle, tolerance)
        close(levels[2], coarse, tolerance)


def test_pyramid_of_full_size():
    """G8; its levels sum to the input."""
    sums = [18.479942, 12.166463, 55.453596]
    fine = [-0.203992, -0.215102, -0.196016, -0.165403, -0.134790, -0.058589, 0.158133]
    coarse = [0.235263, 0.374491, 0.469210, 0.531511, 0.565670, 0.525132, 0.364709]
    ours = [level[0, :, :, 0] for level in pyramid(channels_last(RAMP), 2, False)]
    published = [level[0, 0] for level in convolved_pyramid(RAMP, 2, False, PUBLISHED)]
    for levels, tolerance, tolerance_sum in ((published, 2e-6, 2e-6), (ours, KERNEL, 42 * KERNEL)):
        close(torch.stack([level.sum() for level in levels]), sums, tolerance_sum)
        close(levels[0][0], fine, tolerance)
        close(levels[2][0], coarse, tolerance)
        close(sum(levels), RAMP[0, 0], 1e-12)


def test_level_sizes_of_the_paper():
    """Section 9: 15/7 kernels on a 36 x 64 image."""
    sizes = [tuple(level.shape[1:3]) for level in pyramid(torch.zeros(1, 22, 50, 1), 5, True)]
    assert sizes == [(22, 50), (11, 25), (6, 13), (3, 7), (2, 4), (1, 2)]


@pytest.mark.parametrize(
    ("downsample", "straight", "shifted"),
    [
        (
            True,
            [[-0.048421, 0.184158, 0.265851], [-0.089907, 0.253365, 0.472001]],
            [[-0.401012, 0.185690, 0.309541], [0.318477, 0.175162, 0.255707]],
        ),
        (
            False,
            [[-0.042405, 0.196236, 0.236919], [-0.089262, 0.231582, 0.454472]],
            [[-0.381825, 0.191692, 0.291454], [0.322635, 0.148884, 0.240163]],
        ),
    ],
)
def test_readout(downsample, straight, shifted):
    """G10; the third unit's point is brought back to (1, 0)."""
    readout = small_readout(downsample)
    for shift, expected in ((None, straight), (SHIFT, shifted)):
        response = readout(SMALL_MAPS, shift)
        close(response, expected, KERNEL)
        close(convolved_readout(readout, SMALL_MAPS, shift, PUBLISHED), expected)
        close(response, convolved_readout(readout, SMALL_MAPS, shift, SEPARABLE), 1e-12)
    close(readout.grid, [[-0.5, 0.25], [0.9, -0.9], [1, 0]], 1e-7)
    close(readout.regularizer(), 0.277778)
    close(readout.features.abs().sum(), 7.5)


@pytest.mark.parametrize(
    ("downsample", "straight", "shifted", "sums"),
    [
        (
            True,
            [[0.095396, -0.002941, 0.378993, -0.027167], [0.055898, -0.108812, 0.105139, 0.048785]],
            [[0.071087, 0.006269, 0.042767, -0.139644], [0.054480, 0.074251, -0.005374, -0.154824]],
            [397.8059, 133.1918, 64.0913, 22.7488, 8.6614, 1.4679],
        ),
        (
            False,
            [[0.156821, -0.200806, 0.382567, 0.436648], [0.174798, -0.222907, 0.139398, 0.443242]],
            [[0.155878, -0.187527, 0, 0.415864], [0.089187, -0.141619, -0.052795, 0.320988]],
            [208.9920, 151.0681, 123.0369, 105.8599, 93.9726, 3712.8705],
        ),
    ],
)
def test_readout_of_full_map_size(downsample, straight, shifted, sums):
    """G11."""
    shift = torch.tensor([[0.1, 0.2], [-0.3, 0.0]], dtype=torch.float64)
    readout = make_readout([(-0.6, 0.3), (0.05, -0.02), (0.99, 0.99), (0, 0)], 4, 5, (0.0,) * 4, downsample)
    for given, expected in ((None, straight), (shift, shifted)):
        response = readout(LARGE_MAPS, given)
        close(response, expected, KERNEL)
        close(convolved_readout(readout, LARGE_MAPS, given, PUBLISHED), expected)
        close(response, convolved_readout(readout, LARGE_MAPS, given, SEPARABLE), 1e-12)
    published = convolved_pyramid(LARGE_MAPS, 5, downsample, PUBLISHED)
    close(torch.stack([level.sum() for level in published]), sums, 1e-4)
    ours = pyramid(channels_last(LARGE_MAPS), 5, downsample)
    torch.testing.assert_close(
        torch.stack([level.sum() for level in ours]).float(), torch.tensor(sums), rtol=2e-5, atol=0
    )


def test_positive_features():
    """G10: after a read with `positive`, no feature is negative."""
    readout = small_readout(positive=True)
    close(readout.regularizer(), 0.277778)
    response = readout(SMALL_MAPS)
    close(readout.regularizer(), 0.140741)
    assert readout.features.min() == 0
    close(response, convolved_readout(readout, SMALL_MAPS, None, SEPARABLE), 1e-12)
    assert not torch.allclose(response, small_readout()(SMALL_MAPS))


@pytest.mark.parametrize("downsample", [True, False])
@pytest.mark.parametrize("shifted", [True, False])
def test_one_unit_an_image_equals_the_full_readout(downsample, shifted):
    readout = small_readout(downsample)
    units = torch.tensor([2, 0, 0, 1, 2])
    maps = torch.randn(5, 3, 6, 7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    shift = maps[:, 0, 0, :2] / 5 if shifted else None
    pairs, full = maps.clone().requires_grad_(), maps.clone().requires_grad_()
    one = readout(pairs, shift, units)
    everyone = readout(full, shift).gather(1, units[:, None])[:, 0]
    assert one.shape == (5,)
    close(one, everyone, 1e-12)
    weights = torch.arange(1.0, 6.0)
    (one * weights).sum().backward()
    (everyone * weights).sum().backward()
    close(pairs.grad, full.grad, 1e-12)
    assert pairs.grad.abs().max() > 0.01


def test_initialization():
    """G23: bias = mean response - 1; section 3.1: features 1/channels, points within 0.1."""
    readout = PyramidReadout(4, 3, 5, True, 1.0, False)
    mean = torch.tensor([0.4, 1.0, 2.5])
    readout.initialize(mean, torch.Generator().manual_seed(0))
    close(readout.bias, [-0.6, 0.0, 1.5], 1e-7)
    assert readout.features.eq(0.25).all()
    close(readout.regularizer(), 0.25, 1e-7)

    readout = PyramidReadout(4, 2000, 5, True, 1.0, False)
    readout.initialize(torch.ones(2000), torch.Generator().manual_seed(0))
    grid = readout.grid.detach()
    assert 0.099 < grid.abs().max() <= 0.1
    assert grid.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.05)
    again = PyramidReadout(4, 2000, 5, True, 1.0, False)
    again.initialize(torch.ones(2000), torch.Generator().manual_seed(0))
    assert torch.equal(again.grid, readout.grid)


def test_a_single_unit_keeps_its_shape():
    readout = PyramidReadout(4, 1, 2, True, 1.0, False)
    readout.initialize(torch.tensor([2.0]), torch.Generator().manual_seed(0))
    assert readout.bias.shape == (1,) and readout(torch.ones(3, 4, 6, 7)).shape == (3, 1)
