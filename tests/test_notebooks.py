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


def test_adex_in_jaxley(monkeypatch) -> None:
    """Judged against the saved outputs: the same numbers to 1e-3; the fit ends at 100 ms."""
    for name in ("XLA_FLAGS", "JAX_ENABLE_X64"):
        monkeypatch.delenv(name, raising=False)
    assert "JAXSNN_MC_NO_XLA_FLAGS" not in os.environ
    notebook = nbformat.read(FOLDER / "adex_in_jaxley.ipynb", as_version=4)
    saved = printed(notebook)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute(cwd=str(FOLDER))
    found, said = (
        [float(x) for x in re.findall(r"\d+\.\d+", text)] for text in (printed(notebook), saved)
    )
    np.testing.assert_allclose(found, said, rtol=1e-3)
    assert abs(found[-1] - 100.0) < 1.0
