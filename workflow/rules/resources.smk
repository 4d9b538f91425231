"""What a job asks of a cluster: mem_mb and runtime (minutes), from the size of what it reads."""


def by_size(base, per_input_mb=0):
    """So many MB or minutes, and so many for every MB of the inputs; a second attempt asks for twice as much."""
    return lambda wildcards, input, attempt: round((base + per_input_mb * input.size_mb) * attempt)
