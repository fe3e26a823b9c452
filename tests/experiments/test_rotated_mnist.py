import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import rotated_mnist, rotated_results
from experiments.identity import Judge
from experiments.rotated_mnist import EXPERIMENT, PAPER
from experiments.runner import main

TINY = {
    "schedule.steps": 2, "schedule.warm_up_steps": 0, "schedule.network_steps": 0,
    "schedule.operator_steps": 0, "log.log_every": 1, "data.batch_size": 4,
    "data.anchors_per_class": 3, "model.latent_size": 4, "model.latent_scale": 1.0,
}  # fmt: skip
FIGURES = {
    "operator_eigenvalues.png", "operator_magnitudes.png", "posterior_samples.png",
    "posterior_samples_more.png", "reconstruction_curve.png", "reconstructions.png",
    "rotation_paths.png", "transport_curves.png",
}  # fmt: skip
MERITS = {
    "angle_monotonicity", "path_mse", "reconstruction_mse", "identity_preservation",
    "classifier_accuracy", "frequency_ratios", "operator_eigenvalues",
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
    data = dataclasses.replace(PAPER.data, dataset="digits", batch_size=5)
    schedule = dataclasses.replace(PAPER.schedule, warm_up_steps=7)
    problem = rotated_mnist.prepare(
        dataclasses.replace(PAPER, data=data, schedule=schedule)
    )
    assert problem.anchors is None
    assert problem.title == "rotated digits"
    assert problem.next_batch(6).anchors is None
    batch = problem.next_batch(7)
    assert batch.inputs.shape == (5, 28, 28)
    assert batch.anchors.shape == (5, 10, 28, 28)
    # The first anchor is the digit itself; a step's batch is always the same.
    train = problem.data.train
    for upright, label in zip(
        np.asarray(batch.anchors)[:, 0], np.asarray(batch.labels), strict=True
    ):
        same = np.abs(train.images - upright).max(axis=(1, 2)) < 1e-5
        assert label in train.labels[same]
    np.testing.assert_array_equal(problem.next_batch(7).inputs, batch.inputs)


def test_whole_job_on_the_bundled_digits(tmp_path, monkeypatch):
    judge = Judge(lambda images: np.zeros(len(images), int), np.asarray, 0.5)
    monkeypatch.setattr(rotated_results, "digit_judge", lambda *args, **kwargs: judge)
    monkeypatch.setattr(rotated_results, "NUM_PATHS", 10)
    monkeypatch.setattr(rotated_results, "NUM_CALIBRATION", 2)
    sets = [f"--set={name}={value}" for name, value in TINY.items()]
    command = ["--preset", "quick", "--dataset", "digits", "--workdir", str(tmp_path)]
    assert main(EXPERIMENT, [*command, *sets]) == 0
    assert {path.name for path in (tmp_path / "figures").iterdir()} == FIGURES
    record = json.loads((tmp_path / "results.json").read_text())
    assert (record["dataset"], record["step"]) == ("digits", 2)
    results = {name: found["value"] for name, found in record["results"].items()}
    assert results.keys() >= MERITS
    zeros = np.mean(load_test_labels()[:10] == 0)
    assert results["identity_preservation"] == pytest.approx(zeros)
    assert -1 <= results["angle_monotonicity"] <= 1
    assert 0 < results["path_mse"] < 1


def load_test_labels():
    return rotated_mnist.load_images("digits").test.labels


def test_true_rotations_are_counter_clockwise():
    image = jnp.zeros((1, 28, 28)).at[0, 0:4, 12:16].set(1.0)
    ((up, left),) = np.asarray(rotated_results.turn(image, [0.0, np.pi / 2]))
    np.testing.assert_allclose(left, np.rot90(up), atol=1e-5)
