import pytest
import torch
from golden import close, fill
from torch.nn import functional as F

from neurostatic.config import READOUTS, Network
from neurostatic.models.readouts import MaskReadout, build_readout, pooled, pyramid
from neurostatic.models.readouts.pyramids import FILTERS

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
KERNELS = {name: torch.outer(*[torch.tensor(row).double()] * 2) for name, row in FILTERS.items()}
SEPARABLE = KERNELS["gauss5x5"]
RAMP = torch.arange(42, dtype=torch.float64).reshape(1, 1, 6, 7) / 10
SHIFT = torch.tensor([[0.2, -0.1], [-0.3, 0.4]], dtype=torch.float64)
# The golden numbers were printed with the six-digit kernel. The convolutions below reproduce them with that kernel,
# to the printed digits; ours agree with the convolutions with our kernel exactly, and with the numbers to KERNEL.
KERNEL = 5e-6


def convolved_pyramid(maps, scale_n, downsample, kernel, skip_upsampling=False):
    """The pyramid as published, (image, channel, y, x), with a full kernel."""
    channels, half = maps.shape[1], len(kernel) // 2
    weight = kernel.to(maps).expand(channels, 1, *kernel.shape)
    levels = []
    for _ in range(scale_n):
        smooth = F.conv2d(maps, weight, padding=half, groups=channels)
        low = smooth[..., ::2, ::2] if downsample else smooth
        if downsample and not skip_upsampling:
            odd = ((maps.shape[2] + 1) % 2, (maps.shape[3] + 1) % 2)
            smooth = 4 * F.conv_transpose2d(low, weight, stride=2, padding=half, output_padding=odd, groups=channels)
        levels.append(maps - smooth)
        maps = low
    return [*levels, maps]


def convolved_readout(readout, config, maps, shift, kernel):
    """The published readout: sample every level, join, weigh."""
    points = readout.grid.clamp(-1, 1).expand(len(maps), -1, -1)
    points = points if shift is None else points + shift[:, None]
    skip_upsampling = config.readout == "ModifiedSpatialTransformerPyramid2d"
    sampled = [
        F.grid_sample(level, points[:, :, None], align_corners=True)[..., 0]
        for level in convolved_pyramid(maps, config.scale_n, config.downsample, kernel, skip_upsampling)
    ]
    features = readout.features.clamp(min=0) if readout.positive else readout.features
    return (torch.cat(sampled, 1) * features.flatten(0, 1)).sum(1) + readout.bias


def channels_last(maps):
    return maps.permute(0, 2, 3, 1)


def make_readout(config, channels, grid, bias, map_size=(6, 7)):
    """A readout of points with the golden features, published as (1, level * channel, 1, unit)."""
    readout = build_readout(config, channels, map_size, len(grid)).double()
    with torch.no_grad():
        readout.grid.copy_(torch.tensor(grid))
        readout.features.copy_(fill(tuple(readout.features.shape)))
        readout.bias.copy_(torch.tensor(bias, dtype=torch.float64))
    return readout


def small_readout(config):
    """G10's and G12's."""
    return make_readout(config, 3, [(-0.5, 0.25), (0.9, -0.9), (1.5, 0.0)], (0.1, 0.2, 0.3))


def config_of(variant="halving", scale_n=2, **changes):
    names = {"halving": {}, "full": {"downsample": False}}
    names["skipping"] = {"readout": "ModifiedSpatialTransformerPyramid2d"}
    return Network(scale_n=scale_n, **names[variant], **changes)


SMALL_MAPS = fill((2, 3, 6, 7), 5, 13)
LARGE_MAPS = fill((2, 4, 22, 50), 5, 13) + torch.arange(1100, dtype=torch.float64).reshape(1, 1, 22, 50) / 1100


def test_the_kernel_is_separable_and_equals_the_published_one():
    assert (SEPARABLE - PUBLISHED).abs().max() < 3e-7
    assert SEPARABLE.sum().item() == pytest.approx(0.999998, abs=1e-6)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize(("downsample", "skip_upsampling"), [(True, False), (True, True), (False, False)])
