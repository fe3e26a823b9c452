import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from vaells_jax.data.symmetries import (
    BENT_SYMMETRIES,
    SYMMETRIES,
    Symmetry,
    bent,
    lifted,
    rotation_generators,
)

NAMES = list(SYMMETRIES)
TURN = rotation_generators(2)


@pytest.mark.parametrize(
    ("name", "single"),
    [
        ("so2", True), ("so3", True), ("so3", False), ("so3_cloud", False),
        ("so2_so2", False), ("scale_turn", False), ("shear", True),
        ("so3_cloud_lifted", False), ("torus", False), ("torus_lifted", True),
    ],
)  # fmt: skip
def test_ends_are_where_scipys_exponential_leads(name, single):
    symmetry = SYMMETRIES[name]._replace(single=single)
    start, end, amounts = symmetry.pairs(jax.random.key(3), 20)
    A = np.einsum("ng,gij->nij", np.asarray(amounts, float), symmetry.generators)
    wanted = np.einsum("nij,nj->ni", scipy.linalg.expm(A), np.asarray(start, float))
    np.testing.assert_allclose(end, wanted, atol=1e-5)
    used = np.count_nonzero(amounts, axis=1)
    most = 1 if single else len(symmetry.generators)
    assert used.max() == most
    assert np.abs(np.asarray(amounts)).max() <= symmetry.reach + 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_generators_close_under_brackets(name):
    generators = SYMMETRIES[name].generators
    flat = generators.reshape(len(generators), -1)
    assert np.linalg.matrix_rank(flat) == len(generators)
    for a in generators:
        for b in generators:
            bracket = (a @ b - b @ a).ravel()
            weights = np.linalg.lstsq(flat.T, bracket, rcond=None)[0]
            np.testing.assert_allclose(flat.T @ weights, bracket, atol=1e-12)


def test_brackets_of_turns_are_those_of_the_axes():
    z, y, x = rotation_generators(3)  # of planes xy, xz, yz
    x, y, z = x, -y, z  # right-handed
    np.testing.assert_array_equal(x @ y - y @ x, z)
    np.testing.assert_array_equal(y @ z - z @ y, x)
    np.testing.assert_array_equal(z @ x - x @ z, y)
    assert rotation_generators(5).shape == (10, 5, 5)


def test_turns_keep_lengths_and_clouds_their_distances():
    start, end, _ = SYMMETRIES["so3_cloud"].pairs(jax.random.key(0), 50)
    gram = lambda x: np.einsum("nci,ndi->ncd", *[np.reshape(x, (50, 3, 3))] * 2)
    np.testing.assert_allclose(gram(start), gram(end), atol=1e-5)


def test_each_plane_of_two_turns_alone():
    start, end, amounts = SYMMETRIES["so2_so2"].pairs(jax.random.key(0), 50)
    first = np.asarray(amounts)[:, 0] != 0.0
    np.testing.assert_array_equal(start[first, 2:], end[first, 2:])
    np.testing.assert_array_equal(start[~first, :2], end[~first, :2])
    assert 10 < first.sum() < 40


def test_translations_of_a_torus_add_to_its_angles():
    start, end, amounts = SYMMETRIES["torus"].pairs(jax.random.key(7), 4000)
    start, end = (np.reshape(x, (-1, 2, 2)) for x in (start, end))
    np.testing.assert_allclose(np.linalg.norm(start, axis=2), 1.0, atol=1e-6)
    angle = lambda x: np.arctan2(x[..., 1], x[..., 0])
    apart = np.mod(angle(end) - angle(start) - amounts + np.pi, 2.0 * np.pi) - np.pi
    np.testing.assert_allclose(apart, 0.0, atol=1e-5)
    # Places on the torus are uniform, and so are translations.
    for shares in (angle(start) / (2.0 * np.pi) + 0.5, np.asarray(amounts) / 2 + 0.5):
        counts = np.histogramdd(shares, bins=4, range=[(0, 1)] * 2)[0]
        assert np.all(np.abs(counts - 250) < 5 * np.sqrt(250))


