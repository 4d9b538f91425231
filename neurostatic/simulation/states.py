"""The virtual mouse's running, pupil and gaze in time."""

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

SAMPLES_PER_S = 20.0
EYE_CENTER_PX = (320.0, 240.0)  # of the eye video
GAZE_PX_PER_EYE_PX = 0.25  # how far the image moves on the retina, in px of the 36 x 64 image


@dataclass(frozen=True)
class States:
    """State of the mouse on a regular clock.

    Attributes:
        time_s: (sample,) stimulus clock; radius_px, center_px (sample, 2): pupil in the eye video;
        velocity_cm_s: (sample,) signed speed of the treadmill.
    """

    time_s: np.ndarray
    radius_px: np.ndarray
    center_px: np.ndarray
    velocity_cm_s: np.ndarray

    def at(self, times_s: np.ndarray) -> dict[str, np.ndarray]:
        """Pupil size and running (both standardized) and gaze (trial, 2: x, y; px of the 36 x 64 image) at times."""
        radius = np.interp(times_s, self.time_s, self.radius_px)
        speed = np.abs(np.interp(times_s, self.time_s, self.velocity_cm_s))
        center = np.stack([np.interp(times_s, self.time_s, axis) for axis in self.center_px.T], 1)
        return {
            "pupil": (radius - self.radius_px.mean()) / self.radius_px.std(),
            "running": speed / np.abs(self.velocity_cm_s).std(),
            "gaze_px": (center - EYE_CENTER_PX) * GAZE_PX_PER_EYE_PX,
        }


def wander_states(duration_s: float, rng: np.random.Generator) -> States:
    """Running in bouts, a pupil that follows running and drifts, and a gaze that drifts and jumps."""
    n = int(duration_s * SAMPLES_PER_S) + 1
    running = np.cumsum(rng.random(n) < 1 / (15 * SAMPLES_PER_S)) % 2  # bouts of about 15 s
    speed = _smooth(running * 12.0, 1.0) * (1 + 0.2 * _drift(n, 2.0, rng))
    velocity = np.where(rng.random(n) < 0.02, -0.3, 1.0) * speed + rng.normal(0, 0.2, n)
    radius = 40 + 5 * _smooth(running, 3.0) + 4 * _drift(n, 10.0, rng)
    jumps = np.where(rng.random((n, 2)) < 1 / (4 * SAMPLES_PER_S), rng.normal(0, 3.0, (n, 2)), 0)
    saccades = np.stack([lfilter([1], [1, -(1 - 1 / (8 * SAMPLES_PER_S))], axis) for axis in jumps.T], 1)
    center = np.array(EYE_CENTER_PX) + saccades + np.stack([1.5 * _drift(n, 20.0, rng) for _ in "xy"], 1)
    return States(np.arange(n) / SAMPLES_PER_S, radius.clip(10), center, velocity)


def _drift(n: int, time_constant_s: float, rng: np.random.Generator) -> np.ndarray:
    """Ornstein-Uhlenbeck process of unit variance."""
    keep = np.exp(-1 / (time_constant_s * SAMPLES_PER_S))
    kicks = rng.normal(0, np.sqrt(1 - keep**2), n)
    kicks[0] = rng.normal()
    return lfilter([1], [1, -keep], kicks)


def _smooth(signal: np.ndarray, time_constant_s: float) -> np.ndarray:
    keep = np.exp(-1 / (time_constant_s * SAMPLES_PER_S))
    return lfilter([1 - keep], [1, -keep], signal)
