"""Image sets: MNIST and its relatives from prepared files, and bundled digits.

The one owner of `tensorflow_datasets`, which is imported only when a set is read.
A set prepared as array_record is read without TensorFlow; preparing one needs it.
"""

import contextlib
import difflib
import importlib.util
import logging
import os
import pathlib
import socket
import urllib.request
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

PREPARED_NAMES = ("mnist", "fashion_mnist", "kmnist")
DATASET_NAMES = (*PREPARED_NAMES, "digits")
NUM_CLASSES = 10
_IMAGE_SHAPE = (28, 28)
_TRAIN_SIZE = 50_000
_SPLIT_SIZES = {"train": 60_000, "test": 10_000}
_READ_CHUNK = 10_000
# Where TFDS downloads each set from.
_HOSTS = {
    "mnist": "storage.googleapis.com",
    "fashion_mnist": "fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    "kmnist": "codh.rois.ac.jp",
}

_logger = logging.getLogger(__name__)


class ImageSplit(NamedTuple):
    """Images in [0, 1] and their class labels."""

    images: Float[np.ndarray, "n 28 28"]
    labels: Int[np.ndarray, " n"]


class ImageDataset(NamedTuple):
    """A named image set with its three disjoint splits."""

    name: str
    train: ImageSplit
    validation: ImageSplit
    test: ImageSplit


def load_images(name: str | None, *, data_dir: str | None = None) -> ImageDataset:
    """Load an image set: 50,000/10,000/10,000 images, or the bundled digits.

    A set that is not yet prepared is downloaded and prepared where TensorFlow is
    installed, and is missing otherwise.

    Args:
        name: one of `DATASET_NAMES`. None stands for "mnist" where it can be had and
            otherwise, with a logged warning, for scikit-learn's 1,797 digits.
        data_dir: the folder that holds the prepared sets; by default the environment
            variable TFDS_DATA_DIR, then ~/tensorflow_datasets.

    Returns:
        The set under the name that was loaded: float32 images in [0, 1], int32 labels.

    Raises:
        ValueError: for an unknown name, for a named set that is missing, and for a
            prepared set whose files are truncated, corrupt or of the wrong size.
        ImportError: where a prepared set is there but the packages to read it are not.

    Note:
        TFDS stores MNIST in an order of its own, so that the first 50,000 training
        images are not those of the original training file.
    """
    if name is not None and name not in DATASET_NAMES:
        near = difflib.get_close_matches(name, DATASET_NAMES, cutoff=0.4)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(
            f"name: got {name!r}, wanted one of {', '.join(DATASET_NAMES)}{hint}"
        )
    if name == "digits":
        return _load_digits()
    root = pathlib.Path(
        data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    ).expanduser()
    try:
        folder = _find_or_prepare(name or "mnist", root)
    except ValueError as error:
        if name is not None:
            raise
        _logger.warning(
            "%s\nGoing on with scikit-learn's 1,797 digits, resampled to 28x28.", error
        )
        return _load_digits()
    return _load_prepared(name or "mnist", folder)


def _find_or_prepare(name: str, root: pathlib.Path) -> pathlib.Path:
    """Return the folder of the newest prepared version, preparing one if possible."""
    folder = _newest_version(name, root)
    if folder is not None:
        return folder
    remedy = (
        "Set TFDS_DATA_DIR (or data_dir) to a folder that holds it, or prepare it "
        "once with a network: `pip install tensorflow-cpu`, then "
        f"`python -c \"import tensorflow_datasets as tfds; tfds.builder('{name}', "
        "file_format='array_record').download_and_prepare()\"`."
    )
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
    return max(found, key=lambda path: _version_key(path.name), default=None)


def _version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else -1 for part in version.split("."))


def _check_network(host: str) -> None:
    """Raise OSError where a host is out of reach: TFDS tries again for minutes."""
    if not urllib.request.getproxies():
        socket.create_connection((host, 80), timeout=10.0).close()


