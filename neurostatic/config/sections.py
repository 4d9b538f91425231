"""The sections of a configuration: every key with its type, range and default."""

import dataclasses

from neurostatic.config.keys import key
from neurostatic.config.networks import Network

SIMULATE = "simulate"  # the source of a scan that the virtual mouse records
REPLACED_WHOLE = ("scans", "datasets", "loops")  # an overlay's lists of names replace the default's
PROBES = ("confusion", "shifts", "gradients", "diverse")
# Kind of stimulus set -> the class of the images made for a cell, and the class they are compared with.
STIMULUS_SETS = {
    "mei_vs_rf": ("multi_cnn_mei", "multi_lin_rf"),
    "mei_vs_gabor": ("multi_cnn_mei", "gabor"),
    "mei_vs_natural": ("masked_mei", "masked_imagenet"),
}


@dataclasses.dataclass(frozen=True)
class Simulation:
    """The virtual mouse."""

    seed: int = key(1, low=0)
    photos: str = key("bundled")
    n_cells: int = key(190, low=20, high=3000)
    lost_fraction: float = key(0.1, low=0.0, high=0.5)
    median_events: float = key(0.4, low=0.0)
    n_images: int = key(2000, low=20)
    n_repeated: int = key(60, low=2)
    repeats: int = key(10, low=2)
    closed_loop_repeats: int = key(20, low=2)
    n_stacks: int = key(3, low=1)
    stack_error_um: float = key(1.5, low=0.0)
    mei_contrast_px: float = key(11.0, low=1.0, high=60.0)


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How trials become images, responses, behavior and tiers (Preprocessing, ConditionTier); published set 0."""

    offset_s: float = key(0.05, low=0.0)
    duration_s: float = key(0.5, low=0.01)
    height_px: int = key(36, low=8)
    width_px: int = key(64, low=8)
    round_px: bool = key(True)
    luminance: bool = key(False)
    response_dtype: str = key("float32", choices=("float32", "float16"))
    tier_rule: str = key("current", choices=("current", "2019"))
    min_repeats: int = key(2, low=2)
    validation_split: str = key("count", choices=("count", "threshold"))
    validation_fraction: float = key(0.1, low=0.01, high=0.5)
    tier_seed: int = key(0, low=0)


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What of the data sets the models see, and in which units (DataConfig); the published setting is the default.

    CorrectedAreaLayer is one area and one layer; MultipleAreasOneLayer and MultipleAreasMultipleLayers are groups of
    them ('all', 'all-unset', 'V1+LM'); AreaLayerReliable is a reliable_p below 1.
    """

    brain_area: str = key("all")
    layer: str = key("L2/3")
    reliable_p: float = key(1.0, low=0.0, high=1.0)
    stimulus_type: str = key("stimulus.Frame")
    exclude: tuple[str, ...] = key((), choices=("images", "responses", "behavior", "pupil_center"), empty=True)
    normalize_per_image: bool = key(False)
    image_std: str = key("pixels", choices=("pixels", "images"))
    norm_tier: str = key("train", choices=("train", "validation", "test", "all"))
    stats_source: str = key("all")


@dataclasses.dataclass(frozen=True)
class Training:
    """TrainConfig.Default and Seed."""

    seeds: tuple[int, ...] = key((1009, 1215, 2606, 99999), low=0)
    learning_rates: tuple[float, ...] = key((0.005, 0.001), low=0.0)
    max_epochs: int = key(500, low=1)
    batch_size: int = key(60, low=1)
    patience: int = key(10, low=1)
    checkpoint_epochs: int = key(1, low=1)
    tolerance: float = key(1e-6, low=0.0)


@dataclasses.dataclass(frozen=True)
class Selection:
    """ModelGroup and CorrectedHighUnitSelection."""

    best_model: str = key("best_model", choices=("best_model", "best_model_new"))
    top_fraction: float = key(0.5, low=0.0, high=1.0)
    percentile: float = key(70.0, low=0.0, high=100.0)
    edge_um: float = key(10.0, low=0.0)
    distance_um: float = key(20.0, low=0.0)


@dataclasses.dataclass(frozen=True)
class Meis:
    """MEIParameter; the defaults are the published set 0, without a contrast constraint.

    jobs is in how many jobs the units are shared out. contrast_px, max_evaluations and tolerance are of the projected
    optimizer, precondition is of both, and what follows it of the published one.
    """

    units: str = key("selected", choices=("selected", "all"))
    jobs: int = key(1, low=1)
    eye: tuple[str, ...] = key(("mean",))
    behavior: tuple[str, ...] = key(("none",))
    starts: int = key(1, low=1)
    each_seed: bool = key(False)
    seed: int = key(0, low=0)
    tuning_points: int = key(1000, low=2)
    optimizer: str = key("published", choices=("published", "projected"))
    contrast_px: float = key(11.0, low=0.01)
    max_evaluations: int = key(60, low=2)
    tolerance: float = key(1e-4, low=0.0)
    precondition: float = key(0.1, low=0.0)
    iterations: int = key(1000, low=1)
    start_sigma_px: float = key(1.5, low=0.0)
    end_sigma_px: float = key(0.01, low=0.0)
    start_step: float = key(3.0, low=0.0)
    end_step: float = key(0.125, low=0.0)
    step_gain: float = key(0.1, low=0.0)
    jitter_px: int = key(0, low=0)
    blur: bool = key(True)
    clip: bool = key(True)
    norm_px: float = key(-1.0)
    train_norm_px: float = key(-1.0)


