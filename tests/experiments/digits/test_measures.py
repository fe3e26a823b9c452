"""What is measured and drawn of any model of digits, with models known by hand."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import binarised_mnist, digit_comparison, natural_mnist
from experiments.compared_run import ComparedRun
from experiments.identity import Judge
from experiments.models import LikelihoodEvaluation
from experiments.records import MetricsLog
from vaells_jax.baselines.protocol import straight_line
from vaells_jax.data.images import load_images
from vaells_jax.evaluation.importance import ImportanceEstimate


@dataclasses.dataclass(frozen=True)
class Copying:
    """Latents are the pixels; posterior samples have a given deviation."""

    std: float = 0.0

    def encode(self, inputs):
        return inputs.reshape(len(inputs), -1)

    def decode(self, latents):
        return latents.reshape(*latents.shape[:-1], 28, 28)

    def sample_posterior(self, key, inputs, num_samples):
        shape = (len(inputs), num_samples, 784)
        return self.encode(inputs)[:, None] + self.std * jax.random.normal(key, shape)

    def sample_prior(self, key, count):
        return jax.random.uniform(key, (count, 784))

    def path(self, starts, ends, times):
        return straight_line(
            *(jnp.asarray(x, starts.dtype) for x in (starts, ends, times))
        )

    def widened(self):
        return Copying(3.0 * self.std)

    def log_likelihood(self, key, inputs, num_samples, on_done=None):
        value = np.full(len(inputs), -1.5)
        return ImportanceEstimate(value, 0 * value, value + 3.5)


@pytest.fixture(scope="module")
def data():
    return load_images("digits")


@pytest.fixture
def run(data, tmp_path):
    config = digit_comparison.settings("vae", natural_mnist.PAPER)
    problem = SimpleNamespace(data=data, name="digits")
    return lambda std: ComparedRun(
        "vae", Copying(std), config, problem, jax.random.key(0), tmp_path, "none",
        LikelihoodEvaluation(points=3, samples=7),
    )  # fmt: skip


def judge_by(data):
    """Name a test digit by the one of these that it is nearest to."""
    known = data.test.images[: digit_comparison.NUM_DIGITS].reshape(-1, 784)

    def classify(images):
        flat = np.asarray(images).reshape(-1, 1, 784)
        nearest = [np.argmin(np.sum((x - known) ** 2, axis=1)) for x in flat]
        return data.test.labels[nearest].reshape(np.shape(images)[:-2])

    return Judge(classify, np.asarray, 1.0)


def test_a_copying_model_measures_as_it_must(data, run, monkeypatch):
    monkeypatch.setattr(digit_comparison, "NUM_DIGITS", 12)
    judge = judge_by(data)
    monkeypatch.setattr(digit_comparison, "digit_judge", lambda *_, **__: judge)
    found = {
        name: merit["value"]
        for name, merit in digit_comparison.measure(False, run(0.0)).items()
    }
    assert found["reconstruction_mse"] == 0.0
    assert found["identity_of_samples"] == 1.0
    assert found["sample_diversity"] == pytest.approx(0.0, abs=1e-12)
    assert found["log_likelihood"] == -1.5
    # Ends of every path are digits of its class.
    assert 2 / digit_comparison.NUM_POINTS <= found["identity_along_paths"] <= 1.0
    # Widened threefold: the variance of a pixel is nine times 0.01, here of 24 samples.
    wide = digit_comparison.measure(False, run(0.1))["sample_diversity"]["value"]
    assert wide == pytest.approx(0.09, rel=0.06)


def test_samples_are_drawn_of_two_digits_and_of_each(run, tmp_path):
    runs = [dataclasses.replace(run(0.1), name=name) for name in ("vae", "vaells")]
    paths = digit_comparison.draw(True, runs, tmp_path / "figures")
    assert [path.stem for path in paths] == ["samples_of_two", "samples_of_each"]
    assert all(path.stat().st_size > 10_000 for path in paths)


def test_binarised_digits_are_measured_and_drawn(run, tmp_path):
    one = run(0.0)
    log = MetricsLog(tmp_path / "watched.jsonl")
    for step in (1, 2):
        log.write(step, "joint", 0.0, {"bound": -100.0 / step})
    log.close()
    found = binarised_mnist.measure(one)
    assert found["bound"]["value"] == -50.0
    assert found["log_likelihood"]["published"] == -89.8
    assert "7 samples" in found["log_likelihood"]["meaning"]
    pixels = binarised_mnist.test_pixels(one.data, 5)
    assert set(np.unique(pixels)) == {0.0, 1.0}
    paths = binarised_mnist.draw([one], tmp_path / "figures")
    assert {path.stem for path in paths} == {"test_bound", "prior_samples"}
    assert all(path.is_file() for path in paths)
