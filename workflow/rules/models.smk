"""Data sets -> one model per network and seed -> their scores, the best models, the units whose MEIs are made."""


rule train_model:
    input:
        scan_stores,
    output:
        model="results/models/{dataset}/{network}/{seed}.pt",
        scores="results/models/{dataset}/{network}/{seed}.csv",
        history="results/models/{dataset}/{network}/{seed}_history.csv",
    log:
        "results/logs/train_model/{dataset}/{network}/{seed}.log",
    benchmark:
        "results/benchmarks/train_model/{dataset}/{network}/{seed}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=by_size(4000, 3),
        runtime=by_size(240, 2),
        # No param: however often the state is kept, the weights are the same, and nothing need be run again.
        checkpoint_epochs=CONFIG.training.checkpoint_epochs,
    params:
        scans=lambda wildcards: list(CONFIG.datasets[wildcards.dataset]),
        data_config=asdict(CONFIG.data_config),
        network=lambda wildcards: NETWORKS[wildcards.network],
        training=asdict(CONFIG.training) | {"seeds": None, "checkpoint_epochs": None},
        code=code("train_model"),
    message:
        "training {wildcards.network}, seed {wildcards.seed}, on {wildcards.dataset}"
    script:
        "../scripts/train_model.py"


rule evaluate_models:
    input:
        stores=scan_stores,
        reliability="results/reliability/{dataset}.csv",
        models=expand(
            "results/models/{{dataset}}/{network}/{seed}.pt",
            network=NETWORKS,
            seed=CONFIG.training.seeds,
        ),
    output:
        units="results/evaluation/{dataset}.zarr.zip",
        summary=report(
            "results/evaluation/{dataset}.csv",
            caption="../report/evaluation.rst",
            category="Units",
            labels={"data set": "{dataset}", "table": "scores of models and ensembles"},
        ),
    log:
        "results/logs/evaluate_models/{dataset}.log",
    benchmark:
        "results/benchmarks/evaluate_models/{dataset}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=by_size(4000, 3),
        runtime=by_size(60, 0.5),
    params:
        scans=lambda wildcards: list(CONFIG.datasets[wildcards.dataset]),
        data_config=asdict(CONFIG.data_config),
        networks=list(NETWORKS),
        seeds=list(CONFIG.training.seeds),
        code=code("evaluate_models"),
    message:
        "test scores of all models and ensembles of {wildcards.dataset}"
    script:
        "../scripts/evaluate_models.py"


rule select_units:
    input:
        reliability="results/reliability/{dataset}.csv",
        scores=expand(
            "results/models/{{dataset}}/{network}/{seed}.csv",
            network=NETWORKS,
            seed=CONFIG.training.seeds,
        ),
    output:
        units=report(
            "results/selection/{dataset}.csv",
            caption="../report/selection.rst",
            category="Units",
            labels={"data set": "{dataset}", "table": "units and their scores"},
        ),
        models="results/selection/{dataset}_models.csv",
    log:
        "results/logs/select_units/{dataset}.log",
    benchmark:
        "results/benchmarks/select_units/{dataset}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    params:
        data_config=asdict(CONFIG.data_config),  # for the report's methods
        model_types=MODEL_TYPES,
        selection=asdict(CONFIG.selection),
        needed=CONFIG.meis.units == "selected",
        code=code("select_units"),
    message:
        "best models and units of {wildcards.dataset}"
    script:
        "../scripts/select_units.py"