@dataclasses.dataclass(frozen=True)
class Masks:
    """TightMaskParameter."""

    deviation_factor: float = key(1.0, low=0.0)
    blur_sigma_px: float = key(2.0, low=0.0)
    target_ratio: float = key(0.9, low=0.01, high=1.0)


@dataclasses.dataclass(frozen=True)
class Gabors:
    """BestGabor: every combination is a candidate, by default the published 72,800 (GaborRange); or OptimalGabor."""

    search: str = key("grid", choices=("grid", "optimal"))
    phases_deg: tuple[float, ...] = key((0.0, 90.0, 180.0, 270.0))
    wavelengths_px: tuple[float, ...] = key((4.0, 7.0, 10.0, 15.0, 20.0), low=2.0)
    orientations_deg: tuple[float, ...] = key((0.0, 22.5, 45.0, 67.5, 90.0, 112.5, 135.0, 157.5))
    sigmas_px: tuple[float, ...] = key((2.0, 3.0, 5.0, 7.0, 9.0), low=0.5)
    dys: tuple[float, ...] = key((-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3), low=-0.99, high=0.99)
    dxs: tuple[float, ...] = key(
        (-0.3, -0.25, -0.2, -0.15, -0.1, -0.05, 0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3), low=-0.99, high=0.99
    )


@dataclasses.dataclass(frozen=True)
class Natural:
    """Where the best natural image of a unit is looked for, and how (Best...ImageNet)."""

    images: str = key("scan")
    kinds: tuple[str, ...] = key(("unmasked", "gaussian", "tight"), choices=("unmasked", "gaussian", "tight"))


@dataclasses.dataclass(frozen=True)
class Probes:
    """What the models are asked beside their MEIs: MEIConfusion, JitterInPlace, GradRF, Top100Eigen, diverse images."""

    parts: tuple[str, ...] = key(PROBES, choices=PROBES, empty=True)
    contrast_px: float = key(16.0, low=0.01)
    mean_px: float = key(111.0, low=1.0, high=254.0)
    max_shift_px: int = key(5, low=0)
    n_gradient_images: int = key(1000, low=2)
    n_diverse: int = key(10, low=2)
    diverse_ratio: float = key(0.85, low=0.01, high=0.99)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """ClosestCalibration and get_interp; the published choice has no limit, and two cubic splines."""

    max_gap_hours: float = key(float("inf"), low=0.0)
    interpolation: str = key("pchip", choices=("pchip", "cubic"))


@dataclasses.dataclass(frozen=True)
class Stimuli:
    """ProcessedImageConfig, ImageShifts, TargetStaticGroupId and the size of a stimulus set."""

    sets: tuple[str, ...] = key(tuple(STIMULUS_SETS), choices=tuple(STIMULUS_SETS))
    target: str = key("mei_vs_rf", choices=tuple(STIMULUS_SETS))
    mean_cd_m2: float = key(10.0, low=0.01)
    contrast_cd_m2: float = key(2.0, low=0.01)
    zoom: float = key(4.0, low=1.0)
    shifts_px: tuple[int, ...] = key((-1, 0, 1))
    max_units: int = key(150, low=1)


@dataclasses.dataclass(frozen=True)
class Matching:
    """ProximityCellMatch and BestProximityCellMatch, or StructureCellMatch; the published matching has no filter."""

    method: str = key("proximity", choices=("proximity", "structure"))
    one_to_one: bool = key(False)
    max_distance_um: float = key(float("inf"), low=0.0)
    min_vote_fraction: float = key(0.0, low=0.0, high=1.0)
    min_posterior: float = key(0.0, low=0.0, high=1.0)
    seed: int = key(0, low=0)


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Tests of the confusion matrices."""

    seed: int = key(0, low=0)
    n_permutations: int = key(10_000, low=100)
    n_resamples: int = key(2_000, low=100)


@dataclasses.dataclass(frozen=True)
class Loop:
    """One closed loop (a loop_group): the scan the MEIs were made from, and the later scans.

    Attributes:
        targets: scan -> the stimulus sets that were shown in it.
        oracle: scans that showed natural images again, by which the matches are checked.
    """

    dataset: str
    source: str
    targets: dict[str, tuple[str, ...]] = key(choices=tuple(STIMULUS_SETS))  # noqa: RUF009
    oracle: tuple[str, ...] = key((), empty=True)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Stimulus sets that were shown, each once."""
        return tuple(dict.fromkeys(kind for kinds in self.targets.values() for kind in kinds))

    @property
    def later(self) -> tuple[str, ...]:
        """Scans in which its cells are looked for: the targets, then those of natural images."""
        return (*self.targets, *self.oracle)

    @property
    def scans(self) -> tuple[str, ...]:
        """All its scans, the source first."""
        return (self.source, *self.later)


@dataclasses.dataclass(frozen=True)
class Config:
    """The whole configuration, checked."""

    simulation: Simulation
    scans: dict[str, str]
    datasets: dict[str, tuple[str, ...]]
    loops: dict[str, Loop]
    preprocessing: Preprocessing
    data_config: DataConfig
    networks: dict[str, Network]
    training: Training
    selection: Selection
    meis: Meis
    masks: Masks
    gabors: Gabors
    natural: Natural
    probes: Probes
    calibration: Calibration
    stimuli: Stimuli
    matching: Matching
    statistics: Statistics
