"""Decoded arrays, cached in the user's cache folder for later runs."""

import hashlib
import os
import pathlib
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import platformdirs

Arrays = dict[str, Any]


def decode_once(files: Sequence[pathlib.Path], decode: Callable[[], Arrays]) -> Arrays:
    """Return what `decode` makes of some files, from the cache if they are unchanged.

    A file is unchanged if its path, size and time of modification are. A cache that
    cannot be written or read is ignored; the arrays are the same to the bit.

    Args:
        files: The files that are decoded, all of them.
        decode: Reads them.
    """
    kept = _place(files)
    try:
        with kept.open("rb") as file, np.load(file) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        pass  # not there yet, or damaged
    arrays = decode()
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
            path = pathlib.Path(scratch) / kept.name
            np.savez(path, **arrays)
            os.replace(path, kept)
    except OSError:
        pass  # a full disk, or nobody's to write on
    return arrays


def _place(files):
    """Return where the arrays of these files, as they are now, lie."""
    about = [
        (str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns)
        for path in files
    ]
    name = hashlib.sha256(repr(about).encode()).hexdigest()[:32]
    return _folder() / f"{name}.npz"


def _folder():
    return platformdirs.user_cache_path("vaells_jax", appauthor=False) / "decoded"