@pytest.mark.parametrize("size", [(6, 7), (9, 4), (22, 50), (1, 3)])
def test_pyramid_equals_the_one_made_of_convolutions(size, downsample, skip_upsampling, name):
    maps = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours, theirs = channels_last(maps).clone().requires_grad_(), maps.clone().requires_grad_()
    our_levels = pyramid(ours, 3, downsample, skip_upsampling, name)
    their_levels = convolved_pyramid(theirs, 3, downsample, KERNELS[name], skip_upsampling)
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


def test_pyramid_that_skips_upsampling():
    """G8."""
    sums = [18.479942, 6.184343, 3.231838]
    middle = [-0.190338, -0.228303, -0.141796, -0.049378]
    ours = [level[0, :, :, 0] for level in pyramid(channels_last(RAMP), 2, True, True)]
    published = [level[0, 0] for level in convolved_pyramid(RAMP, 2, True, PUBLISHED, True)]
    for levels, tolerance, tolerance_sum in ((published, 2e-6, 2e-6), (ours, KERNEL, 42 * KERNEL)):
        close(torch.stack([level.sum() for level in levels]), sums, tolerance_sum)
        close(levels[1][0], middle, tolerance)


def test_the_other_filters_are_the_published_ones():
    binomial = torch.tensor([1.0, 2, 1], dtype=torch.float64), torch.tensor([1.0, 4, 6, 4, 1], dtype=torch.float64)
    close(KERNELS["gauss3x3"], torch.outer(binomial[0], binomial[0]) / 16, 1e-12)
    close(KERNELS["laplace5x5"], torch.outer(binomial[1], binomial[1]) / 256, 1e-12)


def test_level_sizes_of_the_paper():
    """Section 9: 15/7 kernels on a 36 x 64 image."""
    sizes = [tuple(level.shape[1:3]) for level in pyramid(torch.zeros(1, 22, 50, 1), 5, True)]
    assert sizes == [(22, 50), (11, 25), (6, 13), (3, 7), (2, 4), (1, 2)]


@pytest.mark.parametrize(
    ("variant", "straight", "shifted"),
    [
        (
            "halving",
            [[-0.048421, 0.184158, 0.265851], [-0.089907, 0.253365, 0.472001]],
            [[-0.401012, 0.185690, 0.309541], [0.318477, 0.175162, 0.255707]],
        ),
        (
            "full",
            [[-0.042405, 0.196236, 0.236919], [-0.089262, 0.231582, 0.454472]],
            [[-0.381825, 0.191692, 0.291454], [0.322635, 0.148884, 0.240163]],
        ),
        (
            "skipping",
            [[-0.038523, 0.185046, 0.254134], [-0.087031, 0.250982, 0.463313]],
            [[-0.377349, 0.187455, 0.304556], [0.322584, 0.175956, 0.253218]],
        ),
    ],
)
def test_readout(variant, straight, shifted):
    """G10; the third unit's point is brought back to (1, 0)."""
    config = config_of(variant)
    readout = small_readout(config)
    for shift, expected in ((None, straight), (SHIFT, shifted)):
        response = readout(SMALL_MAPS, shift)
        close(response, expected, KERNEL)
        close(convolved_readout(readout, config, SMALL_MAPS, shift, PUBLISHED), expected)
        close(response, convolved_readout(readout, config, SMALL_MAPS, shift, SEPARABLE), 1e-12)
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
    config = Network(downsample=downsample)
    readout = make_readout(config, 4, [(-0.6, 0.3), (0.05, -0.02), (0.99, 0.99), (0, 0)], (0.0,) * 4)
    for given, expected in ((None, straight), (shift, shifted)):
        response = readout(LARGE_MAPS, given)
        close(response, expected, KERNEL)
        close(convolved_readout(readout, config, LARGE_MAPS, given, PUBLISHED), expected)
        close(response, convolved_readout(readout, config, LARGE_MAPS, given, SEPARABLE), 1e-12)
    published = convolved_pyramid(LARGE_MAPS, 5, downsample, PUBLISHED)
    close(torch.stack([level.sum() for level in published]), sums, 1e-4)
    ours = pyramid(channels_last(LARGE_MAPS), 5, downsample)
    torch.testing.assert_close(
        torch.stack([level.sum() for level in ours]).float(), torch.tensor(sums), rtol=2e-5, atol=0
    )


