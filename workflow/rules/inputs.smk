"""What the rules read, worked out from the config: named lists, and functions of the wildcards."""

LOOP_OF_TARGET = {target: loop for loop in CONFIG.loops.values() for target in loop.targets}
EXPORTED_FILES = [*TRACES_FORM, *OPTIONAL_FILES]
SIMULATED = [scan for scan, source in CONFIG.scans.items() if source == SIMULATE]
NETWORKS = {name: network.settings() for name, network in CONFIG.networks.items()}
MODEL_TYPES = {name: network.model_type for name, network in CONFIG.networks.items()}
TRUE_LOOPS = {name: loop for name, loop in CONFIG.loops.items() if {loop.source, *loop.targets} <= set(SIMULATED)}
LOOP_FILES = ["matches.csv", "confusion.zarr.zip", "diagonal.csv", "tests.csv"]
STIMULATED = sorted({loop.dataset for loop in CONFIG.loops.values()})


def code(rule_name):
    """Hash of the library code that a rule's script rests on (Snakemake itself watches only the script)."""
    return code_of(HERE / "workflow" / "scripts" / f"{rule_name}.py")


def shown_stimuli(wildcards):
    """What the virtual mouse is shown: natural images, or the stimulus set of the loop whose target the scan is."""
    loop = LOOP_OF_TARGET.get(wildcards.scan)
    return [f"results/stimuli/{loop.dataset}/mei_vs_rf/manifest.csv"] if loop else []


def scan_source(wildcards):
    """Folder or file that a scan is read from."""
    source = CONFIG.scans[wildcards.scan]
    return f"results/simulation/{wildcards.scan}" if source == SIMULATE else source


def scan_files(wildcards):
    """Files of a scan: a raw export's, or those of a Sensorium file tree (a zip file is one)."""
    source = Path(scan_source(wildcards))
    if CONFIG.scans[wildcards.scan] == SIMULATE:
        return [str(source / name) for name in EXPORTED_FILES]
    if source.is_dir():
        return sorted(str(path) for path in source.rglob("*") if path.is_file())
    return [str(source)]


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
