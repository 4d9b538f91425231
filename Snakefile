"""neurostatic: the inception loop, from raw scan exports to confusion matrices.

Reads config.yaml (and the overlay given with --configfile); everything it makes is under results/.
"""

import shutil
from dataclasses import asdict
from pathlib import Path

from snakemake.exceptions import WorkflowError

from neurostatic.config import SIMULATE, STIMULUS_SETS, read_config
from neurostatic.data.export_files import EXPORT_FILES, SIMULATED_FORM
from neurostatic.problems import InputError
from neurostatic.provenance import code_of

HERE = Path(workflow.basedir)
# GPU jobs ask for the GPU of this machine if it has one; on a cluster profiles/slurm asks for one.
GPU = int(shutil.which("nvidia-smi") is not None)
try:
    CONFIG = read_config(HERE / "config.yaml", overlay=config)
except InputError as error:
    raise WorkflowError(str(error)) from None


report: "workflow/report/run.rst"


# For --sdm apptainer, built from envs/neurostatic.def; without it, jobs run in the environment that Snakemake runs in.
container: str(HERE / "envs/neurostatic.sif")


wildcard_constraints:
    scan="[A-Za-z0-9_-]+",
    dataset="[A-Za-z0-9_-]+",
    network="[A-Za-z0-9_.-]+",
    seed=r"\d+",
    loop="[A-Za-z0-9_-]+",
    kind="|".join(STIMULUS_SETS),
    model_type="cnn|linear",
    share=r"\d+",


include: "workflow/rules/inputs.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/stimuli.smk"
include: "workflow/rules/closed_loop.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/failures.smk"


rule all:
    input:
        "results/report.html",
