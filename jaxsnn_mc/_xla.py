"""Let XLA compile a whole simulation loop into one native function.

XLA's CPU backend does so only for loops whose working set is below a threshold, 1024 bytes unless
told otherwise; above it, each step pays a dispatch for each of its kernels (ten to thirty times
slower for one neuron). The threshold is read when the backend starts, so it is set on import. It is
an optimisation, never a requirement: everything works without it.
"""

import os
import warnings

OPT_OUT = "JAXSNN_MC_NO_XLA_FLAGS"
"""Environment variable: set it to anything but 0 and XLA_FLAGS is left alone."""

_OPTION = "xla_cpu_small_while_loop_byte_threshold"
_BYTES = 1 << 20
_EXTRA = "--xla_backend_extra_options="


def with_loop_threshold(flags: str) -> str:
    """The XLA_FLAGS with the loop threshold added; a threshold or other options in it are kept."""
    if _OPTION in flags:
        return flags
    option = f"{_OPTION}={_BYTES}"
    words = flags.split()
    for i, word in enumerate(words):
        if word.startswith(_EXTRA):
            words[i] = f"{word},{option}"
            return " ".join(words)
    return " ".join([*words, _EXTRA + option])


def _backend_is_up() -> bool:
    try:
        from jax._src import xla_bridge

        return xla_bridge.backends_are_initialized()
    except (ImportError, AttributeError):  # a private function: without it, assume the usual case
        return False


def raise_loop_threshold() -> None:
    """Add the threshold to XLA_FLAGS, unless opted out; warn when the backend already runs."""
    if os.environ.get(OPT_OUT, "0") not in ("", "0"):
        return
    flags = os.environ.get("XLA_FLAGS", "")
    wanted = with_loop_threshold(flags)
    if wanted == flags:
        return
    if _backend_is_up():
        warnings.warn(
            "jaxsnn_mc was imported after JAX had started its backend, so the XLA option that makes "
            "simulation loops fast on the CPU cannot be set any more. Import jaxsnn_mc before the "
            f"first JAX computation, or set XLA_FLAGS='{_EXTRA}{_OPTION}={_BYTES}' yourself. "
            f"Results are the same. Set {OPT_OUT}=1 to silence this.",
            RuntimeWarning,
            stacklevel=3,
        )
        return
    os.environ["XLA_FLAGS"] = wanted
