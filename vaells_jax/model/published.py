"""A reader of the authors' published checkpoints, which runs none of their code.

The one user of PyTorch, which is an extra of this project (`published`) and
is imported only here. The files are pickles; PyTorch's restricted reader admits
tensors, numbers and containers alone, and the NumPy scalars of older files.
"""

import contextlib
import io
import os
import pathlib
import pickletools
import zipfile
from typing import Any

import jax.numpy as jnp
import numpy as np

from vaells_jax.checks import as_count, check_kind
from vaells_jax.model.types import Params, PyTree

_ENCODER = {"Conv_0": "model_enc.0", "Conv_1": "model_enc.2", "Conv_2": "model_enc.5"}
_DECODER = {
    "TransposedConvolution_0": "model.0",
    "TransposedConvolution_1": "model.2",
    "TransposedConvolution_2": "model.4",
}
_MAPS = (64, 7, 7)  # what the encoder flattens and the decoder unfolds: channels first


def load_published(
    path: str | os.PathLike[str], *, num_classes: int | None = None
) -> Params:
    """Read a published checkpoint of the networks of Table 5 or of Table 2.

    Args:
        path: The authors' `.pt` file.
        num_classes: Number of classes of the anchors, in order; by default ten for
            images and one for the swiss roll.

    Returns:
        Float32 parameters: encoder and decoder for `convolutional_networks(d)` or for
        `dense_networks(d, size)`; operators that act from the left; anchors
        `[C, N_a, *x]`, or None if the file has none (the circles'); the latent scale
        of the authors' runs, which no file holds: 10 for images, else 1.

    Raises:
        ValueError: If the file cannot be read safely, an entry is missing, or one has
            an unexpected type or shape; names the entry.
        ImportError: If PyTorch is not installed.
    """
    check_kind(path=(path, str | os.PathLike))
    if num_classes is not None:
        num_classes = as_count("num_classes", num_classes)
    entries = _read(pathlib.Path(path))
    encoder = _Entries(entries, "model_state_dict_encoder")
    decoder = _Entries(entries, "model_state_dict_decoder")
    latent_size = encoder.array("fc_mean.bias", (None,)).size
    anchors: Any
    if "fc.0.weight" in decoder.entries or "model_enc.2.weight" in encoder.entries:
        scale = 10.0
        networks = _encoder(encoder, latent_size), _decoder(decoder, latent_size)
        anchors = _anchors(_Entries(entries), (1, 28, 28), num_classes or 10)
        anchors = anchors.reshape(*anchors.shape[:2], 28, 28)
    else:
        scale = 1.0
        networks, size = _dense_pair(encoder, decoder, latent_size)
        anchors = None
        if "anchors" in entries:
            anchors = _anchors(_Entries(entries), (size,), num_classes or 1)
    operators = _operators(_Entries(entries), latent_size)
    return Params(*networks, operators, anchors, jnp.asarray(scale, operators.dtype))


class _Entries:
    """A checkpoint's dictionary, or one inside it, read with checks."""

    def __init__(self, entries: dict[str, Any], group: str | None = None) -> None:
        self.prefix = f"{group}." if group else ""
        found = entries if group is None else entries.get(group)
        if not isinstance(found, dict):
            raise ValueError(f"the checkpoint has no dictionary {group!r}.")
        self.entries = found

    def array(self, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """Return an entry as float32, of the wanted shape (None: any size)."""
        value = self.entries.get(name)
        numbers = getattr(value, "detach", None)
        if numbers is None:
            kind = "nothing" if value is None else type(value).__name__
            raise ValueError(f"{self.prefix}{name} must be a tensor; got {kind}.")
        array = np.asarray(numbers().cpu().numpy())
        fits = array.ndim == len(shape) and all(
            wanted in (None, size)
            for wanted, size in zip(shape, array.shape, strict=True)
        )
        if not fits or not np.all(np.isfinite(array)):
            raise ValueError(
                f"{self.prefix}{name} must be finite numbers of shape "
                f"{['any' if s is None else s for s in shape]}; got shape "
                f"{list(array.shape)}."
            )
        return array.astype(np.float32)


def _read(path: pathlib.Path) -> dict[str, Any]:
    """Unpickle a file with PyTorch's restricted reader."""
    if not path.is_file():
        raise ValueError(f"no checkpoint file at {path}.")
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "reading published weights needs PyTorch: pip install torch"
        ) from error
    # Files written by older PyTorch hold the learning rate as a NumPy scalar.
    scalars: list[Any] = [
        np.dtype,
        type(np.dtype(np.float64)),
        type(np.dtype(np.int64)),
    ]
    with contextlib.suppress(ImportError):
        from numpy._core import multiarray

        scalars += [
            multiarray.scalar,
            (multiarray.scalar, "numpy.core.multiarray.scalar"),
        ]
    try:
        with torch.serialization.safe_globals(scalars):
            entries = torch.load(
                _modern(path.read_bytes()), map_location="cpu", weights_only=True
            )
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read safely as a checkpoint: {error}"
        ) from error
    if not isinstance(entries, dict):
        raise ValueError(
            f"{path} must hold a dictionary; got {type(entries).__name__}."
        )
    return entries


