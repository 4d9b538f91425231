import pytest
import torch
from golden import close, fill, fill_core

from neurostatic.config import CORES, Network
from neurostatic.models.cores import StackedCore, build_core, gaussian_weights, sigmoid_weights

IMAGE = fill((1, 1, 9, 10), 5, 13)
IMAGES = fill((2, 1, 9, 10), 5, 13)
FIRST_LAYER = [-0.903671, -0.836344]
SECOND_LAYER = [-0.863222, 2.686705]


def toy_core(layers=3, border_weights="published", **changes):
    """The toy core T, float64; border_weights None: A = 1."""
    if border_weights == "published":
        border_weights = gaussian_weights(5, 0.5, 0.0)
    settings = {"hidden_channels": 2, "input_kern": 5, "hidden_kern": 3, "layers": layers, "skip": 3}
    settings |= {"gamma_hidden": 0.1, "gamma_input": 50, "border_weights": border_weights}
    core = StackedCore(**(settings | changes)).double()
    fill_core(core)
    return core


def test_the_deterministic_fill():
    close(fill((2, 3)), [[-0.5, 0.2, -0.2], [0.5, 0.1, -0.3]], 1e-15)
    close(fill((2, 3), 5, 13), [[-0.6, -0.1, 0.4], [-0.4, 0.1, 0.6]], 1e-15)


def test_laplace_filter():
    """G1: with one-hot border weights the regularizer shows the filtered kernel, pixel by pixel (squared)."""
    core = StackedCore(1, 4, 3, 1, gamma_input=1.0, border_weights=torch.zeros(4, 4)).double()
    expected = torch.tensor(
        [[-1.7, -2.5, -3, -1.7], [-2.5, -3.4, -3.4, 3], [1.5, -3.4, -3.4, 11], [34.3, 25.5, 29, 58.3]]
    )
    kernel = (torch.arange(16) ** 2 / 10).reshape(1, 1, 4, 4)
    with torch.no_grad():
        core.convolutions[0].weight.copy_(kernel)
    for pixel, value in enumerate(expected.flatten()):
        core.border_weights.zero_().view(-1)[pixel] = 1
        close(core.laplace(), value**2 / 16 / 2, 1e-4)
    padded = torch.nn.functional.conv2d(kernel.double(), core.laplace_filter, padding=1)
    close(padded[0, 0], expected, 1e-5)
    valid = StackedCore(1, 4, 3, 1, laplace_padding=0).double()
    with torch.no_grad():
        valid.convolutions[0].weight.copy_(kernel)
    close(valid.laplace(), 3.4**2 / 2, 1e-6)


@pytest.mark.parametrize(
    ("border_weights", "padding", "expected"),
    [
        (None, 1, 1.117900),
        (None, 0, 1.142778),
        (gaussian_weights(5, 0.5, 0.0), 1, 0.852310),
        (gaussian_weights(5, 1.0, 0.5), 1, 0.960265),
        (sigmoid_weights(5, 1.0, 0.5), 1, 0.675842),
        (sigmoid_weights(5, 2.0, 0.5), 1, 0.772642),
    ],
)
def test_laplace_regularizer(border_weights, padding, expected):
    """G2."""
    close(toy_core(border_weights=border_weights, laplace_padding=padding).laplace(), expected)