def test_quarter_turns_are_even(dtype):
    pairs = SYMMETRIES["c4"].pairs(jax.random.key(1), 4000)
    quarters = np.asarray(pairs.coefficients)[:, 0] / (np.pi / 2)
    values, counts = np.unique(np.round(quarters, 4), return_counts=True)
    np.testing.assert_allclose(values, [-1, 0, 1, 2])
    assert np.all(np.abs(counts - 1000) < 5 * np.sqrt(750))
    one = np.asarray(pairs.start)[np.isclose(quarters, 1)]
    wanted = np.stack([-one[:, 1], one[:, 0]], axis=1)
    np.testing.assert_allclose(
        np.asarray(pairs.end)[np.isclose(quarters, 1)], wanted, atol=1e-6
    )


def test_a_lift_is_isometric_and_the_same_each_time():
    plain, high = SYMMETRIES["so2_so2"], SYMMETRIES["so2_so2_lifted"]
    a = plain.pairs(jax.random.key(2), 30)
    b = high.pairs(jax.random.clone(jax.random.key(2)), 30)
    assert b.start.shape == (30, 20)
    gram = lambda p: np.concatenate(p[:2]) @ np.concatenate(p[:2]).T
    np.testing.assert_allclose(gram(a), gram(b), atol=1e-4)
    np.testing.assert_array_equal(lifted(plain).generators, high.generators)
    assert not np.allclose(lifted(plain, seed=1).generators, high.generators)
    norms = lambda s: np.linalg.norm(s.generators, axis=(1, 2))
    np.testing.assert_allclose(norms(high), norms(plain))
    assert not np.allclose(np.asarray(b.start)[:, 4:], 0.0)


def test_a_bend_by_hand():
    bend = bent(Symmetry("turn", TURN)).bend
    bend = bend._replace(weights=np.array([[[2.0]], [[3.0]]]), height=0.5,
                         phases=np.array([[0.1], [0.2]]))  # fmt: skip
    a, b = 0.7, -0.4
    b = b + 0.5 * np.sin(2.0 * a + 0.1)
    a = a + 0.5 * np.sin(3.0 * b + 0.2)
    found = bend.forward(jnp.asarray([[0.7, -0.4]]))
    np.testing.assert_allclose(found, [[a, b]], rtol=1e-6)


@pytest.mark.parametrize("name", BENT_SYMMETRIES)
def test_bent_pairs_are_the_lifted_ones_behind_an_inverse(name):
    flat, curved = SYMMETRIES[f"{name}_lifted"], BENT_SYMMETRIES[name]
    a = flat.pairs(jax.random.key(6), 500)
    b = curved.pairs(jax.random.clone(jax.random.key(6)), 500)
    for one, other in zip(a[:2], b[:2], strict=True):
        np.testing.assert_allclose(curved.bend.inverse(other), one, atol=1e-5)
    np.testing.assert_array_equal(flat.generators, curved.generators)
    for part, again in zip(bent(flat).bend, curved.bend, strict=True):
        np.testing.assert_array_equal(part, again)
    # The sines' root mean square is that of what they are added to.
    assert float(jnp.std(b.start) / jnp.std(a.start)) == pytest.approx(
        np.sqrt(2), rel=0.15
    )
    # As many linear components as the plain points have do not hold the bent ones.
    size = flat.lift.shape[1]
    x = np.asarray(b.start)
    shares = np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2
    assert shares[:size].sum() / shares.sum() < 0.9


def test_noise_is_on_the_ends_alone_and_of_its_deviation():
    symmetry, key = SYMMETRIES["so3"], jax.random.key(4)
    with jax.debug_key_reuse(False):
        clean = symmetry.pairs(key, 4000)
        noisy = symmetry.pairs(key, 4000, noise_std=0.1)
    np.testing.assert_array_equal(clean.start, noisy.start)
    noise = np.asarray(noisy.end - clean.end)
    assert noise.std() == pytest.approx(0.1, rel=0.05)
    assert abs(noise.mean()) < 0.005


def test_a_stretch_widens_the_range():
    amounts = SYMMETRIES["shear"].pairs(jax.random.key(5), 1000, stretch=3.0)[2]
    assert 2.9 < np.abs(np.asarray(amounts)).max() < 3.0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: lifted(s, 2), "size must be an integer of at least 3"),
        (lambda s: lifted(lifted(s)), "symmetry must not be lifted already"),
        (bent, "symmetry must be of an even size and not bent; got size 3, not bent"),
        (lambda s: bent(bent(lifted(s))), "got size 20, bent"),
    ],
)
def test_what_cannot_be_lifted(call, words):
    symmetry = Symmetry("turns", rotation_generators(3))
    with pytest.raises(ValueError, match=words):
        call(symmetry)
