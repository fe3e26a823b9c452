import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.digits import data as digits
from experiments.digits import measures, rotation
from experiments.digits.classifier import Classifier
from experiments.rotated_mnist import EXPERIMENT, PAPER
from tests.runs.conftest import flags
from vaells_jax.data.images import load_images
from vaells_jax.runs.config import baseline_config
from vaells_jax.runs.main import main

TINY = {
    "schedule.steps": 2, "schedule.warm_up_steps": 0, "schedule.network_steps": 0,
    "schedule.operator_steps": 0, "log.log_every": 1, "data.batch_size": 4,
    "data.anchors_per_class": 3, "model.latent_size": 4, "model.latent_scale": 1.0,
}  # fmt: skip
FIGURES = {
    "operator_algebra.png",
    "operator_eigenvalues.png", "operator_magnitudes.png", "posterior_samples.png",
    "posterior_samples_more.png", "reconstruction_curve.png", "reconstructions.png",
    "rotation_paths.png", "transport_curves.png",
}  # fmt: skip
MERITS = {
    "angle_monotonicity", "path_mse", "reconstruction_mse", "identity_of_samples",
    "identity_along_rotations", "identity_along_paths", "rotation_reconstruction_mse",
    "classifier_accuracy", "frequency_ratios", "operator_eigenvalues",
    "operator_closure", "operator_commutators", "operator_frequency_ratios",
    "operator_order_swap", "operator_planes",
}  # fmt: skip


def test_paper_preset_is_table_6():
    table = {
        "data.batch_size": 32, "schedule.steps": 35_000, "model.latent_size": 10,
        "model.num_samples": 1, "optimizer.network_rate": 1e-4,
        "optimizer.operator_rate": 1e-5, "weights.reconstruction": 1,
        "weights.posterior_residual": 1, "weights.posterior_l1": 1,
        "weights.prior_residual": 1, "weights.prior_l1": 0.01,
        "posterior_search.l1_weight": 1e-6, "prior_search.l1_weight": 1e-6,
        "weights.operator_norm": 0.01, "schedule.network_steps": 20,
        "schedule.network_prior_factor": 1e-4, "schedule.operator_steps": 60,
        "schedule.operator_reconstruction_factor": 1e-4, "model.noise_std": 1e-3,
        "schedule.warm_up_steps": 30_000, "prior_search.restarts": 1,
        "model.num_operators": 1, "data.anchors_per_class": 10,
        "model.latent_scale": 10, "model.closest_anchor": True,
    }  # fmt: skip
    for name, wanted in table.items():
        group, field = name.split(".")
        assert getattr(getattr(PAPER, group), field) == wanted, name


def test_examples_bring_their_own_anchors_once_the_warm_up_is_over():
    data = dataclasses.replace(PAPER.data, dataset="mnist_5k", batch_size=5)
    schedule = dataclasses.replace(PAPER.schedule, warm_up_steps=7)
    config = dataclasses.replace(PAPER, data=data, schedule=schedule)
    problem = digits.rotated(config)
    assert problem.anchors is None
    assert problem.title == "rotated MNIST, 5,000 digits"
    assert problem.next_batch(6).anchors is None
    batch = problem.next_batch(7)
    assert batch.inputs.shape == (5, 28, 28)
    assert batch.anchors.shape == (5, 10, 28, 28)
    # The first anchor is the digit itself; a step's batch is always the same.
    train = problem.source.train
    for upright, label in zip(
        np.asarray(batch.anchors)[:, 0], np.asarray(batch.labels), strict=True
    ):
        same = np.abs(train.inputs - upright).max(axis=(1, 2)) < 1e-5
        assert label in train.labels[same]
    np.testing.assert_array_equal(problem.next_batch(7).inputs, batch.inputs)
    # A baseline of the same seed trains on the same digits, and has no anchors.
    vae = digits.rotated(baseline_config("vae", config, 9))
    assert vae.next_batch(7).anchors is None
    np.testing.assert_allclose(vae.next_batch(6).inputs, problem.next_batch(6).inputs)


@pytest.mark.slow
def test_whole_job_on_the_bundled_digits(tmp_path, monkeypatch):
    zeros = lambda images: np.zeros(np.shape(images)[:-2], int)
    classifier = Classifier(zeros, np.asarray, 0.5)
    monkeypatch.setattr(
        rotation, "digit_classifier", lambda data, rotated, quick: classifier
    )
    monkeypatch.setattr(rotation, "NUM_PATHS", 10)
    monkeypatch.setattr(rotation, "NUM_CALIBRATION", 2)
    monkeypatch.setattr(measures, "NUM_DIGITS", 10)
    command = ["--preset", "quick", "--dataset", "mnist_5k", "--workdir", str(tmp_path)]
    assert main(EXPERIMENT, [*command, *flags(TINY)]) == 0
    assert {path.name for path in (tmp_path / "figures").iterdir()} == FIGURES
    record = json.loads((tmp_path / "results.json").read_text())
    assert (record["dataset"], record["step"]) == ("mnist_5k", 2)
    results = {name: found["value"] for name, found in record["results"].items()}
    assert results.keys() >= MERITS
    share = np.mean(load_images("mnist_5k").test.labels[:10] == 0)
    for name in ("identity_of_samples", "identity_along_rotations"):
        assert results[name] == pytest.approx(share)
    assert -1 <= results["angle_monotonicity"] <= 1
    assert 0 < results["path_mse"] < 1


def test_true_rotations_are_counter_clockwise():
    image = jnp.zeros((1, 28, 28)).at[0, 0:4, 12:16].set(1.0)
    ((up, left),) = np.asarray(rotation.turn(image, [0.0, np.pi / 2]))
    np.testing.assert_allclose(left, np.rot90(up), atol=1e-5)
