import hashlib
import tracemalloc

import numpy as np
import pytest

from neurostatic.data import frames
from neurostatic.data.frames import aperture_mask, apply_aperture, area_resize, picture_hashes
from neurostatic.problems import InputError


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def area_mean(image, height, width):
    """One image by the definition: each target pixel is the mean of the source area that it covers."""
    n_y, n_x = image.shape
    resized = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            for y in range(n_y):
                for x in range(n_x):
                    tall = min((i + 1) * n_y / height, y + 1) - max(i * n_y / height, y)
                    wide = min((j + 1) * n_x / width, x + 1) - max(j * n_x / width, x)
                    resized[i, j] += max(tall, 0) * max(wide, 0) * image[y, x]
    return resized * height * width / (n_y * n_x)


def test_area_resize_of_bytes_rounds_half_to_even():  # G11
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8), (1, 144, 256))
    resized = area_resize(ramp, 36, 64)[0]
    assert resized.dtype == np.float32
    assert (resized == np.arange(2, 255, 4)).all()
    assert (area_resize(ramp.astype(np.float32), 36, 64)[0] == np.arange(1.5, 255, 4)).all()
    blocks = np.zeros((4, 16), np.uint8)
    for block, extra in enumerate((8, 24, 40, 56)):  # means 0.5, 1.5, 2.5, 3.5
        blocks[:, 4 * block : 4 * block + 4] = extra // 16
        blocks[:2, 4 * block : 4 * block + 4] += 1
    assert area_resize(blocks[None], 1, 4)[0, 0].tolist() == [0, 2, 2, 4]


def test_area_resize_by_two_rounds_half_up():  # G11
    blocks = np.array([[1, 1, 2, 2, 3, 3, 4, 4], [0, 0, 1, 1, 2, 2, 3, 3]], np.uint8)
    assert area_resize(blocks[None], 1, 4)[0, 0].tolist() == [1, 2, 3, 4]
    half = np.array([[0, 1, 2, 3]], np.uint8)  # halved in x alone: to even
    assert area_resize(half[None], 1, 2)[0, 0].tolist() == [0, 2]


def test_rounding_of_bytes_can_be_switched_off():
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8), (1, 144, 256))
    assert (area_resize(ramp, 36, 64, rounded=False)[0] == np.arange(1.5, 255, 4)).all()
    image = pixels(3, 72, 128)
    exact = area_resize(image, 36, 64, rounded=False)
    assert (exact == area_resize(image.astype(float), 36, 64)).all()
    assert (np.floor(exact + 0.5) == area_resize(image, 36, 64)).all()
    large = pixels(20, 144, 256)
    lost = area_resize(large, 36, 64) - area_resize(large, 36, 64, rounded=False)
    assert np.sqrt((lost**2).mean()) == pytest.approx(0.29, abs=0.01)  # what rounding costs


def test_area_resize_by_a_fraction():  # G11
    square = np.arange(25.0).reshape(1, 5, 5)
    assert area_resize(square, 2, 2)[0] == pytest.approx(np.array([[4.8, 7.2], [16.8, 19.2]]), abs=1e-6)
    row = np.array([[[0.0, 1, 2]]])
    assert area_resize(row, 1, 2)[0, 0] == pytest.approx([1 / 3, 5 / 3], abs=1e-6)
    image = np.random.default_rng(0).random((30, 100, 177))
    resized = area_resize(image, 36, 64)
    assert resized.mean((1, 2)) == pytest.approx(image.mean((1, 2)), abs=1e-5)  # light is kept


@pytest.mark.parametrize("source", [(7, 11), (5, 6), (4, 12), (9, 5), (4, 5)])
def test_area_resize_is_the_mean_of_the_area(source):
    image = pixels(1, *source)
    expected = area_mean(image[0], 4, 5)
    assert area_resize(image, 4, 5, rounded=False)[0] == pytest.approx(expected, abs=1e-4)
    ties = abs(expected % 1 - 0.5) < 1e-9
    assert (area_resize(image, 4, 5)[0] == np.rint(expected))[~ties].all()


