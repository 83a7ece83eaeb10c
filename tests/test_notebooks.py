"""The notebooks: each runs from top to bottom, as a stranger would run it, and finds what it says."""

import os
import re
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
# ZeroMQ and IPython, about themselves
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning:zmq"),
]


def printed(notebook) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def executed(name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """What a notebook prints now, and what it printed when it was saved."""
    for variable in ("XLA_FLAGS", "JAX_ENABLE_X64"):
        monkeypatch.delenv(variable, raising=False)
    assert "JAXSNN_MC_NO_XLA_FLAGS" not in os.environ
    notebook = nbformat.read(FOLDER / name, as_version=4)
    saved = printed(notebook)
    nbclient.NotebookClient(notebook, timeout=900, kernel_name="python3").execute(cwd=str(FOLDER))
    return printed(notebook), saved


def numbers(text: str) -> list[float]:
    return [float(x) for x in re.findall(r"-?\d+\.\d+", text)]


def test_adex_in_jaxley(monkeypatch) -> None:
    """Judged against the saved outputs: the same numbers to 1e-3; the fit ends at 100 ms."""
    found, said = map(numbers, executed("adex_in_jaxley.ipynb", monkeypatch))
    np.testing.assert_allclose(found, said, rtol=1e-3)
    assert abs(found[-1] - 100.0) < 1.0


def test_coming_from_dendrify(monkeypatch) -> None:
    """Judged against what it says: the saved numbers up to the fit to 1e-3, gradients as differences
    to 1 %, and all targets of the fit within 2 %, from 10 % and more off at the start."""
    text, saved = executed("coming_from_dendrify.ipynb", monkeypatch)
    before, fit = text.split("input resistance, MOhm")
    np.testing.assert_allclose(
        numbers(before), numbers(saved.split("input resistance, MOhm")[0]), rtol=1e-3, atol=1e-5
    )
    slopes = [numbers(line) for line in before.splitlines() if "differences" in line]
    assert len(slopes) == 5
    for time, by_time, peak, by_peak in slopes:
        assert [time, peak] == pytest.approx([by_time, by_peak], rel=1e-2, abs=2e-5)
    lines = [numbers(line) for line in f"MOhm{fit}".splitlines() if "target" in line]
    assert len(lines) == 5
    for target, start, _, end, _ in lines:
        assert abs(start / target - 1.0) > 0.1
        assert abs(end / target - 1.0) < 0.02


def test_bss2_target(monkeypatch) -> None:
    """Judged against what it claims: training for the chip beats rounding, the loop beats transfer,
    and the file gives the neuron back."""
    text, _ = executed("bss2_target.ipynb", monkeypatch)
    table = text.split("median error (ms)")[1].splitlines()[1:8]
    error = {line[:24].strip(): float(line[24:]) for line in table}
    assert error["aware"] < 0.5 * error["rounded"]
    assert error["in the loop"] < 0.2 * error["transferred"]
    assert text.split("in the loop")[1].splitlines()[1] == "True"
