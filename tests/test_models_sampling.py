from contextlib import contextmanager

import pytest
import torch
from golden import close
from torch.nn import functional as F

from neurostatic.models.sampling import sample_bilinear, weigh_bilinear

RAMP = torch.arange(42, dtype=torch.float64).reshape(1, 6, 7, 1) / 10  # (image, y, x, channel)
BORDER = [(-1, -1), (1, 1), (1, -1), (-1, 1), (-1, 0.3), (1, -0.2), (0.4, -1), (-0.7, 1), (0, 0)]
OUTSIDE = [(1.2, 0), (-1.1, 0.5), (0.3, 1.15), (0.1, -1.3), (1.2, 1.2), (-1.05, -1.2), (3, 0), (0, -40), (1e6, 1e6)]


def grid_sample(maps, points):
    """torch's own, in our layout."""
    sampled = F.grid_sample(
        maps.permute(0, 3, 1, 2), points[:, :, None], mode="bilinear", padding_mode="zeros", align_corners=True
    )
    return sampled[..., 0].permute(0, 2, 1)


def test_the_corners_of_the_grid_are_pixel_centers():
    """G9; align_corners=False would give [0, .15, 2.05, 1.7, 0]."""
    points = torch.tensor([[[-1, -1], [1, -1], [0, 0], [0.5, -0.25], [1.2, 0]]], dtype=torch.float64)
    close(sample_bilinear(RAMP, points)[0, :, 0], [0, 0.6, 2.05, 1.7625, 0.94], 1e-12)


def test_the_first_coordinate_runs_along_the_width():
    points = torch.tensor([[[1.0, -1.0], [-1.0, 1.0]]], dtype=torch.float64)
    close(sample_bilinear(RAMP, points)[0, :, 0], [0.6, 3.5], 1e-12)


@pytest.mark.parametrize("size", [(6, 7), (5, 5), (2, 4), (1, 2), (1, 1)])
def test_it_equals_grid_sample_with_its_gradients(size):
    generator = torch.Generator().manual_seed(3)
    n_images = 3
    maps = torch.randn(n_images, *size, 4, generator=generator, dtype=torch.float64)
    inside = torch.rand(n_images, 40, 2, generator=generator, dtype=torch.float64) * 2.6 - 1.3
    fixed = torch.tensor(BORDER + OUTSIDE, dtype=torch.float64).expand(n_images, -1, -1)
    points = torch.cat([inside, fixed], 1)
    upstream = torch.randn(n_images, points.shape[1], 4, generator=generator, dtype=torch.float64)
    results = []
    for read in (sample_bilinear, grid_sample):
        m, p = maps.clone().requires_grad_(), points.clone().requires_grad_()
        sampled = read(m, p)
        sampled.backward(upstream)
        results.append((sampled.detach(), m.grad, p.grad))
    (ours, our_maps, our_points), (theirs, their_maps, their_points) = results
    close(ours, theirs, 1e-12)
    close(our_maps, their_maps, 1e-9)
    close(our_points, their_points, 1e-9)
    assert ours.abs().max() > 0.5


def test_far_outside_there_is_neither_value_nor_gradient():
    maps = (RAMP + 1).requires_grad_()
    points = torch.tensor([OUTSIDE[-3:]], dtype=torch.float64, requires_grad=True)
    sampled = sample_bilinear(maps, points)
    sampled.sum().backward()
    assert sampled.eq(0).all() and points.grad.eq(0).all() and maps.grad.eq(0).all()


