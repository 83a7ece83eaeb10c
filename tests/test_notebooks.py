"""The notebooks: each runs from top to bottom, as a stranger would run it, and finds what it says."""

import os
import re
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest

NOTEBOOKS = {
    path.stem: path for path in sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
}
# ZeroMQ and IPython, about themselves
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning:zmq"),
]


def printed(notebook) -> list[float]:
    """The numbers with a decimal point that the cells printed."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = "".join(output.text for output in outputs if output.output_type == "stream")
    return [float(x) for x in re.findall(r"\d+\.\d+", text)]


def run(name: str, monkeypatch) -> tuple[list[float], list[float]]:
    """What a notebook prints, and what it has saved."""
    for variable in ("XLA_FLAGS", "JAX_ENABLE_X64"):
        monkeypatch.delenv(variable, raising=False)
    assert "JAXSNN_MC_NO_XLA_FLAGS" not in os.environ
    notebook = nbformat.read(NOTEBOOKS[name], as_version=4)
    saved = printed(notebook)
    client = nbclient.NotebookClient(notebook, timeout=900, kernel_name="python3")
    client.execute(cwd=str(NOTEBOOKS[name].parent))
    return printed(notebook), saved


def test_adex_in_jaxley(monkeypatch) -> None:
    """Judged against the saved outputs: the same numbers to 1e-3; the fit ends at 100 ms."""
    found, said = run("adex_in_jaxley", monkeypatch)
    np.testing.assert_allclose(found, said, rtol=1e-3)
    assert abs(found[-1] - 100.0) < 1.0


@pytest.mark.parametrize("name", sorted(NOTEBOOKS.keys() - {"adex_in_jaxley"}))
def test_others(name: str, monkeypatch) -> None:
    """Judged against their own cells: none raises."""
    run(name, monkeypatch)