def test_ties_of_a_fraction_are_ties():
    image = np.array([[0, 0, 0], [0, 3, 6]], np.uint8)  # means 0.5 and 2.5
    assert area_resize(image[None], 1, 2)[0].tolist() == [[0, 2]]


@pytest.mark.parametrize("source", [(72, 128), (144, 256), (100, 177), (36, 64), (40, 64)])
@pytest.mark.parametrize("n_channels", [1, 2, 3])
def test_a_channel_is_resized_as_if_it_were_alone(source, n_channels):
    image = pixels(4, *source, n_channels)
    resized = area_resize(image, 36, 64)
    assert resized.shape == (4, n_channels, 36, 64) and resized.dtype == np.float32
    for channel in range(n_channels):
        assert (resized[:, channel] == area_resize(image[..., channel], 36, 64)).all()
    rows = [3, 1, 1]
    assert (area_resize(image, 36, 64, rows) == resized[rows]).all()


@pytest.mark.parametrize("images", [pixels(23, 20, 31), pixels(23, 20, 31).astype(np.float32), pixels(23, 20, 31, 3)])
def test_block_by_block_equals_whole(monkeypatch, images):
    rows = np.random.default_rng(1).permutation(23)[:17]
    whole, chosen = area_resize(images, 9, 16), area_resize(images, 9, 16, rows)
    for n_bytes in (1, 8 * 20 * 31, 5 * 8 * 20 * 31):
        monkeypatch.setattr(frames, "BLOCK_BYTES", n_bytes)
        assert (area_resize(images, 9, 16) == whole).all()
        assert (area_resize(images, 9, 16, rows) == chosen).all()
    assert (chosen == whole[rows]).all()
    one_by_one = np.array([area_resize(images[row : row + 1], 9, 16)[0] for row in range(23)])
    assert (one_by_one == whole).all()


def test_rows_are_positions_or_a_mask():
    images = pixels(6, 8, 8)
    whole = area_resize(images, 4, 4)
    mask = np.array([True, False, False, True, True, False])
    assert (area_resize(images, 4, 4, mask) == whole[mask]).all()
    assert (area_resize(images, 4, 4, [-1, 0]) == whole[[5, 0]]).all()
    assert area_resize(images, 4, 4, []).shape == (0, 4, 4)
    with pytest.raises(IndexError):
        area_resize(images, 4, 4, [6])


def test_area_resize_does_not_enlarge():
    same = pixels(2, 36, 64)
    assert (area_resize(same, 36, 64) == same).all()
    noise = np.random.default_rng(0).normal(100, 30, (2, 36, 64)).astype(np.float32)
    assert (area_resize(noise, 36, 64) == noise).all()
    with pytest.raises(InputError, match="images of 20 x 64 px cannot be reduced to 36 x 64 px"):
        area_resize(np.zeros((1, 20, 64)), 36, 64)
    with pytest.raises(InputError, match="images of 36 x 63 px cannot be reduced to 36 x 64 px"):
        area_resize(np.zeros((1, 36, 63, 3)), 36, 64)


def test_area_resize_wants_images():
    with pytest.raises(InputError, match=r"images have shape \(36, 64\), allowed are \(image, y, x\) and"):
        area_resize(np.zeros((36, 64)), 36, 64)


@pytest.mark.parametrize("shape", [(2000, 1080, 1920), (700, 1080, 1920, 3)], ids=["gray", "color"])
def test_a_file_larger_than_memory_is_read_in_parts(tmp_path, shape):
    written = np.lib.format.open_memmap(tmp_path / "images.npy", "w+", np.uint8, shape)  # holes: no space on disk
    rows = [shape[0] - 1, 3, 250, 7, 3]
    written[3], written[-1] = 200, 100
    written.flush()
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    tracemalloc.start()
    try:
        resized = area_resize(images, 36, 64, rows)
        hashes = picture_hashes(images, rows)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 150e6  # of an array of 4 GB
    assert [set(np.unique(image)) for image in resized] == [{100}, {200}, {0}, {0}, {200}]
    assert hashes[1] == hashes[4] == hashlib.sha256(images[3].astype(np.float32)).hexdigest()
    assert len(set(hashes)) == 3


