"""Record a virtual mouse: day 1 with natural images, later days with stimulus sets or the repeated images again."""

import dataclasses
from pathlib import Path

from devices import compute_device
from door import door, origin

from neurostatic.config import Simulation
from neurostatic.simulation.mouse import closed_loop_session, natural_session, simulate_scan
from neurostatic.stimuli.files import read_sets
from neurostatic.store import write_arrays

device = compute_device(snakemake.threads, gpu=False)
with door(snakemake, device):
    config, mouse, day = Simulation(**snakemake.params.simulation), snakemake.params.mouse, snakemake.params.day
    config = dataclasses.replace(config, seed=config.seed + mouse)
    if snakemake.input:
        manifest, images_px = read_sets([Path(path).parent for path in snakemake.input])
        session = closed_loop_session(config, day, manifest, images_px)
    else:
        session = natural_session(config, day, only_repeated=snakemake.params.oracle)
    session = dataclasses.replace(session, animal_id=1 + mouse)
    print(f"{len(session.shown)} trials of {len(session.images_px)} images on day {session.day}")
    truth = simulate_scan(config, session, Path(snakemake.output.export[0]).parent)
    write_arrays(truth, snakemake.output.truth, origin(snakemake, config.seed))