def test_border_weights_without_padding_are_refused():
    with pytest.raises(ValueError, match="border_weights need laplace_padding"):
        toy_core(laplace_padding=0)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (
            gaussian_weights(5, 0.5, 0.0),
            [[0.981684, 0.917915, 0.864665], [0.917915, 0.632121, 0.393469], [0.864665, 0.393469, 0]],
        ),
        (
            gaussian_weights(5, 1.0, 0.5),
            [[1.132121, 0.964739, 0.893469], [0.964739, 0.721199, 0.617503], [0.893469, 0.617503, 0.5]],
        ),
        (
            sigmoid_weights(5, 1.0, 0.5),
            [[0.713862, 0.649771, 0.622459], [0.649771, 0.551592, 0.5], [0.622459, 0.5, 0.377541]],
        ),
        (
            sigmoid_weights(5, 2.0, 0.5),
            [[0.861574, 0.774879, 0.731059], [0.774879, 0.602098, 0.5], [0.731059, 0.5, 0.268941]],
        ),
    ],
)
def test_border_weights(weights, expected):
    """G3; they are symmetric."""
    close(weights[:3, :3], expected)
    close(weights, weights.flip(0).double(), 1e-6)
    close(weights, weights.T.double(), 1e-6)


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
    close(core(2 * IMAGE), 2 * maps, 1e-12)  # no nonlinearity is left
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
    core = toy_core(layers=4, skip=skip, border_weights=None).eval()
    assert [convolution.in_channels for convolution in core.convolutions] == in_channels
    maps = core(IMAGE)
    close(maps.sum(), total)
    close(maps[0, :, 2, 3], [*FIRST_LAYER, *SECOND_LAYER, *later])
    close(core.group_sparsity(), sparsity)
    close(core.regularizer(), regularizer)


@pytest.mark.parametrize(
    ("changes", "shape", "total", "pixel"),
    [
        ({"final_nonlinearity": False}, (1, 8, 5, 6), 123.897120, {6: 7.847942, 7: -2.077915}),
        ({"batch_norm": False}, (1, 8, 5, 6), 286.899059, {}),
        ({"pad_input": True}, (1, 8, 9, 10), 922.665360, {0: 1.469993, 1: 1.389993}),
    ],
)
def test_variants_of_the_stack(changes, shape, total, pixel):
    """G7, skip 2."""
    maps = toy_core(layers=4, skip=2, border_weights=None, **changes).eval()(IMAGE)
    assert maps.shape == shape
    close(maps.sum(), total)
    for channel, value in pixel.items():
        close(maps[0, channel, 2, 3], value)


def test_linear_core_of_one_layer():
    """G6: padded, batch norm, no ELU."""
    config = Network(core="LinearGaussianLaplace", hidden_channels=2, input_kern=5)
    core = build_core(config, 1).double().eval()
    fill_core(core)
    assert len(core.convolutions) == len(core.norms) == 1 and core.convolutions[0].padding == (2, 2)
    maps = core(IMAGE)
    assert maps.shape == (1, 2, 9, 10)
    close(maps.sum(), 0.419998)
    close(maps[0, :, 2, 3], [1.469993, 1.389993])
    close(core.regularizer(), 42.615497)


def test_one_layer_has_no_group_sparsity():
    core = toy_core(layers=1)
    close(core.group_sparsity(), 0, 0)
    assert core.eval()(IMAGE).shape == (1, 2, 5, 6)


def test_biases_begin_at_zero():
    core = toy_core(bias=True)
    core.initialize(torch.Generator().manual_seed(0))
    assert all(convolution.bias.eq(0).all() for convolution in core.convolutions)


TOY = {"hidden_channels": 2, "input_kern": 5, "hidden_kern": 3}
T_REGULARIZERS = {  # laplace of K by G2 (times gamma_input 50) and group sparsity by G4 (times gamma_hidden 0.1)
    "Stacked2d": 50 * 1.142778 + 0.1210769,
    "ModStacked2d": 50 * 1.117900 + 0.1210769,
    "SigmoidLaplace": 50 * 0.675842 + 0.1210769,
    "GaussianLaplace": 42.736574,
    "StackedLinearGaussianLaplace": 42.736574,
    "Linear": 50 * 1.142778,
    "ModLinear": 50 * 1.117900,
    "LinearSigmoidLaplace": 50 * 0.675842,
    "LinearGaussianLaplace": 42.615497,
    "Identity": 0,
}


