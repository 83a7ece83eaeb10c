"""Poisson spikes for pools of neurons."""

import numpy as np


def poisson(rates: np.ndarray, t_max: float, rng: np.random.Generator) -> np.ndarray:
    """Spike times (ms) of Poisson processes at `rates` (n,), Hz: (n, most), inf where there is none."""
    counts = rng.poisson(1e-3 * t_max * rates)
    end = np.nextafter(np.float32(t_max), np.float32(0.0))  # so that none rounds up to t_max
    times = rng.uniform(0.0, end, (len(rates), counts.max()))
    return np.sort(np.where(np.arange(counts.max()) < counts[:, None], times, np.inf))
