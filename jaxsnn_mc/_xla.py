"""XLA options that make simulation loops fast on the CPU, set on import.

- XLA compiles a *whole* loop into one native function only if its working set is below a threshold,
  1024 bytes unless told otherwise; above it, each step pays a dispatch for each of its kernels (ten
  to thirty times slower for one neuron).
- XLA prefers vectors of 256 bits where the processor has 512 (half the speed for populations).

Both are read when the backend starts. They are an optimisation, never a requirement.
"""

import os
import warnings

import jaxlib

OPT_OUT = "JAXSNN_MC_NO_XLA_FLAGS"
"""Environment variable: set it to anything but 0 and XLA_FLAGS is left alone."""

_OPTION = "xla_cpu_small_while_loop_byte_threshold"
_BYTES = 1 << 24
_EXTRA = "--xla_backend_extra_options="
_WIDTH = "--xla_cpu_prefer_vector_width"
_WIDTH_KNOWN_BELOW = (0, 13)  # jaxlib; XLA refuses to start on a flag that it does not know


def with_fast_loops(flags: str, width: bool = True) -> str:
    """XLA_FLAGS with our options added, if not in it already; all else in it is kept.

    Without a leading dash it is the name of a file of flags to XLA, and left alone.
    """
    words = flags.split()
    if words and not words[0].startswith("-"):
        return flags
    if width and _WIDTH not in flags:
        words.append(f"{_WIDTH}=512")
    if _OPTION in flags:
        return " ".join(words)
    option = f"{_OPTION}={_BYTES}"
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


def set_xla_options() -> None:
    """Add our options to XLA_FLAGS, unless opted out; warn when the backend already runs."""
    if os.environ.get(OPT_OUT, "0") not in ("", "0"):
        return
    flags = os.environ.get("XLA_FLAGS", "")
    width = tuple(map(int, jaxlib.__version__.split(".")[:2])) < _WIDTH_KNOWN_BELOW
    wanted = with_fast_loops(flags, width)
    if wanted.split() == flags.split():
        return
    if not _backend_is_up():
        os.environ["XLA_FLAGS"] = wanted
        return
    warnings.warn(
        "jaxsnn_mc was imported after JAX had started its backend, so the XLA options that make "
        "simulation loops fast on the CPU cannot be set any more. Import jaxsnn_mc before the first "
        f"JAX computation, or set XLA_FLAGS='{with_fast_loops('', width)}' yourself. Results are the "
        f"same. Set {OPT_OUT}=1 to silence this.",
        RuntimeWarning,
        stacklevel=3,
    )
