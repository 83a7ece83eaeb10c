"""The structure of the package, judged against its source, parsed with `ast`."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import jaxsnn_mc

ROOT = Path(jaxsnn_mc.__file__).parent
MOST_LINES = 350


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}
CHANNELS = sorted((ROOT.parent / "channels").glob("*.py"))
FILES |= {f"jaxsnn_mc.{module_name(path)}": path for path in CHANNELS}


def nodes(tree: ast.AST, eager: bool) -> Iterator[ast.AST]:
    """All nodes but those under TYPE_CHECKING and, if `eager`, those inside functions."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        if not (eager and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)):
            yield from nodes(child, eager)


def imports(module: str, eager: bool = False) -> set[str]:
    """The modules that a module imports: anywhere in it, or when it is itself imported."""
    path = FILES[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    found = set()
    for node in nodes(ast.parse(path.read_text()), eager):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, node.module] if node.module else above)
            names = [f"{base}.{alias.name}" for alias in node.names]
            found |= {name if name in FILES else base for name in names}
    return found


def users(library: str) -> set[str]:
    """The modules that import a library, at once or on demand."""
    return {m for m in FILES if library in {name.split(".")[0] for name in imports(m)}}


def test_imports_are_acyclic() -> None:
    """Judged against a topological order of the modules, which exists only without cycles."""
    graph = {module: imports(module, eager=True) & FILES.keys() for module in FILES}
    assert "jaxsnn_mc.hines" in graph["jaxsnn_mc.methods"]  # the parser sees `from . import hines`
    assert "jaxsnn_mc.mechanism" in graph["jaxsnn_mc.mechanisms.adex"]  # and `from ..mechanism`
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")
    assert order.index("jaxsnn_mc.hines") < order.index("jaxsnn_mc.simulate")


def test_libraries_stay_out_of_the_solver() -> None:
    """Judged against the layering: only channels and the bridges to Jaxley import it, and no other
    module imports those; only the plots import matplotlib, and they are imported only when a figure
    is asked for; MorphIO, only when a file is read."""
    bridges = {m for m in FILES if m.startswith(("jaxsnn_mc.jaxley", "jaxsnn_mc.channels"))}
    assert users("jaxley") <= bridges
    assert not {m for m in FILES.keys() - bridges if imports(m) & bridges}
    plots = {"jaxsnn_mc.plot", "jaxsnn_mc.plot_protocols", "jaxsnn_mc.bss2.draw"}
    assert users("matplotlib") == plots
    asking = {m for m in FILES if imports(m) & plots}
    assert asking == {"jaxsnn_mc.solution", "jaxsnn_mc.bss2.place"} | {
        f"jaxsnn_mc.protocols.{name}"
        for name in ("back_propagation", "f_i", "input_output", "step", "synaptic")
    }
    assert not {m for m in FILES if imports(m, eager=True) & plots}
    assert not users("dendrify")
    assert users("brian2") == {"jaxsnn_mc.dendrify.equations"}
    assert "brian2" not in imports("jaxsnn_mc.dendrify.equations", eager=True)
    from_it = {
        m for m in FILES if any(name.startswith("jaxsnn_mc.dendrify") for name in imports(m))
    }
    assert from_it <= {m for m in FILES if m.startswith("jaxsnn_mc.dendrify")}
    assert users("morphio") == {"jaxsnn_mc.morphology"}
    assert "morphio" not in imports("jaxsnn_mc.morphology", eager=True)


def test_the_target_and_fit_are_apart() -> None:
    """Judged against the layering: `fit` is handed a quantiser, neither imports the other."""
    fit = {m for m in FILES if m.rpartition(".")[2] in ("fit", "training", "trainable")}
    target = {m for m in FILES if m.startswith("jaxsnn_mc.bss2")}
    assert not any(imports(m) & fit for m in target)
    assert not any(imports(m) & target for m in fit)


@pytest.mark.parametrize("module", FILES)
def test_files_are_short(module: str) -> None:
    """Judged against a limit: a file that exceeds it does more than one thing."""
    assert len(FILES[module].read_text().splitlines()) <= MOST_LINES