def test_positive_features():
    """G10, skipping upsampling: after a read with `positive`, no feature is negative."""
    config = config_of("skipping", positive=True)
    readout = small_readout(config)
    close(readout.regularizer(), 0.277778)
    response = readout(SMALL_MAPS)
    close(readout.regularizer(), 0.140741)
    assert readout.features.min() == 0
    close(response, [[0.042179, 0.181595, 0.301761], [-0.020046, 0.258500, 0.286215]], KERNEL)
    assert not torch.allclose(response, small_readout(config_of("skipping"))(SMALL_MAPS))


def test_a_read_of_single_units_brings_points_and_features_back_too():
    """Of a network that still learns: image by image, or all at once, the same."""
    readout = small_readout(config_of("skipping", positive=True))
    with torch.no_grad():
        readout.grid.mul_(3.0)
    units = torch.tensor([2, 1])
    maps = SMALL_MAPS[:2]
    points = readout.points(2, None, units)
    assert points.abs().max() <= 1
    paired = readout.read(maps, points, units)
    torch.testing.assert_close(paired, readout(maps)[torch.arange(2), units])
    assert readout.features.min() == 0


@pytest.mark.parametrize(
    ("config", "straight", "shifted"),
    [
        (
            Network(readout="SpatialTransformerPooled2d", pool_steps=2),
            [[-0.054688, 0.100150, 0.198125], [-0.097812, 0.348675, 0.615625]],
            [[-0.427388, 0.088875, 0.255425], [0.309325, 0.197875, 0.313625]],
        ),
        (
            Network(readout="SpatialTransformerPooled2d", pool_steps=0),
            [[-0.071875, 0.172750, 0.250000], [-0.091875, 0.265000, 0.490000]],
            [[-0.431875, 0.172000, 0.296000], [0.307500, 0.166000, 0.260500]],
        ),
        (
            Network(readout="SpatialTransformer2d"),
            [[-0.071875, 0.172750, 0.250000], [-0.091875, 0.265000, 0.490000]],
            [[-0.431875, 0.172000, 0.296000], [0.307500, 0.166000, 0.260500]],
        ),
    ],
)
def test_readout_of_pooled_maps(config, straight, shifted):
    """G12."""
    readout = small_readout(config)
    close(readout(SMALL_MAPS), straight)
    close(readout(SMALL_MAPS, SHIFT), shifted)
    close(readout.regularizer(), readout.features.abs().mean() * config.gamma_features)


def test_pooling_leaves_out_an_odd_row():
    maps = torch.arange(15.0).reshape(1, 3, 5, 1)
    assert [tuple(level.shape[1:3]) for level in pooled(maps, 1)] == [(3, 5), (1, 2)]
    assert pooled(maps, 1)[1].flatten().tolist() == [3.0, 5.0]


@pytest.mark.parametrize(
    ("positive", "expected"),
    [
        (False, [[0.007062, 0.108309], [0.118588, 0.179100]]),
        (True, [[0.109638, 0.179100], [0.043549, 0.189213]]),
    ],
)
def test_readout_of_masks(positive, expected):
    """G13; the regularizer as intended, the mean over all elements of |mask features|."""
    readout = MaskReadout(3, 2, (6, 7), 1.0, positive, normalize=True).double()
    with torch.no_grad():
        readout.masks.copy_(fill((2, 1, 6, 7))[:, 0])
        readout.features.copy_(fill((2, 3, 1, 1))[..., 0, 0].T)
        readout.bias.copy_(torch.tensor([0.1, 0.2]))
    close(readout(SMALL_MAPS), expected)
    if not positive:
        close(readout.regularizer(), 0.028462)
    assert readout.masks.min() == 0 and (readout.features.min() >= 0) == positive
    full = torch.einsum("uyx,cu->ucyx", readout.masks / readout.masks.square().sum((1, 2), keepdim=True).sqrt(),
                        readout.features)  # fmt: skip
    close(readout(SMALL_MAPS), torch.einsum("ncyx,ucyx->nu", SMALL_MAPS, full) + readout.bias, 1e-5)
    close(readout.regularizer(), full.abs().mean(), 1e-5)


