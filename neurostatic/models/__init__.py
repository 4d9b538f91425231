"""Networks that predict responses: core, readout, shifter, modulator."""

from neurostatic.models.networks import CorePlusReadout, Ensemble, TrainedNetwork, load_network, save_network

__all__ = ["CorePlusReadout", "Ensemble", "TrainedNetwork", "load_network", "save_network"]
