"""Saving training to a file and reading it back, to the same bits.

The file is one line of JSON (what it is, which step, shapes and types of all arrays, a checksum) and
then the arrays. It is written to a temporary file beside it and renamed, so that a file is always a
whole one.
"""

import contextlib
import hashlib
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

FORMAT, VERSION = "jaxsnn_mc fit", 1


def digest(tree: Any) -> str:
    """A checksum of a pytree's arrays: where they are, and all of their bits."""
    text = hashlib.sha256()
    for path, x in jax.tree_util.tree_leaves_with_path(tree):
        if eqx.is_array(x):
            x = np.asarray(x)
            text.update(f"{jax.tree_util.keystr(path)}{x.dtype}{x.shape}".encode() + x.tobytes())
    return text.hexdigest()


def write(path: str | Path, arrays: Any, header: dict[str, Any]) -> None:
    """Writes the pytree `arrays` and what `header` says, whole or not at all."""
    path, content = Path(path), io.BytesIO()
    eqx.tree_serialise_leaves(content, arrays)
    data = content.getvalue()
    header = header | {"format": FORMAT, "version": VERSION, "arrays": _describe(arrays)}
    header["sha256"] = hashlib.sha256(data).hexdigest()
    line = json.dumps(header).encode() + b"\n"
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(line + data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def read_header(path: str | Path) -> tuple[dict[str, Any], bytes]:
    """What a file says of itself, and its arrays' bytes.

    Raises ValueError if it is no such file, is of another version, or was cut or altered.
    """
    line, _, data = Path(path).read_bytes().partition(b"\n")
    try:
        header = json.loads(line)
        known = header["format"] == FORMAT
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise ValueError(f"{path} is not a file that fit saved.")
    if header["version"] != VERSION:
        raise ValueError(f"{path} has version {header['version']}; this is version {VERSION}.")
    if hashlib.sha256(data).hexdigest() != header["sha256"]:
        raise ValueError(f"{path} is damaged: its checksum does not fit; use an older copy.")
    return header, data


def read_arrays(path: str | Path, header: dict[str, Any], data: bytes, like: Any) -> Any:
    """The arrays of a file, as the pytree `like`. Raises ValueError where they do not fit it."""
    found, wanted = header["arrays"], _describe(like)
    if found != wanted:
        odd = [f"{a} instead of {b}" for a, b in zip(found, wanted, strict=False) if a != b]
        odd = odd or [f"{len(found)} arrays instead of {len(wanted)}"]
        raise ValueError(f"{path} was saved by another fit (or optimizer): it holds {odd[0]}.")
    return eqx.tree_deserialise_leaves(io.BytesIO(data), like)


def _describe(tree: Any) -> list[str]:
    """Where each array is, its type and its shape."""
    return [
        f"{jax.tree_util.keystr(path)} {x.dtype}{list(x.shape)}"
        for path, x in jax.tree_util.tree_leaves_with_path(tree)
    ]
