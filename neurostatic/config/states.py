"""In which state of the mouse a model is asked: its eye and its behavior, as the config names them."""

EYE = ("pupil_x", "pupil_y")  # px of the eye camera
BEHAVIOR = ("pupil_radius", "dpupil", "treadmill")  # px, px/s, cm/s


def parse_state(text: str, channels: tuple[str, ...]) -> str | tuple[float, ...]:
    """Read 'none', 'mean', or one number a channel, separated by spaces.

    Raises ValueError that says what is allowed.
    """
    if text in ("none", "mean"):
        return text
    try:
        values = tuple(float(word) for word in text.split())
    except ValueError:
        values = ()
    if len(values) != len(channels) or not all(abs(value) < float("inf") for value in values):
        raise ValueError(f"{text!r} is not none, mean or {len(channels)} numbers ({' '.join(channels)})")
    return values
