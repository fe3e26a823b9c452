import dataclasses

import numpy as np

from experiments import natural_mnist, rotated_mnist
from experiments.digits import figures
from experiments.digits.baselines import settings
from vaells_jax.evaluation.figures import save_figure
from vaells_jax.runs.records import MetricsLog


def test_digits_of_each_class_are_the_first(copying_run, digits):
    found = figures.digits_of_each_class(copying_run(0.0), 3)
    assert found.shape == (3, 10, 28, 28)
    sevens = digits.test.inputs[digits.test.labels == 7]
    np.testing.assert_array_equal(found[:, 7], sevens[:3])


def test_samples_are_drawn_of_two_digits_and_of_each(copying_run, tmp_path):
    run = copying_run(0.1)
    other = dataclasses.replace(
        run, config=settings("hyperspherical", natural_mnist.PAPER)
    )
    for experiment in (natural_mnist.EXPERIMENT, rotated_mnist.EXPERIMENT):
        drawn = experiment.compare([run, other])
        assert list(drawn) == ["samples_of_two", "samples_of_each"]
        for name, figure in drawn.items():
            save_figure(figure, tmp_path / f"{name}.png")
            assert (tmp_path / f"{name}.png").stat().st_size > 10_000


def test_a_baseline_is_drawn_without_operators(copying_run):
    run = copying_run(0.1)
    log = MetricsLog(run.workdir / "metrics.jsonl")
    for step in (1, 2):
        values = {"reconstruction": 9.0 / step, "divergence": 0.1 * step}
        log.write(step, "joint", 0.0, values)
    log.close()
    shared = {"posterior_samples", "reconstructions", "loss"}
    assert set(natural_mnist.EXPERIMENT.draw(run)) == shared
    more = {"posterior_samples_more"}
    assert set(rotated_mnist.EXPERIMENT.draw(run)) == shared | more