def test_every_image_is_read_at_its_own_points():
    maps = torch.randn(3, 6, 7, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points = torch.tensor([[[0.1, 0.2]], [[-0.4, 0.9]], [[0.7, -0.3]]], dtype=torch.float64)
    together = sample_bilinear(maps, points)
    alone = torch.cat([sample_bilinear(maps[i : i + 1], points[i : i + 1]) for i in range(3)])
    assert torch.equal(together, alone)


def test_a_point_that_is_not_a_number_gives_nan_and_leaves_the_others():
    """A network that diverges has such points; training must see that its responses are not finite."""
    points = torch.tensor([[[float("nan"), 0.0], [0.0, 0.0], [0.0, float("inf")]]], dtype=torch.float64)
    sampled = sample_bilinear(RAMP, points)[0, :, 0]
    assert sampled[0].isnan()
    close(sampled[1], 2.05, 1e-12)


def test_the_gradient_of_units_that_share_a_pixel_has_the_same_bits_every_time():
    generator = torch.Generator().manual_seed(5)
    maps = torch.randn(4, 6, 7, 8, generator=generator)
    points = torch.rand(4, 500, 2, generator=generator) * 0.2 - 0.1
    weights = torch.randn(4, 500, 8, generator=generator)

    def gradient():
        leaf = maps.clone().requires_grad_()
        (sample_bilinear(leaf, points) * weights).sum().backward()
        return leaf.grad

    assert torch.equal(gradient(), gradient())


def weighed_plainly(levels, points, features):
    pairs = zip(levels, features, strict=True)
    return sum(torch.einsum("nuc,cu->nu", sample_bilinear(level, points), feature) for level, feature in pairs)


def drawn(n_images=3, sizes=((6, 7), (3, 4)), n_channels=5, n_units=40, dtype=torch.float64, seed=3):
    """Maps at each scale, points inside and out, features."""
    generator = torch.Generator().manual_seed(seed)
    levels = [torch.randn(n_images, *size, n_channels, generator=generator, dtype=dtype) for size in sizes]
    inside = torch.rand(n_images, n_units, 2, generator=generator, dtype=dtype) * 2.6 - 1.3
    points = torch.cat([inside, torch.tensor(BORDER + OUTSIDE, dtype=dtype).expand(n_images, -1, -1)], 1)
    return levels, points, torch.randn(len(sizes), n_channels, points.shape[1], generator=generator, dtype=dtype)


@contextmanager
def threads(n):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(n)
        yield
    finally:
        torch.set_num_threads(before)


def gradients(read, levels, points, features, upstream):
    inputs = [tensor.detach().requires_grad_() for tensor in (*levels, points, features)]
    seen = read(inputs[:-2], *inputs[-2:])
    return seen.detach(), torch.autograd.grad(seen, inputs, upstream)


@pytest.mark.parametrize("sizes", [[(6, 7), (3, 4), (2, 2)], [(5, 5)], [(1, 2), (1, 1)]])
@pytest.mark.parametrize("n_threads", [1, 3, 8])
def test_what_units_see_and_its_gradients_equal_the_plain_read(sizes, n_threads):
    """Compiled loops against torch; more threads than there are images leave some without work."""
    inputs = drawn(sizes=sizes)
    upstream = torch.randn(*inputs[1].shape[:2], generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    with threads(n_threads):
        ours, our_gradients = gradients(weigh_bilinear, *inputs, upstream)
    plain, plain_gradients = gradients(weighed_plainly, *inputs, upstream)
    close(ours, plain, 1e-12)
    for our_gradient, gradient in zip(our_gradients, plain_gradients, strict=True):
        close(our_gradient, gradient, 1e-10)
    assert plain.abs().max() > 0.5


def test_the_gradients_are_those_of_small_steps():
    levels, points, features = drawn(2, [(4, 5), (2, 3)], 3, 6)
    points = points[:, :6] * 0.6 + 0.013  # between pixels, where there is a derivative
    inputs = [tensor.contiguous().requires_grad_() for tensor in (*levels, points, features[..., :6])]
    assert torch.autograd.gradcheck(lambda fine, coarse, *rest: weigh_bilinear([fine, coarse], *rest), inputs)


def test_in_float32_units_see_the_same():
    inputs = drawn(dtype=torch.float32)
    close(weigh_bilinear(*inputs), weighed_plainly(*inputs), 1e-5)


def test_maps_of_any_layout_and_one_point_for_all_images():
    levels, points, features = drawn()
    points = points[:1].expand(len(points), -1, -1)
    turned = [level.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1) for level in levels]
    close(weigh_bilinear(turned, points, features.mT.contiguous().mT), weighed_plainly(levels, points, features), 1e-12)


def test_a_unit_at_no_number_sees_nan_and_leaves_the_others():
    levels, points, features = drawn()
    points[:, 0] = float("nan")
    seen = weigh_bilinear(levels, points, features)
    assert seen[:, 0].isnan().all()
    close(seen[:, 1:], weighed_plainly(levels, points, features)[:, 1:], 1e-12)


@pytest.mark.parametrize("wrong", ["image", "channel", "unit", "level"])
def test_sizes_that_differ_are_refused(wrong):
    """The compiled loops do not look where an array ends."""
    levels, points, features = drawn()
    if wrong == "image":
        levels[1] = levels[1][:2]
    elif wrong == "channel":
        levels[1] = levels[1][..., :4]
    elif wrong == "unit":
        features = features[..., :-1]
    else:
        features = features[:1]
    with pytest.raises(ValueError):
        weigh_bilinear(levels, points, features)


def test_no_image_and_no_unit_have_no_response():
    levels, points, features = drawn()
    assert weigh_bilinear([level[:0] for level in levels], points[:0], features).shape == (0, points.shape[1])
    assert weigh_bilinear(levels, points[:, :0], features[..., :0]).shape == (3, 0)


def test_all_gradients_have_the_same_bits_with_any_number_of_threads():
    inputs = drawn(4, n_units=300, dtype=torch.float32)
    upstream = torch.randn(*inputs[1].shape[:2], generator=torch.Generator().manual_seed(4))
    with threads(1):
        one, of_one = gradients(weigh_bilinear, *inputs, upstream)
    with threads(3):
        many, of_many = gradients(weigh_bilinear, *inputs, upstream)
    assert torch.equal(one, many)
    assert all(torch.equal(a, b) for a, b in zip(of_one, of_many, strict=True))
