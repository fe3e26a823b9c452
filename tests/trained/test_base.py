"""What every trained model has, of models known by hand."""

import dataclasses
import json
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from vaells_jax.trained.base import (
    ROWS,
    TrainedModel,
    from_named_arrays,
    named_arrays,
    through,
    warn_of_few_samples,
)


class Weights(NamedTuple):
    encoder: dict
    scale: np.ndarray
    anchors: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Halving(TrainedModel):
    """Latents are half the data; paths stop a tenth short of their goals."""

    def encode(self, inputs):
        return 0.5 * jnp.asarray(inputs)

    def decode(self, latents):
        return 2.0 * jnp.asarray(latents)

    def sample_posterior(self, key, inputs, num_samples=1):
        return jnp.repeat(self.encode(inputs)[:, None], num_samples, axis=1)

    def sample_prior(self, key, count, label=None):
        return jnp.zeros((count, 2))

    def join(self, starts, ends, times):
        times = 0.9 * jnp.asarray(times)[None, :, None]
        return starts[:, None] + times * (ends - starts)[:, None]

    def widened(self):
        return self

    def log_marginal_likelihood(self, inputs, **more):
        raise NotImplementedError


@pytest.fixture
def weights(dtype):
    kernel = np.arange(6, dtype=dtype).reshape(2, 3)
    encoder = {"params": {"Dense_0": {"kernel": kernel, "bias": kernel[0]}}}
    return Weights(encoder, np.asarray(2.0, dtype), None)


def test_reconstruction_is_the_decoded_code(weights):
    points = np.array([[1.0, -2.0], [3.0, 4.0]], np.float32)
    np.testing.assert_array_equal(Halving(None, weights).reconstruct(points), points)


def test_interpolation_tells_how_near_paths_come(weights):
    first, last = jnp.zeros((1, 2)), jnp.asarray([[6.0, 8.0]])
    found = Halving(None, weights).interpolate(first, last, steps=3)
    np.testing.assert_allclose(found.latents[0], [[0, 0], [1.35, 1.8], [2.7, 3.6]])
    np.testing.assert_allclose(found.distance, [5.0])
    np.testing.assert_allclose(found.gap, [0.5], rtol=1e-5)


def test_a_model_that_lacks_a_function_is_none():
    class Silent(Halving):
        sample_prior = TrainedModel.sample_prior

    with pytest.raises(TypeError, match="sample_prior"):
        Silent(None, None)


def test_arrays_have_the_names_of_their_places(weights):
    arrays = named_arrays(weights)
    place = "encoder/params/Dense_0"
    assert set(arrays) == {f"{place}/kernel", f"{place}/bias", "scale"}
    again = from_named_arrays(Weights, arrays)
    assert again.anchors is None
    np.testing.assert_array_equal(
        again.encoder["params"]["Dense_0"]["kernel"], arrays[f"{place}/kernel"]
    )
    assert again.scale.dtype == weights.scale.dtype
    from_dictionary = named_arrays(weights._asdict())
    assert from_dictionary.keys() == arrays.keys()


@pytest.mark.parametrize("name", ["model", "new/model.npz"])
def test_an_exported_model_is_one_file_and_its_record(name, weights, tmp_path):
    record = {"model": "halving", "config": {"seed": 3}}
    Halving(None, weights, record=record).export(tmp_path / name)
    path = (tmp_path / name).with_suffix("")
    with np.load(f"{path}.npz") as file:  # refuses pickles
        assert {k: v.tobytes() for k, v in file.items()} == {
            k: v.tobytes() for k, v in named_arrays(weights).items()
        }
    assert json.loads(path.with_suffix(".json").read_text()) == record
    assert len(list(path.parent.iterdir())) == 2


def test_few_effective_samples_are_warned_of():
    with pytest.warns(UserWarning, match="2 of 3 data points have fewer than 10"):
        warn_of_few_samples(np.array([9.0, 10.0, 2.0]), 50)
    warn_of_few_samples(np.full(3, 10.0), 50)


@pytest.mark.parametrize(
    "leading", [(), (3,), (ROWS,), (2, ROWS), (ROWS + 1,), (7, 191)]
)
def test_parts_of_many_rows_are_the_whole(leading):
    rows = jnp.arange(2.0 * np.prod(leading, dtype=int)).reshape(*leading, 2)
    shapes = set()

    def network(x):
        shapes.add(x.shape)
        return jnp.stack([x[..., 0], x[..., 1], x[..., 0] * x[..., 1]], axis=-1)

    found = through(network, rows, 1)
    assert len(shapes) == 1
    assert np.prod(next(iter(shapes))) <= 2 * ROWS
    np.testing.assert_array_equal(found, network(rows))
