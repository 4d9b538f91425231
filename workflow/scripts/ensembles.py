"""Which trained networks answer as one: all seeds of the best network of a core."""

from pathlib import Path

from neurostatic.models.networks import TrainedNetwork, load_network
from neurostatic.store import read_table


def best_network(best_path: str, model_paths: list[str], core: str, device: str) -> list[TrainedNetwork]:
    """Load every seed of the network that was found best among those with this core."""
    best = read_table(best_path, ("core", "network"))
    name = best.network[best.core == core].iloc[0]
    return [load_network(path, device) for path in model_paths if Path(path).parent.name == name]
