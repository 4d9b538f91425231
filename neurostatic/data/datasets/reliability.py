"""How reliable the units of several data sets are (Oracle.UnitScores, and the ceilings beside it)."""

import pandas as pd

from neurostatic.data.datasets.multi import RELIABILITY_SEED, StaticMultiDataset
from neurostatic.data.reliability import MIN_ORACLE_REPEATS, reliability_table
from neurostatic.problems import InputError

POSITION = ("um_x", "um_y", "um_z", "px_x", "px_y", "px_height", "px_width", "um_height", "um_width")


def measure_reliability(members: StaticMultiDataset) -> pd.DataFrame:
    """Units of every scan with their oracle, ceilings and position, from the test tier and not normalized.

    The permutation test is the one by which `data_config.reliable_p` chooses units.

    Returns:
        scan, unit_id, the columns of `reliability_table`, um_x, um_y, um_z, px_x, px_y, px_height, px_width, um_height,
        um_width.

    Raises InputError if no image of the test tier of a scan has enough repeats for the oracle.
    """
    tables = []
    for scan, member in members.items():
        image = member.image_index("test")
        table = reliability_table(member.raw_responses("test"), image, RELIABILITY_SEED)
        if not table.n_images.max() > 0:
            raise InputError(
                f"scan {scan}: no image of the test tier has {MIN_ORACLE_REPEATS} valid repeats, which the oracle "
                f"needs ({len(set(image))} images have fewer)"
            )
        table.insert(0, "scan", scan)
        table.insert(1, "unit_id", member.unit_id)
        tables.append(table.assign(**{name: member.data[name].values for name in POSITION}))
    return pd.concat(tables, ignore_index=True)