@pytest.mark.parametrize("name", CORES)
def test_every_core_by_its_name(name):
    """Regularizer, size of the maps, and whether it is linear, of each CoreConfig."""
    config = Network(core=name, **TOY)
    core = build_core(config, 1).double().eval()
    fill_core(core)
    close(core.regularizer(), T_REGULARIZERS[name], 5e-5)
    maps = core(IMAGE)
    assert maps.shape[2:] == config.map_size(9, 10)
    assert maps.shape[1] == core.out_channels == {0: 1, 1: 2, 3: 6}[config.depth]
    linear = torch.allclose(core(2 * IMAGE), 2 * maps)
    assert linear == (config.model_type == "linear")
    if name == "Identity":
        assert maps is IMAGE and not list(core.parameters())


@pytest.mark.parametrize(
    ("settings", "shapes", "map_size", "n_parameters"),
    [
        ({}, [(32, 1, 15, 15), (32, 32, 7, 7), (32, 64, 7, 7)], (22, 50), 157920),
        ({"input_kern": 11, "hidden_kern": 3}, [(32, 1, 11, 11), (32, 32, 3, 3), (32, 64, 3, 3)], (26, 54), 31712),
        ({"core": "LinearGaussianLaplace", "input_kern": 19}, [(32, 1, 19, 19)], (36, 64), 11616),
        ({"core": "Linear", "input_kern": 13}, [(32, 1, 13, 13)], (36, 64), 5472),
        (
            {"core": "Stacked2d", "input_kern": 18, "hidden_kern": 1},
            [(32, 1, 18, 18), (32, 32, 1, 1), (32, 64, 1, 1)],
            (19, 47),
            13632,
        ),
        (
            {"core": "Stacked2d", "input_kern": 13, "skip": 0},
            [(32, 1, 13, 13), (32, 32, 7, 7), (32, 32, 7, 7)],
            (24, 52),
            105952,
        ),
    ],
)
def test_published_shapes(settings, shapes, map_size, n_parameters):
    """Section 9, images of 36 x 64 px."""
    config = Network(**settings)
    core = build_core(config, 1).eval()
    assert [tuple(convolution.weight.shape) for convolution in core.convolutions] == shapes
    assert config.map_size(36, 64) == map_size
    with torch.no_grad():
        assert core(torch.zeros(1, 1, 36, 64)).shape[2:] == map_size
    assert sum(parameter.numel() for parameter in core.parameters()) == n_parameters


def paper_core():
    return build_core(Network(), 1)


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


@pytest.mark.parametrize("bias", [False, True])
def test_in_eval_mode_batch_norm_is_part_of_the_kernels(bias):
    """The same maps and gradients as of convolution, batch norm and ELU one after the other."""
    generator = torch.Generator().manual_seed(0)
    core = StackedCore(4, 5, 3, 3, skip=2, bias=bias, final_nonlinearity=False).double()
    core.initialize(generator)
    with torch.no_grad():
        for convolution, norm in zip(core.convolutions, core.norms, strict=True):
            if bias:
                convolution.bias.normal_(generator=generator)
            norm.weight.uniform_(0.5, 2, generator=generator)
            for values in (norm.bias, norm.running_mean):
                values.normal_(generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
    core.eval()
    images = torch.randn(3, 1, 12, 14, generator=generator).double()
    maps = core(images)
    outputs = []
    for layer, (convolution, norm) in enumerate(zip(core.convolutions, core.norms, strict=True)):
        output = norm(convolution(torch.cat(outputs[-2:], 1) if outputs else images))
        outputs.append(torch.nn.functional.elu(output) if layer < 2 else output)
    expected = torch.cat(outputs, 1)
    close(maps, expected, 1e-12)
    parameters, upstream = list(core.parameters()), torch.randn(maps.shape, generator=generator).double()
    gradients = (torch.autograd.grad(found, parameters, upstream) for found in (maps, expected))
    for ours, theirs in zip(*gradients, strict=True):
        close(ours, theirs, 1e-10)
