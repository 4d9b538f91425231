"""MEIs or receptive fields of all units, from the shares that jobs made."""

from door import door, origin

from neurostatic.stimuli.shares import join_shares
from neurostatic.store import read_arrays, write_arrays

with door(snakemake):
    meis = join_shares([read_arrays(path) for path in snakemake.input])
    write_arrays(meis, snakemake.output[0], origin(snakemake, snakemake.params.meis["seed"]))
