"""Reading a finished run back: the trained model, without data or experiment."""

import os
import pathlib
from typing import Any
from zipfile import BadZipFile

import jax
import jax.numpy as jnp
import numpy as np

from vaells_jax.baselines.base import BaselineParams
from vaells_jax.checks import check_kind
from vaells_jax.model.types import Params
from vaells_jax.networks.contract import Networks
from vaells_jax.runs.config import BaselineConfig, VaellsConfig
from vaells_jax.runs.folder import (
    parse_record,
    read_config,
    read_record,
    trained_checkpoints,
)
from vaells_jax.runs.models import baseline, vaells
from vaells_jax.trained.base import TrainedModel, from_named_arrays, named_arrays
from vaells_jax.trained.baseline import TrainedBaseline
from vaells_jax.trained.vaells import TrainedVaells


def load_run(
    path: str | os.PathLike[str], *, networks: Networks | None = None
) -> TrainedModel:
    """Read a trained model from a run's folder, or from a file that `export` wrote.

    Neither the data nor the experiment is needed; nothing in the folder is changed.

    Args:
        path: The folder, or the `.npz` file.
        networks: The run's networks, if they are your own.

    Returns:
        The model of the best checkpoint by validation, or else of the newest.

    Raises:
        ValueError: If there is no such run, its networks are missing or differ, or its
            numbers have another precision than this process.
    """
    check_kind(path=(path, str | os.PathLike))
    if networks is not None:
        check_kind(networks=(networks, Networks))
    path = pathlib.Path(path)
    if path.is_dir():
        record, arrays = _from_folder(path)
    elif path.with_suffix(".npz").is_file():
        path = path.with_suffix(".npz")
        record = parse_record(path.with_suffix(".json"))
        try:
            with path.open("rb") as file:
                arrays = dict(np.load(file))
        except (ValueError, OSError, EOFError, BadZipFile) as error:
            raise ValueError(f"{path} cannot be read: {error}.") from error
    else:
        raise ValueError(f"{path} is neither a run's folder nor an exported .npz file.")
    config = read_config(record, path)
    precision = record["environment"]["precision"]
    own = str(jnp.zeros(()).dtype)
    if precision != own:
        raise ValueError(
            f"{path} holds {precision} numbers, this process has {own}: set "
            f"jax_enable_x64 to {precision == 'float64'}."
        )
    facts = record["data"]
    static: Any
    trained: TrainedModel
    if isinstance(config, VaellsConfig):
        static = vaells(config, facts, networks)
        size = config.model.latent_size
        params = from_named_arrays(Params, arrays)
        if path.is_dir():  # a state's; a file has the matrices
            params = static.dictionary(params)
        trained = TrainedVaells(static, params, config.weights, record=record)
    else:
        assert isinstance(config, BaselineConfig)
        static = baseline(config, facts, networks)
        size = static.decoder_size
        params = from_named_arrays(BaselineParams, arrays)
        trained = TrainedBaseline(static, params, record=record)
    _check_fit(params, static.networks, tuple(facts["shape"]), size, path)
    return trained


def _from_folder(path: pathlib.Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the record and the arrays of a run's best or newest checkpoint."""
    record, checkpoints = read_record(path), trained_checkpoints(path)
    if record is None or checkpoints is None:
        raise ValueError(f"{path} holds no trained run: it has no complete checkpoint.")
    state = checkpoints.restore(None)
    checkpoints.close()
    return record, named_arrays(state["params"])


def _check_fit(params, networks, shape, size, path):
    """Raise a ValueError unless parameters are those of their networks."""
    key = jax.random.key(0)
    wanted = jax.eval_shape(
        lambda: (
            networks.encoder.init(key, jnp.zeros((1, *shape))),
            networks.decoder.init(key, jnp.zeros((1, size))),
        )
    )
    found, wanted = (
        {jax.tree_util.keystr(name): x.shape for name, x in leaves}
        for leaves in map(
            jax.tree.leaves_with_path, ((params.encoder, params.decoder), wanted)
        )
    )
    if found != wanted:
        differing = sorted(set(found.items()) ^ set(wanted.items()))[:2]
        raise ValueError(
            f"{path} was trained with other networks: parameters {differing} are not "
            "in both."
        )
