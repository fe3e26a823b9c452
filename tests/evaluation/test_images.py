import numpy as np
import pytest

from vaells_jax.evaluation.images import identity_preservation, sample_diversity


def views():
    """Two examples of three 2x2 views; a view's class is its first pixel."""
    images = np.random.default_rng(0).uniform(size=(2, 3, 2, 2))
    images[:, :, 0, 0] = [[4.0, 4.0, 4.0], [7.0, 1.0, 7.0]]
    return images


def classify(images):
    return images[:, 0, 0].astype(int)


def test_identity_is_counted_by_view_and_by_example():
    score = identity_preservation(views(), np.array([4, 7]), classify=classify)
    assert score.share == pytest.approx(5 / 6)
    assert score.whole == 0.5
    np.testing.assert_allclose(score.per_view, [1.0, 0.5, 1.0])


def test_variety_is_the_variance_over_an_examples_views():
    images = views()
    expected = np.mean([np.var(images[n, :, i, j]) for n in (0, 1) for i in (0, 1)
                        for j in (0, 1)])  # fmt: skip
    assert sample_diversity(images) == pytest.approx(expected)
    assert sample_diversity(np.repeat(images[:, :1], 5, axis=1)) == 0.0


def test_bad_shapes(unchecked):
    with pytest.raises(ValueError, match=r"labels must be numbers of shape.*\[3\]"):
        identity_preservation(views(), np.zeros(3, int), classify=classify)
    with pytest.raises(ValueError, match="views"):
        sample_diversity(views()[0])
