"""Raw scan exports (of a lab, or of the virtual mouse) -> checked scans -> data sets."""

LOOP_OF_TARGET = {
    target: loop for loop in CONFIG.loops.values() for target in loop.targets
}
EXPORTED_FILES = [
    "scan.yaml",
    "units.csv",
    "fields.csv",
    "area_masks.npz",
    "trials.csv",
    "images.npy",
    "images.csv",
    "traces.npy",
    "frame_times_stim.npy",
    "frame_times_behavior.npy",
    "eye.csv",
    "treadmill.csv",
    "stack_coordinates.csv",
    "monitor_calibration.csv",
]
SIMULATED = [scan for scan, source in CONFIG.scans.items() if source == SIMULATE]


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


rule simulate_scan:
    input:
        shown_stimuli,
    output:
        export=expand("results/simulation/{{scan}}/{file}", file=EXPORTED_FILES),
        truth="results/simulation/{scan}.truth.zarr.zip",
    log:
        "results/logs/simulate_scan/{scan}.log",
    benchmark:
        "results/benchmarks/simulate_scan/{scan}.tsv"
    resources:
        mem_mb=3000,
    params:
        simulation=asdict(CONFIG.simulation),
        day=lambda wildcards: 1 + SIMULATED.index(wildcards.scan),
        code=code("simulate_scan"),
    message:
        "virtual mouse: recording {wildcards.scan}"
    script:
        "../scripts/simulate_scan.py"


rule import_scan:
    input:
        scan_files,
    output:
        "results/scans/{scan}.json",
    log:
        "results/logs/import_scan/{scan}.log",
    benchmark:
        "results/benchmarks/import_scan/{scan}.tsv"
    params:
        source=scan_source,
        code=code("import_scan"),
    message:
        "checking {wildcards.scan}"
    script:
        "../scripts/import_scan.py"


rule build_dataset:
    input:
        verdict="results/scans/{scan}.json",
        files=scan_files,
    output:
        "results/datasets/{scan}.zarr.zip",
    log:
        "results/logs/build_dataset/{scan}.log",
    benchmark:
        "results/benchmarks/build_dataset/{scan}.tsv"
    resources:
        mem_mb=4000,
    params:
        source=scan_source,
        preprocessing=asdict(CONFIG.preprocessing),
        code=code("build_dataset"),
    message:
        "data set of {wildcards.scan}"
    script:
        "../scripts/build_dataset.py"