def _prepare(name: str, root: pathlib.Path) -> None:
    """Download a set and write it as array_record; needs TensorFlow and a network."""
    tfds = _import_tfds()
    builder = tfds.builder(name, data_dir=str(root), file_format="array_record")
    builder.download_and_prepare()


def _import_tfds() -> Any:
    try:
        # TFDS needs these two for images and does not declare them.
        import importlib_resources  # noqa: F401
        import PIL  # noqa: F401
        import tensorflow_datasets
    except ImportError as error:
        raise ImportError(
            f"reading image sets needs {error.name!r}: "
            "pip install 'vaells_jax[experiments]'"
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


def _load_prepared(name: str, folder: pathlib.Path) -> ImageDataset:
    tfds = _import_tfds()
    try:
        with _quiet():
            builder = tfds.builder_from_directory(str(folder))
    except Exception as error:
        raise ValueError(
            f"{folder}: the set's dataset_info.json or features.json cannot be read "
            f"({error}); delete the folder and prepare the set again, or update "
            "tensorflow-datasets"
        ) from error
    train = _read_split(builder, "train", _SPLIT_SIZES["train"])
    test = _read_split(builder, "test", _SPLIT_SIZES["test"])
    return ImageDataset(
        name,
        ImageSplit(train.images[:_TRAIN_SIZE], train.labels[:_TRAIN_SIZE]),
        ImageSplit(train.images[_TRAIN_SIZE:], train.labels[_TRAIN_SIZE:]),
        test,
    )


def _read_split(builder: Any, split: str, size: int) -> ImageSplit:
    """Read one split in bulk and check that it is what its name promises."""
    images = np.empty((size, *_IMAGE_SHAPE), np.float32)
    labels = np.empty(size, np.int32)
    files = str(builder.data_path)
    try:
        files = ", ".join(str(path) for path in builder.info.splits[split].filepaths)
        with _quiet():
            source = builder.as_data_source(split)
            if len(source) != size:
                raise ValueError(f"{len(source)} records")
            for start in range(0, size, _READ_CHUNK):
                # A list at a time: the decoded records take far more than the arrays.
                keys = list(range(start, min(start + _READ_CHUNK, size)))
                records = source.__getitems__(keys)
                pixels = np.stack([record["image"] for record in records])
                images[keys] = pixels[..., 0]
                labels[keys] = [record["label"] for record in records]
    except Exception as error:
        raise ValueError(
            f"{files}: cannot be read as {size} images of 28x28 ({error}); the file is "
            "missing, truncated, corrupt or not array_record: delete its folder and "
            "prepare the set again"
        ) from error
    if labels.min() < 0 or labels.max() >= NUM_CLASSES:
        raise ValueError(
            f"{files}: labels from {labels.min()} to {labels.max()}, "
            f"wanted 0 to {NUM_CLASSES - 1}"
        )
    images /= 255.0
    return ImageSplit(images, labels)


def _load_digits() -> ImageDataset:
    """Resample scikit-learn's digits and deal each class out 70/15/15 in file order."""
    import scipy.ndimage
    import sklearn.datasets

    bunch = sklearn.datasets.load_digits()
    labels = bunch.target.astype(np.int32)
    factor = _IMAGE_SHAPE[0] / bunch.images.shape[1]
    scale = (1.0, factor, factor)
    images = scipy.ndimage.zoom(
        bunch.images / 16.0, scale, order=3, mode="nearest", grid_mode=True
    )
    # Cubic splines overshoot beside strong edges.
    images = np.clip(images, 0.0, 1.0).astype(np.float32)
    rank = np.zeros_like(labels)
    for label in range(NUM_CLASSES):
        members = labels == label
        rank[members] = np.arange(members.sum())
    # Twenty slots a round: fourteen for training, three for each of the others.
    slot = rank % 20
    masks = (slot < 14, (slot >= 14) & (slot < 17), slot >= 17)
    splits = (ImageSplit(images[mask], labels[mask]) for mask in masks)
    return ImageDataset("digits", *splits)
