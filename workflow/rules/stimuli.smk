"""The best models -> MEIs and RFs -> masks, Gabors, natural images -> stimulus sets in cd/m2."""


rule make_meis:
    input:
        units="results/selection/{dataset}.csv",
        best="results/selection/{dataset}_models.csv",
        models=models_of_type,
    output:
        "results/meis/{dataset}/{model_type}_shares/{share}.zarr.zip",
    log:
        "results/logs/make_meis/{dataset}/{model_type}_{share}.log",
    benchmark:
        "results/benchmarks/make_meis/{dataset}/{model_type}_{share}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=by_size(4000, 3),
        runtime=by_size(120, 0.5),
    params:
        size_px=SIZE_PX,
        states=(CONFIG.meis.eye, CONFIG.meis.behavior),
        meis=MEIS,
        n_shares=CONFIG.meis.jobs,
        code=code("make_meis"),
    message:
        "{wildcards.model_type} MEIs of {wildcards.dataset}, share {wildcards.share} of {params.n_shares}"
    script:
        "../scripts/make_meis.py"


rule join_meis:
    input:
        expand(
            "results/meis/{{dataset}}/{{model_type}}_shares/{share}.zarr.zip",
            share=range(1, CONFIG.meis.jobs + 1),
        ),
    output:
        "results/meis/{dataset}/{model_type}.zarr.zip",
    log:
        "results/logs/join_meis/{dataset}/{model_type}.log",
    benchmark:
        "results/benchmarks/join_meis/{dataset}/{model_type}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    params:
        meis=MEIS,
        code=code("join_meis"),
    message:
        "{wildcards.model_type} MEIs of {wildcards.dataset}"
    script:
        "../scripts/join_meis.py"


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
    resources:
        mem_mb=by_size(2000, 2),
        runtime=by_size(60, 0.1),
    params:
        states=STATES,
        masks=asdict(CONFIG.masks),
        code=code("make_masks"),
    message:
        "masks of {wildcards.dataset}"
    script:
        "../scripts/make_masks.py"


rule search_gabors:
    input:
        units="results/selection/{dataset}.csv",
        best="results/selection/{dataset}_models.csv",
        models=models_of_type,
        calibration=calibration_of,
    output:
        "results/gabors/{dataset}.zarr.zip",
    log:
        "results/logs/search_gabors/{dataset}.log",
    benchmark:
        "results/benchmarks/search_gabors/{dataset}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=by_size(4000, 3),
        runtime=by_size(120, 0.5),
    params:
        size_px=SIZE_PX,
        states=STATES,
        units=CONFIG.meis.units,
        gabors=asdict(CONFIG.gabors),
        target_cd_m2=(CONFIG.stimuli.mean_cd_m2, CONFIG.stimuli.contrast_cd_m2),
        interpolation=CONFIG.calibration.interpolation,
        code=code("search_gabors"),
    message:
        "best Gabors of {wildcards.dataset}"
    script:
        "../scripts/search_gabors.py"


rule find_natural:
    input:
        masks="results/masks/{dataset}.zarr.zip",
        best="results/selection/{dataset}_models.csv",
        models=models_of_type,
        stores=scan_stores,
        images=natural_images,
    output:
        "results/natural/{dataset}.zarr.zip",
    log:
        "results/logs/find_natural/{dataset}.log",
    benchmark:
        "results/benchmarks/find_natural/{dataset}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=by_size(4000, 3),
        runtime=by_size(60, 0.5),
    params:
        states=STATES,
        scans=lambda wildcards: list(CONFIG.datasets[wildcards.dataset]),
        exports=lambda wildcards: [export_of(scan) for scan in CONFIG.datasets[wildcards.dataset]],
        folder="" if CONFIG.natural.images == "scan" else CONFIG.natural.images,
        kinds=list(CONFIG.natural.kinds),
        shown="mei_vs_natural" in CONFIG.stimuli.sets,
        shown_px=[round(CONFIG.stimuli.zoom * n_px) for n_px in SIZE_PX],
        code=code("find_natural"),
    message:
        "best natural images of {wildcards.dataset}"
    script:
        "../scripts/find_natural.py"


rule probe_models:
    input:
        cnn="results/meis/{dataset}/cnn.zarr.zip",
        linear="results/meis/{dataset}/linear.zarr.zip",
        masks="results/masks/{dataset}.zarr.zip",
        best="results/selection/{dataset}_models.csv",
        models=models_of_type,
        stores=scan_stores,
    output:
        "results/probes/{dataset}.zarr.zip",
    log:
        "results/logs/probe_models/{dataset}.log",
    benchmark:
        "results/benchmarks/probe_models/{dataset}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=by_size(4000, 3),
        runtime=by_size(120, 0.5),
    params:
        states=STATES,
        scans=lambda wildcards: list(CONFIG.datasets[wildcards.dataset]),
        probes=asdict(CONFIG.probes),
        meis=MEIS,
        code=code("probe_models"),
    message:
        "in-silico experiments with the units of {wildcards.dataset}"
    script:
        "../scripts/probe_models.py"


rule calibrate_monitor:
    input:
        scan="results/scans/{scan}.json",
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
        calibration=asdict(CONFIG.calibration),
        code=code("calibrate_monitor"),
    message:
        "monitor calibration for {wildcards.scan}"
    script:
        "../scripts/calibrate_monitor.py"


rule make_stimuli:
    input:
        unpack(controls_of),
        units="results/selection/{dataset}.csv",
        best="results/selection/{dataset}_models.csv",
        models=models_of_type,
        meis="results/meis/{dataset}/cnn.zarr.zip",
        calibration=calibration_of,
    output:
        manifest="results/stimuli/{dataset}/{kind}/manifest.csv",
        qc=report(
            "results/stimuli/{dataset}/{kind}/qc.csv",
            caption="../report/stimuli.rst",
            category="Stimuli",
            labels={"data set": "{dataset}", "set": "{kind}"},
        ),
    log:
        "results/logs/make_stimuli/{dataset}/{kind}.log",
    benchmark:
        "results/benchmarks/make_stimuli/{dataset}/{kind}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    params:
        states=STATES,
        controls=lambda wildcards: CONTROLS[wildcards.kind],
        stimuli=LOOKS,
        interpolation=CONFIG.calibration.interpolation,
        code=code("make_stimuli"),
    message:
        "stimulus set {wildcards.kind} of {wildcards.dataset}"
    script:
        "../scripts/make_stimuli.py"


rule choose_target:
    input:
        f"results/stimuli/{{dataset}}/{CONFIG.stimuli.target}/manifest.csv",
    output:
        "results/stimuli/{dataset}/target.csv",
    log:
        "results/logs/choose_target/{dataset}.log",
    benchmark:
        "results/benchmarks/choose_target/{dataset}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    params:
        target=CONFIG.stimuli.target,
        code=code("choose_target"),
    message:
        "stimulus set to show next, {wildcards.dataset}"
    script:
        "../scripts/choose_target.py"