def test_a_mask_that_is_gone_leaves_the_others_a_gradient():
    """A unit whose mask is negative everywhere answers with its bias; nothing becomes NaN."""
    readout = MaskReadout(3, 2, (6, 7), 1.0, False, normalize=True).double()
    readout.initialize(torch.ones(2), torch.Generator().manual_seed(0))
    with torch.no_grad():
        readout.masks[0] = -1
        readout.features.fill_(1)
    response = readout(SMALL_MAPS)
    (response.sum() + readout.regularizer()).backward()
    assert response[:, 0].eq(0).all()
    assert all(parameter.grad.isfinite().all() for parameter in readout.parameters())


def any_readout(name, n_units=3, map_size=(9, 11), channels=3, **settings):
    """A readout of each kind whose units and channels differ."""
    config = Network(readout=name, **{"scale_n": 2, "pool_steps": 1, "gamma_readout": 0.5} | settings)
    readout = build_readout(config, channels, map_size, n_units).double()
    generator = torch.Generator().manual_seed(1)
    readout.initialize(torch.rand(n_units, generator=generator), generator)
    with torch.no_grad():
        readout.features.normal_(generator=generator)
        if name == "SpatialXFeatures":
            readout.masks.uniform_(0, 1, generator=generator)
            readout.masks[:, :, :4] = 0  # so that a shift to the left moves nothing out of sight
            readout.masks[:, :, 6:] = 0
            readout.masks[:, :3] = 0
            readout.masks[:, 6:] = 0
    return readout


