"""The XLA options that are set on import, in fresh processes with environments of their own.

Judged against XLA itself: what it compiles shows its threshold, its device count another flag.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

OPTION = "xla_cpu_small_while_loop_byte_threshold"
EXTRA = "--xla_backend_extra_options="
WIDTH = "--xla_cpu_prefer_vector_width="
DEVICES = "--xla_force_host_platform_device_count=2"
OTHER = "xla_cpu_some_other_option"
OPT_OUT = "JAXSNN_MC_NO_XLA_FLAGS"

PROGRAM = """
import os, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    {before}
    import jaxsnn_mc
    {after}
import jax
import jax.numpy as jnp
def add_up(x):  # a loop over 4 kB, more than XLA's own threshold and less than the package's
    return jax.lax.fori_loop(0, 5, lambda i, s: s + i * x, jnp.zeros(512))
loop = jax.jit(add_up).lower(jnp.ones(512)).compile()
print("result", loop(jnp.ones(512))[0], "devices", jax.device_count())
print("small", "xla_cpu_small_call" in loop.as_text())  # how XLA marks a loop it keeps whole
print("flags", os.environ.get("XLA_FLAGS"))
for w in caught:
    print("warning", w.category.__name__, w.filename, " ".join(str(w.message).split()))
"""


def run(before: str = "pass", after: str = "pass", **environment: str) -> dict[str, list[str]]:
    """Runs the program: its printed lines by their first word."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", OPT_OUT)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before, after=after)],
        env={**inherited, "JAX_PLATFORMS": "cpu", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    lines: dict[str, list[str]] = {"result": [], "small": [], "flags": [], "warning": []}
    for line in done.stdout.splitlines():
        first, _, rest = line.partition(" ")
        lines[first].append(rest)
    return lines


def test_fresh() -> None:
    """Judged against XLA: it starts, compiles the loop as one, and the result is right."""
    out = run()
    options = out["flags"][0]
    assert options.count(EXTRA) == options.count(OPTION) == 1
    assert options.count(WIDTH) <= 1  # jaxlib may not know it any more
    assert out["small"] == ["True"]
    assert out["result"] == ["10.0 devices 1"]
    assert out["warning"] == []


@pytest.mark.parametrize(
    ("flags", "devices"),
    [(DEVICES, 2), (f"{EXTRA}{OTHER}=1", 1), (f"{DEVICES} {EXTRA}{OTHER}=1,{OTHER}_2=2", 2)],
    ids=["another flag", "other extra options", "both"],
)
def test_users_flags_are_kept(flags: str, devices: int) -> None:
    """Judged against the user's flags: all still there, effective, in a single list of extras."""
    out = run(XLA_FLAGS=flags)
    words = out["flags"][0].split()
    extras = [word for word in words if word.startswith(EXTRA)]
    assert len(extras) == 1  # XLA would use only one of several
    assert len(re.findall(OPTION, extras[0])) == 1
    for word in flags.split():
        assert word in words or extras[0].startswith(word + ",")
    assert out["result"] == [f"10.0 devices {devices}"]
    assert out["small"] == ["True"]
    assert out["warning"] == []


@pytest.mark.parametrize(
    "flags",
    [
        f"{WIDTH}128 {EXTRA}{OPTION}=77",
        f"{DEVICES} {EXTRA}{OTHER}=1,{OPTION}=77,{OTHER}_2=2 {WIDTH}128",
    ],
)
def test_users_values_are_kept(flags: str) -> None:
    """Judged against the user's values of the very same options: XLA_FLAGS as they were."""
    out = run(XLA_FLAGS=flags)
    assert out["flags"] == [flags]
    assert out["small"] == ["False"]
    assert out["warning"] == []


def test_flags_in_a_file(tmp_path: Path) -> None:
    """Judged against XLA: it takes XLA_FLAGS without leading dashes for the name of a file of flags,
    and stops where there is no such file."""
    file = tmp_path / "flags.txt"
    file.write_text(DEVICES)
    assert run(XLA_FLAGS=str(file))["result"] == ["10.0 devices 2"]


@pytest.mark.parametrize(("value", "left_alone"), [("1", True), ("yes", True), ("0", False)])
def test_opt_out(value: str, left_alone: bool) -> None:
    """Judged against the variable's description: anything but 0 leaves XLA_FLAGS alone."""
    out = run(**{OPT_OUT: value, "XLA_FLAGS": DEVICES})
    assert (out["flags"] == [DEVICES]) == left_alone
    assert out["small"] == [str(not left_alone)]
    assert out["result"] == ["10.0 devices 2"]
    assert out["warning"] == []


START = "import jax; jax.devices()"


def test_too_late() -> None:
    """Judged against the need: one RuntimeWarning, where the user imports, with the remedy."""
    out = run(before=START, after="from jaxsnn_mc import simulate")
    assert out["small"] == ["False"]
    assert out["result"] == ["10.0 devices 1"]
    (warning,) = out["warning"]
    category, filename, message = warning.split(" ", 2)
    assert category == "RuntimeWarning"
    assert filename == "<string>"  # the user's program, not the package or importlib
    for words in ("XLA_FLAGS", OPTION, OPT_OUT):
        assert words in message


@pytest.mark.parametrize(
    ("before", "environment"),
    [
        ("import jax", {}),
        (START, {"XLA_FLAGS": f"{WIDTH}128 {EXTRA}{OPTION}=77"}),
        (START, {OPT_OUT: "1"}),
    ],
    ids=["jax imported but not started", "all given", "opted out"],
)
def test_no_warning_without_need(before: str, environment: dict[str, str]) -> None:
    """Judged against the need: nothing to warn of where nothing is lost or the user knows."""
    assert run(before=before, **environment)["warning"] == []
