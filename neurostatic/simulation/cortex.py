"""The virtual mouse's cells: where they are, what excites them, and the image that excites each of them most."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

KINDS = {"linear": 0.10, "simple": 0.15, "complex": 0.25, "end_stopped": 0.20, "curved": 0.30}  # and their shares
HEIGHT_PX, WIDTH_PX = 36, 64  # the cells see the monitor at the resolution of the models
GREY_PX = 128.0
CONTRAST_UNIT_PX = 50.0  # contrast of a typical natural image, so that filter outputs are of order one
MONITOR_GAMMA = 2.1  # the mouse sees the monitor's light, luminance ~ px^gamma, and not gray levels
END_STOP_WEIGHT = 1.0
END_DISTANCE = 2.2  # of the end zones of a cell from its center along the bars, in sizes of the receptive field
BEND_DEG, ARM = 45.0, 1.8  # of a curved cell: angle between neighboring parts of its curve, and their distance
EXTENT_UM = 400.0  # of the imaged square
DEPTHS_UM = np.array([150.0, 190.0, 230.0, 270.0, 310.0, 420.0])  # five in L2/3, one in L4
L4_UM = 370.0  # where layer 4 begins
AREA_NAMES = ("V1", "LM")
V1_END, LM_START = 0.75, 0.79  # of the extent along x; the strip between them belongs to neither


def at_cell_resolution(images_px: np.ndarray) -> np.ndarray:
    """Mean over blocks: (image, y, x) of a whole multiple of 36 x 64 px -> (image, 36, 64) px."""
    n_images, height, width = images_px.shape
    blocks = images_px.reshape(n_images, HEIGHT_PX, height // HEIGHT_PX, WIDTH_PX, width // WIDTH_PX)
    return blocks.mean((2, 4))


@dataclass(frozen=True)
class Cortex:
    """Cells of known kind.

    Attributes:
        cells: one row a cell: cell_id, kind, x_um, y_um, z_um, brain_area, layer, rf_x_px, rf_y_px, orientation_deg,
            wavelength_px, phase_deg, events (mean events a presentation), pupil_gain, running_gain, surround_weight.
        filters: (cell, filter, pixel) unit-norm Gabors: a quadrature pair in the center, one at each end; the ends of
            a curved cell are turned, so that the three make an arc.
        surround: (cell, pixel) weights, sum 1, of the local contrast that divides the response.
        evoked_scale: (cell,) evoked drive averaged over natural images, so that `evoked` has mean one.
    """

    cells: pd.DataFrame
    filters: torch.Tensor
    surround: torch.Tensor
    evoked_scale: torch.Tensor

    @classmethod
    def from_cells(cls, cells: pd.DataFrame, evoked_scale: torch.Tensor) -> "Cortex":
        """The cortex whose cells have these parameters."""
        return cls(cells, *_receptive_fields(cells), evoked_scale)

    def take(self, chosen: np.ndarray) -> "Cortex":
        """Some of the cells, in the given order."""
        cells = self.cells.iloc[chosen].reset_index(drop=True)
        rows = torch.tensor(np.array(chosen))
        return Cortex(cells, self.filters[rows], self.surround[rows], self.evoked_scale[rows])

    def evoked(self, images_px: torch.Tensor) -> torch.Tensor:
        """Noiseless evoked response at neutral gain, with mean one over natural images.

        center / (1 + w sqrt(sum_p s_p z_p^2)), center = by kind: elu(1 + 2 L) + 1, max(L, 0), E^1.5,
        max(E - (E_end1 + E_end2)/2, 0), or the E^1.5 of the whole arc (L + L_end1 + L_end2) / sqrt(3), with L a
        Gabor's output and E the energy sqrt(L^2 + L_quadrature^2).

        Filters see the light of the monitor (`light`).

        Args:
            images_px: (image, y, x) gray levels 0-255; or (image, cell, y, x), an own image for each cell.

        Returns:
            (image, cell).
        """
        z = light(images_px)
        if z.ndim == 3:
            z = z.flatten(1)  # (image, pixel)
            outputs = torch.einsum("np,ckp->nck", z, self.filters)
            local = z.square() @ self.surround.T
        else:
            z = z.flatten(2)  # (image, cell, pixel)
            outputs = torch.einsum("ncp,ckp->nck", z, self.filters)
            local = torch.einsum("ncp,cp->nc", z.square(), self.surround)
        weight = torch.tensor(self.cells.surround_weight.to_numpy(copy=True), dtype=z.dtype)
        normalized = outputs / (1 + weight * (local + 1e-6).sqrt())[..., None]
        linear = normalized[..., 0]
        energy = (normalized[..., 0::2].square() + normalized[..., 1::2].square() + 1e-6).sqrt()
        center, ends = energy[..., 0], energy[..., 1:].mean(-1)
        arc = torch.stack([normalized[..., part::2].sum(-1) for part in (0, 1)]) / 3**0.5  # quadrature pair
        by_kind = {
            "linear": torch.nn.functional.elu(1 + 2 * linear) + 1,
            "simple": linear.clamp(min=0),
            "complex": center**1.5,
            "end_stopped": (center - END_STOP_WEIGHT * ends).clamp(min=0),
            "curved": (arc.square().sum(0) + 1e-6).sqrt() ** 1.5,
        }
        evoked = torch.zeros_like(linear)
        for kind, response in by_kind.items():
            chosen = torch.tensor((self.cells.kind == kind).to_numpy(copy=True))
            evoked = torch.where(chosen, response, evoked)
        return evoked / self.evoked_scale


def light(images_px: torch.Tensor) -> torch.Tensor:
    """Light of gray levels on the monitor, 0 at mid gray; near it 1 is CONTRAST_UNIT_PX.

    z = ((px / gray)^gamma - 1) gray / (gamma unit)
    """
    return ((images_px.clamp(min=0) / GREY_PX) ** MONITOR_GAMMA - 1) * (GREY_PX / (MONITOR_GAMMA * CONTRAST_UNIT_PX))


def grow_cortex(n_cells: int, median_events: float, natural_images_px: np.ndarray, seed: int) -> Cortex:
    """Cells in a volume of 400 x 400 um over several depths, with retinotopy and receptive fields of known kind.

    The number of events a presentation is log-normal over cells: it sets how noisy each cell is.

    Args:
        n_cells: number of cells.
        median_events: median over cells of the mean number of events in one presentation.
        natural_images_px: (image, 36, 64), to scale each cell's evoked response to mean one.
        seed: the mouse.
    """
    rng = np.random.default_rng([seed, 1])
    cells = _place_cells(n_cells, rng)
    cells["kind"] = rng.choice(list(KINDS), n_cells, p=list(KINDS.values()))
    # Retinotopy: 400 um of cortex see the middle of the monitor; neighbors scatter by about a receptive field.
    cells["rf_x_px"] = (WIDTH_PX / 2 + (cells.x_um - 200) * 0.08 + rng.normal(0, 1.5, n_cells)).clip(12, 51)
    cells["rf_y_px"] = (HEIGHT_PX / 2 + (cells.y_um - 200) * 0.03 + rng.normal(0, 1.5, n_cells)).clip(11, 24)
    cells["orientation_deg"] = rng.uniform(0, 180, n_cells)
    cells["wavelength_px"] = rng.uniform(7, 11, n_cells)
    cells["phase_deg"] = rng.uniform(0, 360, n_cells)
    cells["events"] = median_events * np.exp(rng.normal(0, 0.8, n_cells))
    cells["pupil_gain"] = rng.normal(0.15, 0.1, n_cells)
    cells["running_gain"] = rng.normal(0.15, 0.1, n_cells)
    cells["surround_weight"] = rng.uniform(0.5, 1.0, n_cells)
    cortex = Cortex.from_cells(cells, torch.ones(n_cells))
    scale = cortex.evoked(torch.as_tensor(natural_images_px, dtype=torch.float32)).mean(0)
    return Cortex(cells, cortex.filters, cortex.surround, scale)


def true_meis(
    cortex: Cortex, contrast_px: float, seed: int, n_starts: int = 4, n_steps: int = 250
) -> tuple[torch.Tensor, torch.Tensor]:
    """The most exciting image of every cell among images of mean 128 px, one contrast, and range 0-255 px.

    Projected gradient ascent with momentum from the cell's own filter and from noise; the best start is kept.

    Args:
        contrast_px: standard deviation of every image; seed: of the noise; n_starts, n_steps: of the ascent.

    Returns:
        images (cell, y, x) in px; evoked response (cell,) to them.
    """
    generator = torch.Generator().manual_seed(seed)
    n_cells = len(cortex.cells)
    images = torch.randn(n_starts, n_cells, HEIGHT_PX, WIDTH_PX, generator=generator)
    images[0] = cortex.filters[:, 0].reshape(n_cells, HEIGHT_PX, WIDTH_PX)
    images = at_contrast(images, contrast_px)
    velocity = torch.zeros_like(images)
    for step in range(n_steps):
        images.requires_grad_(True)
        (gradient,) = torch.autograd.grad(cortex.evoked(images).sum(), images)
        gradient = gradient / (gradient.square().mean((-2, -1), keepdim=True).sqrt() + 1e-12)
        velocity = 0.8 * velocity + gradient
        rate = contrast_px * 0.1 * (1 - step / n_steps)
        images = at_contrast(images.detach() + rate * velocity, contrast_px)
    with torch.no_grad():
        evoked = cortex.evoked(images)  # (start, cell)
    best = evoked.argmax(0)
    cell = torch.arange(n_cells)
    return images[best, cell], evoked[best, cell]


def at_contrast(images_px: torch.Tensor, contrast_px: float) -> torch.Tensor:
    """Scale images (..., y, x) to mean 128 px and the given standard deviation, clipped to 0-255 px.

    Clipping lowers the contrast of very peaked images a little; scaling and clipping are therefore done three times.
    """
    for _ in range(3):
        deviation = images_px - images_px.mean((-2, -1), keepdim=True)
        gain = contrast_px / (deviation.square().mean((-2, -1), keepdim=True).sqrt() + 1e-12)
        images_px = (GREY_PX + gain * deviation).clamp(0, 255)
    return images_px


def _place_cells(n_cells: int, rng: np.random.Generator) -> pd.DataFrame:
    """Somata at least 14 um apart, on the imaging planes."""
    positions = np.empty((0, 3))
    while len(positions) < n_cells:
        z_um = rng.choice(DEPTHS_UM, p=[0.18, 0.18, 0.18, 0.18, 0.18, 0.10])
        candidate = np.array([*rng.uniform(0, EXTENT_UM, 2), z_um])
        if not len(positions) or np.linalg.norm(positions - candidate, axis=1).min() >= 14:
            positions = np.vstack([positions, candidate])
    x_um, y_um, z_um = positions.T
    cells = pd.DataFrame({"cell_id": np.arange(n_cells), "x_um": x_um, "y_um": y_um, "z_um": z_um})
    along = x_um / EXTENT_UM
    cells["brain_area"] = np.select([along < V1_END, along >= LM_START], AREA_NAMES, "unknown")
    cells["layer"] = np.where(z_um < L4_UM, "L2/3", "L4")
    return cells


def _receptive_fields(cells: pd.DataFrame) -> tuple[torch.Tensor, torch.Tensor]:
    y, x = np.mgrid[:HEIGHT_PX, :WIDTH_PX]
    filters, surrounds = [], []
    for cell in cells.itertuples():
        theta = np.deg2rad(cell.orientation_deg)
        across, along = np.array([np.cos(theta), np.sin(theta)]), np.array([-np.sin(theta), np.cos(theta)])  # (x, y)
        sigma_px = 0.4 * cell.wavelength_px
        bend, distance = (np.deg2rad(BEND_DEG), ARM) if cell.kind == "curved" else (0.0, END_DISTANCE)
        pairs = []
        for end in (0, 1, -1):  # center, and the two end zones along the bars
            reach = end * np.cos(bend / 2) * along - abs(end) * np.sin(bend / 2) * across
            center_x, center_y = (cell.rf_x_px, cell.rf_y_px) + distance * sigma_px * reach
            for quadrature_deg in (0, 90):
                pairs.append(
                    _gabor(x - center_x, y - center_y, theta + end * bend, cell.wavelength_px, sigma_px,
                           np.deg2rad(cell.phase_deg + quadrature_deg))
                )  # fmt: skip
        filters.append(pairs)
        distance2 = (x - cell.rf_x_px) ** 2 + (y - cell.rf_y_px) ** 2
        surround = np.exp(-distance2 / (2 * (2 * sigma_px) ** 2))
        surrounds.append(surround.ravel() / surround.sum())
    return torch.tensor(np.array(filters), dtype=torch.float32), torch.tensor(np.array(surrounds), dtype=torch.float32)


def _gabor(
    dx: np.ndarray, dy: np.ndarray, theta: float, wavelength_px: float, sigma_px: float, phase: float
) -> np.ndarray:
    across = dx * np.cos(theta) + dy * np.sin(theta)
    envelope = np.exp(-(dx**2 + dy**2) / (2 * sigma_px**2))
    gabor = envelope * np.cos(2 * np.pi * across / wavelength_px + phase)
    gabor -= envelope * (gabor.sum() / envelope.sum())  # blind to mean luminance
    return (gabor / np.linalg.norm(gabor)).ravel()
