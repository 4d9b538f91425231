"""Which trained networks answer as one: all seeds of the best network of a core."""

from pathlib import Path

from neurostatic.models.networks import Ensemble, TrainedNetwork, load_network
from neurostatic.store import read_table


def best_network(best_path: str, model_paths: list[str], core: str, device: str) -> list[TrainedNetwork]:
    """Load every seed of the network that was found best among those with this core."""
    best = read_table(best_path, ("core", "network"))
    name = best.network[best.core == core].iloc[0]
    return [load_network(path, device) for path in model_paths if Path(path).parent.name == name]


def paired_px(members: list[TrainedNetwork], scans, unit_ids):
    """images (k, y, x) px, positions (k,) -> (k,) responses of the units at these positions of a list of units."""
    ensembles = {scan: Ensemble(members, scan) for scan in set(scans)}
    indices = [ensembles[scan].index_of([unit])[0].item() for scan, unit in zip(scans, unit_ids, strict=True)]

    def respond(images_px, positions):
        import numpy as np

        responses = np.empty(len(images_px))
        positions = np.asarray(positions)
        for scan, ensemble in ensembles.items():
            of_scan = np.array([scans[position] == scan for position in positions], bool)
            units = [indices[position] for position in positions[of_scan]]
            if units:
                responses[of_scan] = ensemble.respond_px(np.asarray(images_px)[of_scan], units)
        return responses

    return respond
