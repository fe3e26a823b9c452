"""What is measured and drawn of the plane's curves, of a model known by hand."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import concentric_circles, swiss_roll
from experiments.planes.data import draw_pairs
from experiments.planes.measures import class_merits
from vaells_jax.data.synthetic import CIRCLE_RADII
from vaells_jax.runs.config import with_settings
from vaells_jax.runs.models import recipe
from vaells_jax.runs.run import Run


def perfect_circles(workdir):
    """Make a run whose networks are linear and whose first operator is the rotation."""
    config = with_settings(
        concentric_circles.TUNED, {"model.num_operators": 2, "evaluation.points": 0}
    )
    data = concentric_circles.EXPERIMENT.prepare(config)
    plan = recipe(config, data)
    state = plan.start(jax.random.key(0))
    trained = plan.trained(state)
    # Latents are a linear picture z = G y of the plane; there J rotates by 90 degrees.
    plane = np.asarray(data.source.train.latents, float)
    picture = np.linalg.lstsq(plane, np.asarray(trained.encode(data.inputs)))[0].T
    turn = picture @ np.array([[0.0, -1.0], [1.0, 0.0]]) @ np.linalg.inv(picture)
    operators = jnp.asarray(
        [0.05 * turn, np.diag([1e-3, -1e-3])], state.params.operators.dtype
    )
    params = state.params._replace(operators=operators)
    trained = dataclasses.replace(trained, params=params)
    return Run(config, data, trained, jax.random.key(1), workdir, 0)


@pytest.mark.slow
def test_a_perfect_model_of_the_circles_measures_perfect(tmp_path):
    run = perfect_circles(tmp_path)
    curves = concentric_circles.manifold(run.data.source)
    lift = np.linalg.pinv(np.asarray(run.data.source.lift, float))
    radii = np.linalg.norm(curves @ lift.T, axis=-1)
    np.testing.assert_allclose(radii, np.outer(CIRCLE_RADII, np.ones(2001)), rtol=1e-5)
    found = {
        name: result["value"]
        for name, result in concentric_circles.EXPERIMENT.measure(run).items()
    }
    assert found["orbit_rank_correlation"] > 0.999
    assert found["transport_residual"] < 0.005
    assert found["path_error"] < 0.005
    assert found["linear_path_error"] > 0.1
    assert found["class_separation"] == 1.0
    assert found["path_class_preservation"] == 1.0
    assert found["linear_path_class_preservation"] < 1.0
    assert found["radius_spread"] < 0.01
    assert found["rotation_purity"] < 1e-3
    assert found["dominant_operator_share"] > 0.95
    assert found["prior_precision"] > 0.9
    assert found["prior_coverage"] > 0.9
    assert found["reconstruction_error"] < 0.05
    assert found["affine_error"] < 0.05
    assert "log_marginal_likelihood" not in found
    drawn = concentric_circles.EXPERIMENT.draw(run)
    assert set(drawn) == {
        "embedding", "inferred_paths", "operator_algebra", "operator_eigenvalues",
        "operator_orbits", "prior_samples",
    }  # fmt: skip
    compared = concentric_circles.EXPERIMENT.compare([run])
    assert set(compared) == {"embeddings"}


def test_pairs_of_paths_are_of_one_class():
    data = concentric_circles.EXPERIMENT.prepare(concentric_circles.TUNED).source
    starts, ends, labels = draw_pairs(data, 30)
    known = np.asarray(data.test.inputs)
    place = lambda points: [np.argmin(np.abs(known - x).sum(axis=1)) for x in points]
    for points in (starts, ends):
        np.testing.assert_array_equal(
            np.asarray(data.test.labels)[place(points)], labels
        )
    assert set(labels.tolist()) == {0, 1}


def test_data_are_drawn_anew_for_every_seed_and_the_same_for_every_model():
    prepare = swiss_roll.EXPERIMENT.prepare
    first = prepare(swiss_roll.TUNED)
    vae = prepare(swiss_roll.EXPERIMENT.baselines("vae", swiss_roll.TUNED))
    other = prepare(with_settings(swiss_roll.TUNED, {"seed": 1}))
    np.testing.assert_array_equal(first.inputs, vae.inputs)
    np.testing.assert_array_equal(first.next_batch(3).inputs, vae.next_batch(3).inputs)
    assert np.any(np.asarray(first.inputs) != np.asarray(other.inputs))
    with pytest.raises(ValueError, match="--dataset: swiss_roll draws its own data"):
        prepare(with_settings(swiss_roll.TUNED, {"data.dataset": "mnist"}))


def test_latents_that_are_not_of_the_plane_have_no_radius():
    data = concentric_circles.EXPERIMENT.prepare(concentric_circles.TUNED).source
    found = class_merits(types.SimpleNamespace(encode=lambda x: x), data)
    assert set(found) == {"class_separation"}
    assert found["class_separation"]["value"] == 1.0
