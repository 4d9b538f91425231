"""The best models -> MEIs (of the CNN) and RFs (of the linear model) -> masks -> stimuli in cd/m2."""


rule make_meis:
    input:
        units="results/selection/{dataset}.csv",
        best="results/selection/{dataset}_models.csv",
        models=models_of_type,
    output:
        "results/meis/{dataset}/{model_type}.zarr.zip",
    log:
        "results/logs/make_meis/{dataset}/{model_type}.log",
    benchmark:
        "results/benchmarks/make_meis/{dataset}/{model_type}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=4000,
    params:
        size_px=(CONFIG.preprocessing.height_px, CONFIG.preprocessing.width_px),
        meis=asdict(CONFIG.meis),
        code=code("make_meis"),
    message:
        "{wildcards.model_type} MEIs of {wildcards.dataset}"
    script:
        "../scripts/make_meis.py"


rule make_masks:
    input:
        meis="results/meis/{dataset}/cnn.zarr.zip",
        best="results/selection/{dataset}_models.csv",
        models=models_of_type,
    output:
        "results/masks/{dataset}.zarr.zip",
    log:
        "results/logs/make_masks/{dataset}.log",
    benchmark:
        "results/benchmarks/make_masks/{dataset}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    params:
        masks=asdict(CONFIG.masks),
        code=code("make_masks"),
    message:
        "tight masks of {wildcards.dataset}"
    script:
        "../scripts/make_masks.py"


rule calibrate_monitor:
    input:
        scan=lambda wildcards: f"{scan_source(wildcards)}/scan.yaml",
        calibrations=lambda wildcards: f"{scan_source(wildcards)}/monitor_calibration.csv",
    output:
        table="results/calibrations/{scan}.csv",
        fit="results/calibrations/{scan}_fit.csv",
    log:
        "results/logs/calibrate_monitor/{scan}.log",
    benchmark:
        "results/benchmarks/calibrate_monitor/{scan}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    params:
        code=code("calibrate_monitor"),
    message:
        "monitor calibration for {wildcards.scan}"
    script:
        "../scripts/calibrate_monitor.py"


rule make_stimuli:
    input:
        units="results/selection/{dataset}.csv",
        best="results/selection/{dataset}_models.csv",
        models=models_of_type,
        cnn="results/meis/{dataset}/cnn.zarr.zip",
        linear="results/meis/{dataset}/linear.zarr.zip",
        # One monitor shows the whole set: its calibration nearest to the data set's first scan.
        calibration=lambda wildcards: f"results/calibrations/{CONFIG.datasets[wildcards.dataset][0]}.csv",
    output:
        manifest="results/stimuli/{dataset}/{kind}/manifest.csv",
        qc="results/stimuli/{dataset}/{kind}/qc.csv",
    log:
        "results/logs/make_stimuli/{dataset}/{kind}.log",
    benchmark:
        "results/benchmarks/make_stimuli/{dataset}/{kind}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    params:
        stimuli=asdict(CONFIG.stimuli),
        code=code("make_stimuli"),
    message:
        "stimulus set {wildcards.kind} of {wildcards.dataset}"
    script:
        "../scripts/make_stimuli.py"