@pytest.mark.parametrize(("n_images", "height", "width"), [(24, 36, 64), (5, 540, 960), (5, 1000, 1900)])
def test_working_memory_is_bounded(n_images, height, width):
    images = np.zeros((n_images, 1080, 1920), np.uint8)  # 24: 400 MB in double precision
    tracemalloc.start()
    try:
        resized = area_resize(images, height, width)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - resized.nbytes < 300e6


def test_working_memory_of_apertures_is_bounded():
    images = np.zeros((6000, 36, 64), np.float32)
    tracemalloc.start()
    try:
        apply_aperture(images, 0.25, 0.05, 0, 0, 127)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - images.nbytes < 300e6


def test_picture_hashes():
    images = pixels(5, 6, 7)
    images[3] = images[1]
    hashes = picture_hashes(images)
    assert hashes[3] == hashes[1] and len(set(hashes)) == 4
    assert (picture_hashes(images, [4, 1, 3]) == hashes[[4, 1, 3]]).all()
    assert (picture_hashes(images[:, ::-1][:, ::-1]) == hashes).all()  # whatever the layout in memory
    color = np.stack([images, images, images], -1)
    color[3, 0, 0, 2] += 1
    assert len(set(picture_hashes(color))) == 5
    assert picture_hashes(images, []).shape == (0,)


def test_aperture_mask():  # G22
    alpha = aperture_mask(36, 64, 0.25, 0.05, 0, 0)
    assert alpha.shape == (36, 64)
    assert alpha.sum() == pytest.approx(624.92566, abs=1e-5)
    assert alpha[18, 32] == 1
    assert alpha[0, 0] == 0
    assert alpha.min() == 0 and alpha.max() == 1
    # The hole that upstream has at q = 0 lies on no pixel here, so its sum is the same.
    y, x = np.linspace(-18, 18, 36)[:, None], np.linspace(-32, 32, 64)
    q = (np.hypot(x, y) - 16) / 3.2 + 1
    assert not (q == 0).any()
    upstream = np.where(q < 0, 1, np.where((q > 0) & (q < 1), 0.5 * (1 + np.cos(np.pi * q)), 0))
    assert alpha == pytest.approx(upstream, abs=1e-12)


def test_aperture_mask_has_no_hole():
    # Pixels at -1 and 1 px, the center on the upper right one: its neighbors lie 2 px away, exactly at R - tau.
    alpha = aperture_mask(2, 2, 3.0, 2.0, 0.5, -0.5)
    assert alpha[0, 1] == alpha[0, 0] == alpha[1, 1] == 1
    assert 0 < alpha[1, 0] < 1


def test_aperture_mask_falls_from_the_inner_to_the_outer_radius():
    columns = np.linspace(-50, 50, 100)
    alpha = aperture_mask(1, 100, 0.3, 0.1, 0, -0.005)[0]  # the one row lies at -0.5 px
    inside, outside = np.abs(columns) <= 20, np.abs(columns) >= 30
    assert (alpha[inside] == 1).all()
    assert (alpha[outside] == 0).all()
    assert ((alpha > 0) & (alpha < 1))[~inside & ~outside].all()
    assert (np.diff(alpha[columns > 0]) <= 0).all()
    middle = np.abs(np.abs(columns) - 25).argmin()
    assert alpha[middle] == pytest.approx(0.5 * (1 + np.cos(np.pi * (abs(columns[middle]) - 20) / 10)))


