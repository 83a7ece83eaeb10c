"""The README: its Python blocks run, in order, as a stranger would run them, and print what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text()
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
JAXLEYS_OWN = ("-W", "ignore::DeprecationWarning", "-W", "ignore::PendingDeprecationWarning")
SAID = re.findall(r"```text\n(.*)\n", TEXT)[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme")


@pytest.fixture(scope="module")
def printed(folder: Path) -> list[str]:
    """What all blocks print, a line each, run in a fresh process in an empty folder."""
    environment = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_ENABLE_X64")}
    done = subprocess.run(
        [sys.executable, "-W", "error", *JAXLEYS_OWN, "-c", "\n".join(PYTHON)],
        env={**environment, "JAX_PLATFORMS": "cpu", "MPLBACKEND": "Agg"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+\.?\d*", text)]


def test_quickstart_is_short() -> None:
    """Judged against a limit: at most 15 lines."""
    assert len(PYTHON[0].splitlines()) <= 15


def test_quickstart(printed: list[str], folder: Path) -> None:
    """Judged against the block that follows: the same words, the spike times within the rounding of
    float32 over 20,000 steps; and a picture."""
    np.testing.assert_allclose(numbers(printed[0]), numbers(SAID), rtol=0.0, atol=0.01)
    assert printed[0].split("]")[1] == SAID.split("]")[1]
    assert (folder / "quickstart.png").stat().st_size > 10_000


def test_comments(printed: list[str]) -> None:
    """Judged against the comment beside each `print`: the same numbers."""
    comments = re.findall(r"print\(.*\)  # (.*)", TEXT)
    assert len(comments) == len(printed) - 1
    for line, comment in zip(printed[1:], comments, strict=True):
        np.testing.assert_allclose(numbers(line), numbers(comment), rtol=2e-3)


def test_files_exist() -> None:
    """Judged against the repository: the README names no file that is not there."""
    there = {path.name for path in README.parent.rglob("*.*")} | {"quickstart.png"}
    named = re.findall(r"[\w/.]+\.(?:py|sh|md|png|ipynb)\b", TEXT)
    assert {name.split("/")[-1] for name in named} <= there
