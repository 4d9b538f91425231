"""The configuration: its sections, and how it is read and checked."""

from neurostatic.config.reading import check_config, read_config
from neurostatic.config.sections import (
    CORES,
    SIMULATE,
    Config,
    DataConfig,
    Loop,
    Masks,
    Matching,
    Meis,
    Network,
    Preprocessing,
    Selection,
    Simulation,
    Statistics,
    Stimuli,
    Training,
)

__all__ = [
    "CORES",
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
]
