"""What the rules read, worked out from the config: named lists, and functions of the wildcards."""

absent = [
    f"scans.{scan}: no such file or folder: {source}"
    for scan, source in CONFIG.scans.items()
    if source != SIMULATE and not Path(source).exists()
]
folders = [("natural.images", CONFIG.natural.images, "scan")]
if SIMULATE in CONFIG.scans.values():
    folders.append(("simulation.photos", CONFIG.simulation.photos, "bundled"))
absent += [f"{key}: no such folder: {at}" for key, at, word in folders if at != word and not Path(at).is_dir()]
if absent:  # Snakemake itself asks for it only where nothing was made of it yet
    raise WorkflowError("\n".join(absent))
LOOP_OF_TARGET = {target: loop for loop in CONFIG.loops.values() for target in loop.targets}
SOURCES = list(dict.fromkeys(loop.source for loop in CONFIG.loops.values()))
LOOP_SCANS = {scan for loop in CONFIG.loops.values() for scan in loop.scans}
ORACLE_SCANS = [scan for loop in CONFIG.loops.values() for scan in loop.oracle]
SIMULATED = [scan for scan, source in CONFIG.scans.items() if source == SIMULATE]
NETWORKS = {name: network.settings() for name, network in CONFIG.networks.items()}
MODEL_TYPES = {name: network.model_type for name, network in CONFIG.networks.items()}
TRUE_LOOPS = {name: loop for name, loop in CONFIG.loops.items() if set(loop.scans) <= set(SIMULATED)}
LOOP_FILES = ["matches.csv", "unmatched.csv", "left_out.csv", "confusion.zarr.zip", "diagonal.csv", "tests.csv"]
# Stimuli are made where the monitor that would show them is known.
STIMULATED = [
    dataset
    for dataset, scans in CONFIG.datasets.items()
    if CONFIG.scans[scans[0]] == SIMULATE or Path(CONFIG.scans[scans[0]], "monitor_calibration.csv").exists()
]
SIZE_PX = (CONFIG.preprocessing.height_px, CONFIG.preprocessing.width_px)
# MEIs are the same in however many jobs they are made.
MEIS = {name: value for name, value in asdict(CONFIG.meis).items() if name != "jobs"}
STATES = (CONFIG.meis.eye[:1], CONFIG.meis.behavior[:1])  # in which everything but the other MEIs is made
# What a stimulus looks like does not depend on which sets are made and which is shown.
LOOKS = {name: value for name, value in asdict(CONFIG.stimuli).items() if name not in ("sets", "target")}
CONTROLS = {"mei_vs_rf": ["linear"], "mei_vs_gabor": ["gabors"], "mei_vs_natural": ["natural", "masks"]}
MADE_BY = {
    "linear": "results/meis/{dataset}/linear.zarr.zip",
    "gabors": "results/gabors/{dataset}.zarr.zip",
    "natural": "results/natural/{dataset}.zarr.zip",
    "masks": "results/masks/{dataset}.zarr.zip",
}


def code(rule_name):
    """Hash of the library code that a rule's script rests on (Snakemake itself watches only the script).

    A function, so that a job on a cluster hashes its own rule's code and no other's.
    """
    return lambda wildcards: code_of(HERE / "workflow" / "scripts" / f"{rule_name}.py")


def virtual_mice():
    """The simulated scans of each virtual mouse, in order: those of one data set or of one loop are of one mouse."""
    of_one = [set(scans) for scans in CONFIG.datasets.values()]
    of_one += [set(loop.scans) for loop in CONFIG.loops.values()]
    mice = []
    for scans in [*of_one, *({scan} for scan in SIMULATED)]:
        same = [mouse for mouse in mice if mouse & scans]
        mice = [mouse for mouse in mice if mouse not in same] + [scans.union(*same)]
    mice = [[scan for scan in SIMULATED if scan in mouse] for mouse in mice]
    return sorted((mouse for mouse in mice if mouse), key=lambda mouse: SIMULATED.index(mouse[0]))


def mouse_and_day(scan):
    """Number of the virtual mouse that a simulated scan is of, from 0, and the day of the scan, from 1."""
    mice = virtual_mice()
    mouse = next(i for i, scans in enumerate(mice) if scan in scans)
    return mouse, 1 + mice[mouse].index(scan)


def shown_stimuli(wildcards):
    """What the virtual mouse is shown: natural images, or the stimulus sets of the loop whose target the scan is."""
    loop = LOOP_OF_TARGET.get(wildcards.scan)
    return shown_manifests(loop, wildcards.scan) if loop else []


def shown_manifests(loop, scan):
    """Manifests of the stimulus sets that a target of a loop was shown."""
    return [f"results/stimuli/{loop.dataset}/{kind}/manifest.csv" for kind in loop.targets[scan]]


def scan_source(wildcards):
    """Folder or file that a scan is read from."""
    source = CONFIG.scans[wildcards.scan]
    return f"results/simulation/{wildcards.scan}" if source == SIMULATE else source


def scan_files(wildcards):
    """Files of a scan: a raw export's, or those of a Sensorium file tree (a zip file is one).

    What else lies in the folder, such as a desktop's hidden files, makes nothing of it again.
    """
    source = Path(scan_source(wildcards))
    if CONFIG.scans[wildcards.scan] == SIMULATE:
        return [str(source / name) for name in SIMULATED_FORM]
    if source.is_dir():
        export = [source / name for name in EXPORT_FILES if (source / name).is_file()]
        return sorted(map(str, export or (path for path in source.rglob("*") if is_visible(path))))
    return [str(source)]


def is_visible(path):
    return path.is_file() and not path.name.startswith(".")


def export_of(scan):
    """Folder of the raw export of a scan, or "" if it is another kind of source."""
    source = CONFIG.scans[scan]
    folder = Path(f"results/simulation/{scan}" if source == SIMULATE else source)
    return str(folder) if source == SIMULATE or (folder / "images.npy").exists() else ""


def natural_images(wildcards):
    """Where natural images come from: pictures of a folder; else the data set's scans, as shown in raw exports."""
    if CONFIG.natural.images != "scan":
        return sorted(str(path) for path in Path(CONFIG.natural.images).glob("*") if is_visible(path))
    exports = [export_of(scan) for scan in CONFIG.datasets[wildcards.dataset]]
    return [f"{export}/{file}" for export in exports if export for file in ("images.npy", "images.csv")]


def shown_in(wildcards):
    """What a scan was shown, if it is a raw export: to be compared with the stimulus set."""
    export = export_of(wildcards.scan)
    return [f"{export}/images.npy", f"{export}/images.csv"] if export else []


def calibration_of(wildcards):
    """One monitor shows a whole stimulus set: its calibration nearest to the data set's first scan."""
    return f"results/calibrations/{CONFIG.datasets[wildcards.dataset][0]}.csv"


def controls_of(wildcards):
    """Name -> file of what a stimulus set compares MEIs with."""
    return {name: MADE_BY[name].format(dataset=wildcards.dataset) for name in CONTROLS[wildcards.kind]}


def scan_stores(wildcards):
    """Stores of the scans of a data set."""
    return expand("results/datasets/{scan}.zarr.zip", scan=CONFIG.datasets[wildcards.dataset])


def models_of_type(wildcards):
    """Every model of the wanted type: which network is best is known only when selection is done."""
    model_type = getattr(wildcards, "model_type", "cnn")
    networks = [name for name, its_type in MODEL_TYPES.items() if its_type == model_type]
    return expand(
        "results/models/{dataset}/{network}/{seed}.pt",
        dataset=wildcards.dataset,
        network=networks,
        seed=CONFIG.training.seeds,
    )
