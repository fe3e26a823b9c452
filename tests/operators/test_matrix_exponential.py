import chex
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.linalg

from vaells_jax.operators.matrix_exponential import expm_action

KINDS = {
    "dense": lambda B: B,
    "skew": lambda B: B - B.T,
    "nilpotent": lambda B: np.triu(B, 1),
    "decaying": lambda B: -B @ B.T,
    "symmetric": lambda B: B + B.T,
}
batched = jax.jit(jax.vmap(expm_action))


def problems(rng, kind, size, norm, count=40):
    matrices = np.stack(
        [KINDS[kind](rng.normal(size=(size, size))) for _ in range(count)]
    )
    norms = np.linalg.norm(matrices, 2, axis=(1, 2))
    scaled = norm * matrices / np.where(norms > 0, norms, 1)[:, None, None]
    return scaled, rng.normal(size=(count, size))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [2, 6])
def test_agrees_with_scipy_over_all_norms(kind, size, x64, dtype):
    rng = np.random.default_rng(0)
    for norm in (0.0, 1e-3, 1.0, 10.0, 30.0):
        A, z = (x.astype(dtype) for x in problems(rng, kind, size, norm))
        out = np.float64(batched(A, z))
        full = np.stack([scipy.linalg.expm(np.float64(a)) for a in A])
        wanted = np.einsum("nij,nj->ni", full, np.float64(z))
        scale = np.linalg.norm(full, 2, axis=(1, 2)) * np.linalg.norm(z, axis=1)
        error = np.linalg.norm(out - wanted, axis=1) / scale
        # SciPy's own error reaches 2.5e-12 at a norm of 30; mpmath judges there.
        bound = 1e-5 if not x64 else 1e-12 if norm < 30 else 5e-12
        assert error.max() < bound


