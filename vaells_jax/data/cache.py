"""Arrays that take long to make, kept in the user's cache folder for the next time."""

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

    A file is unchanged if its path, size and time of modification are.

    Args:
        files: The files that are decoded, all of them.
        decode: Reads them.
    """
    about = [
        (str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns)
        for path in files
    ]
    return make_once("decoded", about, decode)


def make_once(kind: str, about: object, make: Callable[[], Arrays]) -> Arrays:
    """Return arrays from the cache, or make them and keep them there.

    A cache that cannot be written or read is ignored; the arrays are the same to
    the bit.

    Args:
        kind: Name of a folder in the cache.
        about: All that decides what the arrays are; its `repr` stands for it.
        make: Makes them.
    """
    name = hashlib.sha256(repr(about).encode()).hexdigest()[:32]
    kept = _folder(kind) / f"{name}.npz"
    try:
        with kept.open("rb") as file, np.load(file) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        pass  # not there yet, or damaged
    arrays = make()
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
            path = pathlib.Path(scratch) / kept.name
            np.savez(path, **arrays)
            os.replace(path, kept)
    except OSError:
        pass  # a full disk, or nobody's to write on
    return arrays


def _folder(kind):
    return platformdirs.user_cache_path("vaells_jax", appauthor=False) / kind
