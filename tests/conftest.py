"""Strictness for the whole suite, and what several folders' tests share."""

import os
import pathlib

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

# Shapes and types of every annotated function are checked while tests run.
jaxtyping.install_import_hook("vaells_jax", "beartype.beartype")

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)

REFERENCE = pathlib.Path(__file__).parents[2] / "shared" / "reference"
TFDS = pathlib.Path(__file__).parents[2] / "shared" / "tfds"


@pytest.fixture
def unchecked():
    """Switch the run-time type checker off: users meet our errors, not its own."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


MOST_MAPPINGS = 30_000
"""Memory mappings of a process; Linux allows 65,530 and XLA takes several a program."""


@pytest.fixture(autouse=True, scope="module")
def _forget_programs():
    """Drop compiled programs between files: XLA dies when it runs out of mappings."""
    yield
    mappings = pathlib.Path("/proc/self/maps")
    if mappings.exists() and len(mappings.read_bytes().splitlines()) > MOST_MAPPINGS:
        jax.clear_caches()


@pytest.fixture(scope="session")
def x64() -> bool:
    """Say whether the suite runs in double precision."""
    return bool(jax.config.jax_enable_x64)


@pytest.fixture(scope="session")
def dtype(x64):
    """Return the default floating-point type of this run."""
    return np.float64 if x64 else np.float32


def load_reference(name: str) -> dict[str, np.ndarray]:
    """Read recorded numbers, or skip where they do not lie beside the checkout."""
    path = REFERENCE / name
    if not path.exists():
        pytest.skip(f"no recorded numbers at {path}")
    with np.load(path) as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def natural_mnist_reference():
    """Return the recorded numbers of the authors' natural-MNIST run."""
    return load_reference("natural_mnist.npz")


@pytest.fixture(scope="session")
def tfds_dir() -> pathlib.Path:
    """Return a folder of prepared data sets, or skip where there is none."""
    found = pathlib.Path(os.environ.get("TFDS_DATA_DIR", TFDS))
    if not (found / "mnist").exists():
        pytest.skip(f"no prepared MNIST in {found}")
    return found


# A model small enough for the oracle: 5-D data, 2-D latents, two operators.


@pytest.fixture(scope="session")
def tiny_model():
    from vaells_jax import Model, dense_networks

    return Model(dense_networks(2, 5, hidden=4), num_samples=3)


@pytest.fixture(scope="session")
def tiny_batch(dtype):
    from vaells_jax import Batch

    inputs = jax.random.normal(jax.random.key(0), (4, 5), dtype)
    return Batch(inputs, jnp.array([0, 1, 1, 0]))


@pytest.fixture(scope="session")
def tiny_params(tiny_model, tiny_batch, dtype):
    from vaells_jax import Params
    from vaells_jax.networks.contract import init_networks

    keys = jax.random.split(jax.random.key(1), 3)
    encoder, decoder = init_networks(keys[0], tiny_model.networks, tiny_batch.inputs)
    as_dtype = lambda tree: jax.tree.map(lambda x: x.astype(dtype), tree)
    operators = 0.3 * jax.random.normal(keys[1], (2, 2, 2), dtype)
    anchors = jax.random.normal(keys[2], (2, 3, 5), dtype)
    scale = jnp.asarray(2.0, dtype)
    return Params(as_dtype(encoder), as_dtype(decoder), operators, anchors, scale)