@pytest.mark.parametrize("size", [6, 10, 16])
def test_one_matrix_moves_a_crowd_as_it_moves_each(size, dtype):
    # More numbers than a processor's threads take at once, of paths as of points.
    rng = np.random.default_rng(2)
    B = rng.normal(size=(size, size))
    A, times = 0.2 * (B - B.T), np.linspace(-3.0, 3.0, 7)
    z = rng.normal(size=(80_000 // size, size))
    full = np.stack([scipy.linalg.expm(t * A) for t in times])
    points = jax.vmap(expm_action, (None, 0))
    paths = jax.vmap(jax.vmap(lambda t, v: expm_action(t * A, v), (0, None)), (None, 0))
    A, times, z = (x.astype(dtype) for x in (A, times, z))
    found = jax.jit(points)(A, z)
    np.testing.assert_allclose(found, z @ scipy.linalg.expm(A).T, atol=2e-4)
    some = z[: 80_000 // size // 4]
    wanted = np.einsum("tij,nj->nti", full, some)
    np.testing.assert_allclose(jax.jit(paths)(times, some), wanted, atol=2e-4)


@pytest.mark.parametrize("kind", ["dense", "symmetric"])
def test_double_precision_agrees_with_forty_digits_at_norm_30(kind, x64):
    if not x64:
        pytest.skip("judges double precision")
    rng = np.random.default_rng(1)
    A, z = problems(rng, kind, 6, 30.0, count=8)
    out = np.asarray(batched(A, z))
    with mpmath.workdps(40):
        for a, b, found in zip(A, z, out, strict=True):
            full = np.array(mpmath.expm(mpmath.matrix(a.tolist())).tolist(), float)
            scale = np.linalg.norm(full, 2) * np.linalg.norm(b)
            assert np.linalg.norm(found - full @ b) < 1e-13 * scale


def test_closed_forms(dtype):
    tolerance = 20 * np.finfo(dtype).eps
    angle = 2.5
    turn = jnp.array([[0.0, -angle], [angle, 0.0]], dtype)
    z = jnp.array([1.0, 2.0], dtype)
    c, s = np.cos(angle), np.sin(angle)
    chex.assert_trees_all_close(
        expm_action(turn, z), np.array([c - 2 * s, s + 2 * c], dtype), rtol=tolerance
    )
    nilpotent = jnp.array([[0.0, 3.0], [0.0, 0.0]], dtype)
    chex.assert_trees_all_close(
        expm_action(nilpotent, z), np.array([7.0, 2.0], dtype), rtol=tolerance
    )
    np.testing.assert_array_equal(expm_action(jnp.zeros((2, 2), dtype), z), z)
    shrink = -30 * jnp.eye(2, dtype=dtype)
    np.testing.assert_allclose(
        expm_action(shrink, z), np.exp(-30.0) * np.asarray(z), rtol=30 * tolerance
    )


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_agree_with_frechet_derivatives(kind, x64, dtype):
    rng = np.random.default_rng(2)
    (A,), (z,) = (x.astype(dtype) for x in problems(rng, kind, 4, 3.0, count=1))
    V, w, g = (rng.normal(size=s).astype(dtype) for s in ((4, 4), 4, 4))
    value, tangent = jax.jvp(expm_action, (jnp.array(A), jnp.array(z)), (V, w))
    full, frechet = scipy.linalg.expm_frechet(np.float64(A), np.float64(V))
    wanted = frechet @ z + full @ w
    tolerance = 1e-11 if x64 else 1e-4
    np.testing.assert_allclose(tangent, wanted, rtol=tolerance, atol=tolerance)
    _, pullback = jax.vjp(expm_action, jnp.array(A), jnp.array(z))
    dA, dz = pullback(jnp.array(g))
    np.testing.assert_allclose(dz, full.T @ g, rtol=tolerance, atol=tolerance)
    inner = np.sum(np.asarray(dA) * V) + np.asarray(dz) @ w
    np.testing.assert_allclose(inner, g @ wanted, rtol=tolerance, atol=tolerance)
    del value


@pytest.mark.parametrize(
    "A",
    [
        np.zeros((3, 3)),
        np.eye(3, k=1),
        np.diag([1.0, 1.0, 2.0]),
        np.array([[2.0, 1.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, -1.0]]),
    ],
    ids=["zero", "nilpotent", "repeated", "defective"],
)
def test_second_order_derivatives_of_special_matrices(A, x64, unchecked):
    if not x64:
        pytest.skip("finite differences need double precision")
    z = jnp.array([1.0, -0.5, 0.3])
    jax.test_util.check_grads(
        expm_action, (jnp.array(A), z), order=2, modes=("fwd", "rev"), rtol=1e-5
    )


def test_out_of_range_is_flagged_and_harms_no_neighbour(dtype):
    z = jnp.ones((4, 2), dtype)
    good = jnp.array([[0.0, -1.0], [1.0, 0.0]], dtype)
    A = jnp.stack([good, 1e6 * good, jnp.full((2, 2), jnp.nan, dtype), good])
    out = np.asarray(batched(A, z))
    assert np.isnan(out[1:3]).all()
    np.testing.assert_array_equal(out[0], out[3])
    wanted = [np.cos(1) - np.sin(1), np.sin(1) + np.cos(1)]
    np.testing.assert_allclose(out[0], wanted, rtol=1e-6)


def test_same_under_jit_vmap_and_loop(dtype):
    rng = np.random.default_rng(3)
    A, z = (jnp.array(x.astype(dtype)) for x in problems(rng, "dense", 3, 2.0, count=3))
    loop = jnp.stack([expm_action(a, b) for a, b in zip(A, z, strict=True)])
    np.testing.assert_allclose(batched(A, z), loop, rtol=20 * np.finfo(dtype).eps)


def test_vmap_adds_no_branches():
    A, z = jnp.zeros((5, 3, 3)), jnp.zeros((5, 3))
    jaxpr = str(jax.make_jaxpr(jax.vmap(expm_action))(A, z))
    assert "cond" not in jaxpr
    assert "while" not in jaxpr


@pytest.mark.parametrize(
    ("A", "z", "match"),
    [
        (jnp.zeros((2, 3)), jnp.zeros(2), r"\[d, d\].*\(2, 3\)"),
        (jnp.zeros((2, 2)), jnp.zeros(3), r"z \(3,\)"),
        (jnp.zeros((2, 2), jnp.float16), jnp.zeros(2, jnp.float16), "float16"),
    ],
)
def test_bad_input(A, z, match, unchecked):
    with pytest.raises(ValueError, match=match):
        expm_action(A, z)
