"""A model of digits that is known by hand, and runs of it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import natural_mnist
from experiments.digits import baselines
from vaells_jax.data.images import load_images
from vaells_jax.evaluation.importance import ImportanceEstimate
from vaells_jax.evaluation.structure import straight_line
from vaells_jax.runs.config import LikelihoodEvaluation
from vaells_jax.runs.run import Run, RunData
from vaells_jax.trained.base import TrainedModel


@dataclasses.dataclass(frozen=True)
class Copying(TrainedModel):
    """Latents are the pixels; posterior samples have a given deviation."""

    std: float = 0.0

    def encode(self, inputs):
        inputs = jnp.asarray(inputs)
        return inputs.reshape(len(inputs), -1)

    def decode(self, latents):
        return jnp.reshape(latents, (*latents.shape[:-1], 28, 28))

    def sample_posterior(self, key, inputs, num_samples=1):
        shape = (len(inputs), num_samples, 784)
        return self.encode(inputs)[:, None] + self.std * jax.random.normal(key, shape)

    def sample_prior(self, key, count, label=None):
        return jax.random.uniform(key, (count, 784))

    def join(self, starts, ends, times):
        as_latents = lambda x: jnp.asarray(x, starts.dtype)
        return straight_line(*map(as_latents, (starts, ends, times)))

    def widened(self):
        return dataclasses.replace(self, std=3.0 * self.std)

    def log_marginal_likelihood(
        self, inputs, *, num_samples=1000, key=None, on_done=None
    ):
        value = np.full(len(inputs), -1.5)
        return ImportanceEstimate(value, 0 * value, value + 3.5)


@pytest.fixture(scope="session")
def digits():
    return load_images("mnist_5k")


@pytest.fixture
def copying_run(digits, tmp_path):
    """Return what makes a run of a VAE that copies, with noise of a deviation."""
    config = dataclasses.replace(
        baselines.settings("vae", natural_mnist.PAPER),
        evaluation=LikelihoodEvaluation(points=3, samples=7),
    )
    data = RunData(
        "mnist_5k",
        jnp.asarray(digits.train.inputs[:2]),
        None,
        lambda step: None,
        digits,
    )
    return lambda std: Run(
        config, data, Copying(None, None, std), jax.random.key(0), tmp_path, 1
    )