def _modern(data: bytes) -> io.BytesIO:
    """Spell the integers of Python 2's pickles as PyTorch's restricted reader wants.

    Python 2 wrote integers over 32 bits as text (opcode INT), which that reader does
    not know. Only these are rewritten; nothing is unpickled here.
    """
    if zipfile.is_zipfile(io.BytesIO(data)) or not data.startswith(b"\x80"):
        return io.BytesIO(data)
    stream, written, done = io.BytesIO(data), [], 0
    for _ in range(4):  # magic number, version, system, entries; then the tensors
        for code, value, position in pickletools.genops(stream):
            if code.name == "INT" and type(value) is int and position is not None:
                number = value.to_bytes(9, "little", signed=True)
                end = data.index(b"\n", position) + 1
                written += [data[done:position], b"\x8a\x09", number]
                done = end
    return io.BytesIO(b"".join([*written, data[done:]]))


def _encoder(entries: _Entries, latent_size: int) -> PyTree:
    layers = {}
    for channels, (ours, theirs) in zip((1, 64, 64), _ENCODER.items(), strict=True):
        kernel = entries.array(f"{theirs}.weight", (64, channels, 4, 4))
        layers[ours] = {
            "kernel": kernel.transpose(
                2, 3, 1, 0
            ),  # [out, in, H, W] to [H, W, in, out]
            "bias": entries.array(f"{theirs}.bias", (64,)),
        }
    dense = entries.array("fc_mean.weight", (latent_size, 64 * 7 * 7))
    dense = dense.reshape(latent_size, *_MAPS).transpose(2, 3, 1, 0)
    layers["Dense_0"] = {
        "kernel": dense.reshape(-1, latent_size),  # rows by height, width, channel
        "bias": entries.array("fc_mean.bias", (latent_size,)),
    }
    return _as_parameters(layers)


def _decoder(entries: _Entries, latent_size: int) -> PyTree:
    dense = entries.array("fc.0.weight", (64 * 7 * 7, latent_size))
    bias = entries.array("fc.0.bias", (64 * 7 * 7,))
    layers = {
        "Dense_0": {
            "kernel": dense.reshape(*_MAPS, -1)
            .transpose(3, 1, 2, 0)
            .reshape(latent_size, -1),
            "bias": bias.reshape(_MAPS).transpose(1, 2, 0).reshape(-1),
        }
    }
    for features, (ours, theirs) in zip((64, 64, 1), _DECODER.items(), strict=True):
        kernel = entries.array(f"{theirs}.weight", (64, features, 4, 4))
        # [in, out, H, W], applied as a transpose: our kernel is its mirror image.
        layers[ours] = {
            "kernel": kernel[:, :, ::-1, ::-1].transpose(2, 3, 0, 1),
            "bias": entries.array(f"{theirs}.bias", (features,)),
        }
    return _as_parameters(layers)


def _dense_pair(
    encoder: _Entries, decoder: _Entries, latent_size: int
) -> tuple[tuple[PyTree, PyTree], int]:
    """Read both networks of Table 2, and the size of the data."""
    hidden = encoder.array("model_enc.0.bias", (None,)).size
    size = decoder.array("model.2.bias", (None,)).size

    def dense(entries: _Entries, name: str, inputs: int, outputs: int):
        kernel = entries.array(f"{name}.weight", (outputs, inputs))
        return {"kernel": kernel.T, "bias": entries.array(f"{name}.bias", (outputs,))}

    pair = (
        {
            "Dense_0": dense(encoder, "model_enc.0", size, hidden),
            "Dense_1": dense(encoder, "fc_mean", hidden, latent_size),
        },
        {
            "Dense_0": dense(decoder, "model.0", latent_size, hidden),
            "Dense_1": dense(decoder, "model.2", hidden, size),
        },
    )
    return (_as_parameters(pair[0]), _as_parameters(pair[1])), size


def _operators(entries: _Entries, latent_size: int) -> Any:
    """Unfold `Psi [d*d, M]`, whose columns hold the operators column by column."""
    stacked = entries.array("Psi", (latent_size**2, None))
    square = stacked.T.reshape(-1, latent_size, latent_size)
    return jnp.asarray(square.transpose(0, 2, 1))


def _anchors(entries: _Entries, shape: tuple[int, ...], num_classes: int) -> Any:
    points = entries.array("anchors", (None, *shape))
    if len(points) == 0 or len(points) % num_classes:
        raise ValueError(
            f"anchors must be as many for each of {num_classes} classes; got "
            f"{len(points)}."
        )
    return jnp.asarray(points.reshape(num_classes, -1, *shape))


def _as_parameters(layers: dict[str, dict[str, np.ndarray]]) -> PyTree:
    arrays = {
        name: {kind: jnp.asarray(np.ascontiguousarray(x)) for kind, x in layer.items()}
        for name, layer in layers.items()
    }
    return {"params": arrays}
