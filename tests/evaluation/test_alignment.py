import numpy as np

from vaells_jax.evaluation.alignment import affine_error


def test_a_linear_picture_has_no_error_and_noise_all():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(400, 2))
    picture = truth @ rng.normal(size=(2, 3)) + 5.0
    assert affine_error(picture, truth) < 1e-10
    assert affine_error(rng.normal(size=(400, 2)), truth) > 0.97
    half = np.stack([truth[:, 0], rng.normal(size=400)], axis=1)
    wanted = np.sqrt(truth[:, 1].var() / truth.var(axis=0).sum())
    np.testing.assert_allclose(affine_error(half, truth), wanted, rtol=1e-2)
