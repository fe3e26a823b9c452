"""A run's keys, data and batches."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaells_jax import Batch
from vaells_jax.runs.config import VaellsConfig, baseline_config
from vaells_jax.runs.run import (
    Run,
    RunData,
    binarised,
    resolved,
    run_keys,
    shuffled_batches,
)
from vaells_jax.training.schedule import Schedule

CONFIG = VaellsConfig("made", "paper", Schedule(steps=1_100), seed=4)


@pytest.fixture(scope="module")
def data():
    return RunData(
        "made", jnp.zeros((4, 3)), None, lambda step: None, None,
        class_names=("a", "b"), mean=(1.0, 2.0, 3.0), scale=0.5,
    )  # fmt: skip


def test_every_role_has_a_key_of_its_own():
    of_seed = lambda seed: [jax.random.key_data(k).tobytes() for k in run_keys(seed)]
    keys = [key for seed in range(20) for key in of_seed(seed)]
    assert len(set(keys)) == len(keys) == 20 * 8
    assert of_seed(4) == of_seed(4)


def test_facts_of_the_data_are_plain(data):
    assert data.facts == {
        "name": "made", "title": None, "shape": [3], "class_names": ["a", "b"],
        "mean": [1.0, 2.0, 3.0], "scale": 0.5,
    }  # fmt: skip
    assert resolved(CONFIG, data).data.dataset == "made"
    assert dataclasses.replace(data, mean=None).facts["mean"] is None


def test_titles_name_data_seed_and_step(data, tmp_path, unchecked):
    key = jax.random.key(0)
    run = Run(CONFIG, data, None, key, tmp_path, 1_100)
    assert (run.model, run.title) == ("vaells", "VAELLS")
    assert run.label == "made, seed 4, step 1,100"
    titled = dataclasses.replace(run, data=dataclasses.replace(data, title="turned"))
    assert titled.label.startswith("turned, seed 4")
    assert titled.setting == "turned, seed 4"
    published = dataclasses.replace(run, weights="published weights", step=None)
    assert published.label == "made, published weights"
    vae = dataclasses.replace(run, config=baseline_config("vae", CONFIG, 3))
    assert (vae.model, vae.title, vae.latent_scale) == ("vae", "VAE", None)
    assert vae.label == "VAE, made, seed 4, step 1,100"
    added = dataclasses.replace(run, config=baseline_config("laplace", CONFIG, 3))
    assert added.title == "laplace"


def test_batches_go_through_the_examples_and_name_them(dtype):
    inputs = np.arange(12, dtype=dtype)[:, None]
    labels = np.arange(12) % 3
    next_batch, indices = shuffled_batches(inputs, labels, jax.random.key(1), 4)
    seen = []
    for step in range(3):
        batch, index = next_batch(step), np.asarray(indices(step))
        np.testing.assert_array_equal(batch.inputs, inputs[index])
        np.testing.assert_array_equal(batch.labels, labels[index])
        seen += index.tolist()
    assert sorted(seen) == list(range(12))
    np.testing.assert_array_equal(next_batch(1).inputs, inputs[seen[4:8]])
    with pytest.raises(ValueError, match="batch_size.*13"):
        shuffled_batches(inputs, labels, jax.random.key(1), 13)


def test_binary_batches_are_functions_of_the_step():
    grey = Batch(np.full((200, 4, 4), 0.3, np.float32), np.zeros(200, np.int32))
    batch = binarised(lambda step: grey, jax.random.key(0))
    first, again, second = batch(1), batch(1), batch(2)
    np.testing.assert_array_equal(first.inputs, again.inputs)
    assert np.any(first.inputs != second.inputs)
    assert set(np.unique(first.inputs)) == {0.0, 1.0}
    error = np.sqrt(0.3 * 0.7 / first.inputs.size)
    assert abs(float(np.mean(first.inputs)) - 0.3) < 4 * error