@pytest.mark.parametrize("name", READOUTS)
@pytest.mark.parametrize("shifted", [True, False])
def test_one_unit_an_image_equals_the_full_readout(name, shifted):
    readout = any_readout(name).requires_grad_(False)
    units = torch.tensor([2, 0, 0, 1, 2])
    maps = torch.randn(5, 3, 9, 11, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
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


@pytest.mark.parametrize("name", READOUTS)
def test_every_readout_follows_the_eye(name):
    """A shift of k pixels reads what k pixels to the side would be read without; a shift of zero changes nothing."""
    readout = any_readout(name, downsample=False, pool_steps=0)
    maps = torch.zeros(2, 3, 9, 11, dtype=torch.float64)
    maps[:, :, 2:7, 3:8] = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    straight = readout(maps)
    close(readout(maps, torch.zeros(2, 2, dtype=torch.float64)), straight, 1e-12)
    pixels = torch.tensor([[1, 0], [-1, 2]])  # x, y
    shift = 2 * pixels / torch.tensor([10.0, 8.0], dtype=torch.float64)
    moved = torch.stack([image.roll((-int(y), -int(x)), (1, 2)) for image, (x, y) in zip(maps, pixels, strict=True)])
    close(readout(maps, shift), readout(moved), 1e-9)
    assert (readout(maps, shift) - straight).abs().max() > 0.01
    leaf = shift.clone().requires_grad_()
    readout(maps, leaf + 0.01).sum().backward()
    assert leaf.grad.abs().min() > 0  # the shifter learns


@pytest.mark.parametrize("name", READOUTS)
def test_initialization(name):
    """G23: bias = mean response - 1; all depends on the generator alone."""
    first, again, other = (build_readout(Network(readout=name), 4, (30, 40), 3) for _ in range(3))
    mean = torch.tensor([0.4, 1.0, 2.5])
    for readout, seed in ((first, 0), (again, 0), (other, 1)):
        torch.manual_seed(7 + seed)
        readout.initialize(mean, torch.Generator().manual_seed(seed))
        close(readout.bias, [-0.6, 0.0, 1.5], 1e-7)
    states = [torch.cat([value.flatten() for value in readout.state_dict().values()]) for readout in (first, again)]
    assert torch.equal(*states)
    drawn = "masks" if name == "SpatialXFeatures" else "grid"
    assert not torch.equal(first.state_dict()[drawn], other.state_dict()[drawn])


@pytest.mark.parametrize(
    ("name", "init_range"),
    [("SpatialTransformerPyramid2d", 0.1), ("SpatialTransformer2d", 0.1), ("FullGaussian2d", 0.3)],
)
def test_points_begin_in_the_middle_with_equal_features(name, init_range):
    """Section 3.1: features 1/channels, points uniform."""
    readout = build_readout(Network(readout=name), 4, (22, 50), 2000)
    readout.initialize(torch.ones(2000), torch.Generator().manual_seed(0))
    assert readout.features.eq(0.25).all()
    close(readout.regularizer(), 0.25, 1e-7)
    grid = readout.grid.detach()
    assert 0.99 * init_range < grid.abs().max() <= init_range
    assert grid.std().item() == pytest.approx(init_range / 3**0.5, rel=0.05)


@pytest.mark.parametrize("name", READOUTS)
def test_a_single_unit_keeps_its_shape(name):
    readout = build_readout(Network(readout=name), 4, (17, 18), 1)
    readout.initialize(torch.tensor([2.0]), torch.Generator().manual_seed(0))
    assert readout.bias.shape == (1,) and readout(torch.ones(3, 4, 17, 18)).shape == (3, 1)


def gaussian_readout(spread):
    readout = any_readout("FullGaussian2d", n_units=2)
    with torch.no_grad():
        readout.grid.copy_(torch.tensor([[0.1, -0.2], [0.0, 0.3]]))
        readout.spread.copy_(torch.tensor(spread))
    return readout


def test_points_of_a_gaussian_readout_scatter_as_its_spread_says():
    """On a linear ramp the mean response is that of the mean point, and the variance that of the covariance."""
    spread = [[[0.1, 0.0], [0.05, 0.08]], [[0.02, 0.03], [0.0, 0.0]]]
    readout = gaussian_readout(spread)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 9), torch.linspace(-1, 1, 11), indexing="ij")
    slope = torch.tensor([2.0, -1.0], dtype=torch.float64)  # along x, y
    maps = (slope[0] * x + slope[1] * y).double().expand(20_000, 3, 9, 11)
    with torch.no_grad():
        readout.features.fill_(1 / 3)
        readout.bias.zero_()
        random = readout(maps, noise=torch.Generator().manual_seed(0))
        mean = readout(maps[:1])[0]
    covariance = torch.tensor(spread).double() @ torch.tensor(spread).double().mT
    variance = torch.einsum("i,uij,j->u", slope, covariance, slope)
    close(random.mean(0), mean, 4 * float((variance / 20_000).sqrt().max()))
    torch.testing.assert_close(random.var(0), variance, rtol=0.05, atol=0)
    close(mean, (readout.grid * slope).sum(1).detach(), 1e-6)


def test_points_of_a_gaussian_readout_stay_on_the_maps_and_depend_on_the_generator_alone():
    readout = gaussian_readout([[[5.0, 0.0], [0.0, 5.0]]] * 2)
    points = readout._points(100, torch.Generator().manual_seed(0))
    assert points.abs().max() == 1
    assert torch.equal(points, readout._points(100, torch.Generator().manual_seed(0)))
    assert not torch.equal(points, readout._points(100, torch.Generator().manual_seed(1)))
    assert readout._points(4, None).eq(readout.grid).all()
    maps = torch.randn(4, 3, 9, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    small = gaussian_readout([[[0.1, 0.0], [0.0, 0.1]]] * 2)
    small(maps, noise=torch.Generator().manual_seed(0)).sum().backward()
    assert small.spread.grad[:, [0, 1], [0, 1]].abs().min() > 0  # the spread is learned
