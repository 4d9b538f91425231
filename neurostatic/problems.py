"""What is wrong with something a user gave: one clear message that says what, where, and what is allowed.

Beside `store` and light: every Snakemake process loads it, the ones of cluster jobs included.
"""


class InputError(Exception):
    """Something a user gave is wrong; the message says what, where, and what is allowed."""


class NoModelError(InputError):
    """A model that cannot be: its training diverged, or it has no unit. Other models may be; these go on."""


def report_problems(what: str, problems: list[str]) -> None:
    """Raise one InputError that lists every problem found in `what`; do nothing if there is none."""
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InputError(f"{what}: {count}\n" + "\n".join(f"  - {problem}" for problem in problems))
