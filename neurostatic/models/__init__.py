"""Networks that predict responses: core, readout, shifter, modulator."""

from neurostatic.models.networks import (
    CorePlusReadout,
    Ensemble,
    TrainedNetwork,
    load_network,
    paired_responses,
    save_network,
)

__all__ = ["CorePlusReadout", "Ensemble", "TrainedNetwork", "load_network", "paired_responses", "save_network"]
