"""The configuration: its sections, and how it is read and checked."""

from neurostatic.config.networks import CNN_CORES, CORES, MODULATORS, PUBLISHED_CORES, READOUTS, SHIFTERS, Network
from neurostatic.config.reading import check_config, read_config, read_sections
from neurostatic.config.sections import (
    SIMULATE,
    Config,
    DataConfig,
    Loop,
    Masks,
    Matching,
    Meis,
    Preprocessing,
    Selection,
    Simulation,
    Statistics,
    Stimuli,
    Training,
)

__all__ = [
    "CNN_CORES",
    "CORES",
    "MODULATORS",
    "PUBLISHED_CORES",
    "READOUTS",
    "SHIFTERS",
    "SIMULATE",
    "Config",
    "DataConfig",
    "Loop",
    "Masks",
    "Matching",
    "Meis",
    "Network",
    "Preprocessing",
    "Selection",
    "Simulation",
    "Statistics",
    "Stimuli",
    "Training",
    "check_config",
    "read_config",
    "read_sections",
]