def test_centers_are_to_the_right_and_downward_in_fractions_of_the_width():
    alpha = aperture_mask(101, 201, 0.05, 0.01, 0.25, 0.125)
    y, x = (np.arange(n) for n in alpha.shape)
    assert (alpha.sum(0) @ x) / alpha.sum() == pytest.approx(100 + 0.25 * 200, abs=0.5)
    assert (alpha.sum(1) @ y) / alpha.sum() == pytest.approx(50 + 0.125 * 200, abs=0.5)
    assert aperture_mask(36, 64, 0.2, 0.05, 0.1, 0)[:, ::-1] == pytest.approx(aperture_mask(36, 64, 0.2, 0.05, -0.1, 0))


def test_no_transition_is_a_hard_edge():
    alpha = aperture_mask(36, 64, 0.25, 0, 0, 0)
    distance = np.hypot(np.linspace(-32, 32, 64), np.linspace(-18, 18, 36)[:, None])
    assert (alpha == (distance < 16)).all()


def test_apertures_of_many_images_are_those_of_each():
    radius, transition = np.array([0.1, 0.25, 0.4]), np.array([0.05, 0.05, 0.1])
    x, y = np.array([0, 0.1, -0.2]), np.array([0.1, 0, 0.05])
    masks = aperture_mask(36, 64, radius, transition, x, y)
    assert masks.shape == (3, 36, 64)
    for mask, parameters in zip(masks, zip(radius, transition, x, y, strict=True), strict=True):
        assert (mask == aperture_mask(36, 64, *parameters)).all()


@pytest.mark.parametrize("n_channels", [(), (3,)], ids=["gray", "color"])
def test_apply_aperture(monkeypatch, n_channels):
    images = np.random.default_rng(0).uniform(0, 255, (5, *n_channels, 36, 64)).astype(np.float32)
    before = images.copy()
    radius = np.array([0.25, 1.0, 0.1, np.nan, 2.0])
    transition = np.array([0.05, np.nan, 0.1, np.nan, 0.0])
    x, y = np.array([0, np.nan, 0.2, np.nan, 0]), np.array([0, np.nan, -0.1, np.nan, 0])
    background = np.array([127.0, np.nan, 0.0, np.nan, 9])
    shown = apply_aperture(images, radius, transition, x, y, background)
    assert shown.dtype == np.float32 and shown.shape == images.shape
    assert (images == before).all()
    assert (shown[[1, 3, 4]] == images[[1, 3, 4]]).all()  # no window
    for row in (0, 2):
        alpha = aperture_mask(36, 64, radius[row], transition[row], x[row], y[row])
        assert shown[row] == pytest.approx((images[row] - background[row]) * alpha + background[row], abs=1e-4)
        assert (shown[row][..., alpha == 0] == background[row]).all()
        assert shown[row][..., alpha == 1] == pytest.approx(images[row][..., alpha == 1])
    monkeypatch.setattr(frames, "BLOCK_BYTES", 1)
    np.testing.assert_array_equal(apply_aperture(images, radius, transition, x, y, background), shown)


def test_one_aperture_for_all_images():
    images = pixels(3, 36, 64)
    shown = apply_aperture(images, 0.25, 0.05, 0, 0, 100)
    assert (shown == apply_aperture(images, np.full(3, 0.25), 0.05, np.zeros(3), 0, 100)).all()
    assert (shown[:, 0, 0] == 100).all() and (shown[:, 18, 32] == images[:, 18, 32]).all()
    assert (apply_aperture(images, 1, 0.05, 0, 0, 100) == images).all()
    assert apply_aperture(images[:0], np.zeros(0), 0.05, 0, 0, 100).shape == (0, 36, 64)


def test_apertures_that_do_not_fit_are_refused():
    images = np.zeros((3, 36, 64), np.float32)
    with pytest.raises(InputError, match=r"center_x of the apertures has shape \(2,\), there are 3 images"):
        apply_aperture(images, 0.25, 0.05, np.zeros(2), 0, 100)
    background = np.array([0, 0, np.nan])
    with pytest.raises(InputError, match=r"aperture of image 2: found radius 0.25, .*background_px nan, allowed"):
        apply_aperture(images, 0.25, 0.05, 0, 0, background)
