"""Record the virtual mouse: day 1 with natural images, later days with a stimulus set."""

from pathlib import Path

from door import compute_device, door, origin

from neurostatic.config import Simulation
from neurostatic.simulation.mouse import closed_loop_session, natural_session, simulate_scan
from neurostatic.stimuli.files import read_set
from neurostatic.store import write_arrays

device = compute_device(snakemake.threads)
with door(snakemake, device):
    config = Simulation(**snakemake.params.simulation)
    if snakemake.input:
        manifest, images_px = read_set(Path(snakemake.input[0]).parent)
        session = closed_loop_session(config, snakemake.params.day, manifest, images_px)
    else:
        session = natural_session(config)
    print(f"{len(session.shown)} trials of {len(session.images_px)} images on day {session.day}")
    truth = simulate_scan(config, session, Path(snakemake.output.export[0]).parent)
    write_arrays(truth, snakemake.output.truth, origin(snakemake, config.seed))
