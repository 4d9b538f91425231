"""Data sets -> one model per network and seed -> the best models and the units whose MEIs are made."""


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
        mem_mb=4000,
    params:
        scans=lambda wildcards: list(CONFIG.datasets[wildcards.dataset]),
        data_config=asdict(CONFIG.data_config),
        network=lambda wildcards: NETWORKS[wildcards.network],
        training=asdict(CONFIG.training) | {"seeds": None},
        code=code("train_model"),
    message:
        "training {wildcards.network}, seed {wildcards.seed}, on {wildcards.dataset}"
    script:
        "../scripts/train_model.py"


rule select_units:
    input:
        reliability="results/reliability/{dataset}.csv",
        scores=expand(
            "results/models/{{dataset}}/{network}/{seed}.csv",
            network=NETWORKS,
            seed=CONFIG.training.seeds,
        ),
    output:
        units="results/selection/{dataset}.csv",
        models="results/selection/{dataset}_models.csv",
    log:
        "results/logs/select_units/{dataset}.log",
    benchmark:
        "results/benchmarks/select_units/{dataset}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    params:
        data_config=asdict(CONFIG.data_config),
        cores={name: network["core"] for name, network in NETWORKS.items()},
        selection=asdict(CONFIG.selection),
        code=code("select_units"),
    message:
        "best models and units of {wildcards.dataset}"
    script:
        "../scripts/select_units.py"
