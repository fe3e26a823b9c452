import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.stats

from vaells_jax.baselines import von_mises_fisher as vmf
from vaells_jax.baselines.sphere import cosine_moments, log_sphere_area

DIMS = [2, 3, 4, 6, 11, 20, 41, 64]
KAPPAS = [1e-3, 1e-2, 0.1, 1.0, 5.0, 9.99, 10.01, 31.9, 32.1, 100.0, 1e3, 1e4]


def oracle(kappa, dim):
    """KL, its derivative, log-mass and 1 - E[w] by Bessel functions of 60 digits."""
    with mpmath.workdps(60):
        kappa, half = mpmath.mpf(kappa), mpmath.mpf(dim) / 2
        lower, upper = mpmath.besseli(half - 1, kappa), mpmath.besseli(half, kappa)
        ratio = upper / lower
        mean = mpmath.gamma(half) * (2 / kappa) ** (half - 1) * lower
        kl = kappa * ratio - mpmath.log(mean)
        slope = kappa * (1 - ratio**2 - (dim - 1) * ratio / kappa)
        return (
            float(kl),
            float(slope),
            float(mpmath.log(mean) - kappa),
            float(1 - ratio),
        )


@functools.cache
def functions(dim):
    both = jax.value_and_grad(lambda kappa: vmf.kl_to_uniform(kappa, dim))
    return jax.jit(jax.vmap(lambda k: (*both(k), *cosine_moments(k, dim)[:2])))


@pytest.mark.parametrize("dim", DIMS)
def test_divergence_and_its_derivative_against_bessel_functions(dim, x64, dtype):
    found = functions(dim)(jnp.asarray(KAPPAS, dtype))
    wanted = np.array([oracle(kappa, dim) for kappa in KAPPAS]).T
    tolerance = 1e-9 if x64 else 2e-5
    for name, got, want in zip(("kl", "slope"), found[:2], wanted[:2], strict=True):
        np.testing.assert_allclose(got, want, rtol=tolerance, err_msg=name)
    # A logarithm near 0 has the digits of its argument.
    np.testing.assert_allclose(found[2], wanted[2], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(found[3], wanted[3], rtol=tolerance)


@pytest.mark.parametrize("dim", [2, 3, 6])
def test_density_integrates_to_one_over_the_cosine(dim, x64):
    kappa = jnp.asarray(7.0)
    mean = jnp.zeros(dim).at[0].set(1.0)
    angles, weights = np.polynomial.legendre.leggauss(200)
    angles, weights = np.pi * (angles + 1) / 2, np.pi * weights / 2
    points = np.zeros((200, dim))
    points[:, 0], points[:, 1] = np.cos(angles), np.sin(angles)
    density = jax.vmap(vmf.log_density, (0, None, None))(
        jnp.asarray(points, mean.dtype), mean, kappa
    )
    ring = np.exp(log_sphere_area(dim - 1)) if dim > 2 else 2.0
    total = np.sum(
        weights
        * np.exp(np.asarray(density, float))
        * ring
        * np.sin(angles) ** (dim - 2)
    )
    assert total == pytest.approx(1.0, rel=1e-10 if x64 else 1e-5)


def test_density_agrees_with_scipy():
    mean = np.array([1.0, 2.0, -1.0, 0.5])
    mean /= np.linalg.norm(mean)
    z = scipy.stats.vonmises_fisher(mean, 3.0).rvs(5, random_state=0)
    found = jax.vmap(vmf.log_density, (0, None, None))(
        jnp.asarray(z), jnp.asarray(mean), jnp.asarray(3.0)
    )
    wanted = scipy.stats.vonmises_fisher(mean, 3.0).logpdf(z)
    np.testing.assert_allclose(found, wanted, rtol=2e-5)


def angle_cdf(kappa, dim, count=20_001):
    """Integrate the angle's density on a grid fine enough for its peak."""
    reach = min(np.pi, 14.0 * np.sqrt((dim + 1) / (kappa + dim)))
    grid = np.linspace(0.0, reach, count)
    inner = grid[1:] - grid[1] / 2
    logs = kappa * (np.cos(inner) - 1) + (dim - 2) * np.log(np.sin(inner))
    cdf = np.concatenate([[0.0], np.cumsum(np.exp(logs - logs.max()))])
    return lambda x: np.interp(x, grid, cdf / cdf[-1])


@functools.cache
def sampler(dim, count):
    def draw(key, kappa):
        mean = jnp.ones(dim) / jnp.sqrt(float(dim))
        keys = jax.random.split(key, count)
        return jax.vmap(vmf.sample, (0, None, None))(keys, mean, kappa)

    return jax.jit(draw)


@pytest.mark.parametrize("dim", [2, 3, 6, 20])
@pytest.mark.parametrize("kappa", [0.1, 1.0, 10.0, 100.0, 1000.0])
def test_samples_follow_the_density(dim, kappa, dtype):
    z = np.asarray(sampler(dim, 20_000)(jax.random.key(dim), jnp.asarray(kappa)), float)
    tolerance = 1e-6 if dtype == np.float32 else 1e-14
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1.0, atol=tolerance)
    mean = np.ones(dim) / np.sqrt(dim)
    angle = 2 * np.arcsin(np.minimum(np.linalg.norm(z - mean, axis=1) / 2, 1.0))
    assert scipy.stats.kstest(angle, angle_cdf(kappa, dim)).pvalue > 1e-3
    # Across the mean all directions are alike: any one's cosine with a fixed vector.
    across = z - (z @ mean)[:, None] * mean
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    fixed = np.zeros(dim)
    fixed[0], fixed[1] = 1 / np.sqrt(2), -1 / np.sqrt(2)
    cosine = across @ fixed
    if dim == 2:
        assert abs(np.mean(cosine > 0) - 0.5) < 4 * 0.5 / np.sqrt(len(z))
    else:
        beta = scipy.stats.beta((dim - 2) / 2, (dim - 2) / 2, loc=-1, scale=2)
        assert scipy.stats.kstest(cosine, beta.cdf).pvalue > 1e-3


@pytest.mark.parametrize(("dim", "kappa"), [(2, 0.3), (2, 20.0), (5, 2.0), (20, 30.0)])
def test_gradient_of_samples_against_the_score_function(dim, kappa):
    target = jnp.linspace(-1.0, 1.5, dim)
    height = lambda z: jnp.sum(jnp.sin(2.0 * z + target))
    key, count = jax.random.key(3), 100_000
    mean = jnp.ones(dim) / jnp.sqrt(float(dim))

    @jax.jit
    def both(vector, kappa):
        draw = lambda key, v, k: vmf.sample(key, v / jnp.sqrt(jnp.sum(v**2)), k)

        def one(key):
            path = jax.grad(lambda v, k: height(draw(key, v, k)), (0, 1))(vector, kappa)
            z = draw(jax.random.clone(key), vector, kappa)
            log_density = lambda v, k: vmf.log_density(
                z, v / jnp.sqrt(jnp.sum(v**2)), k
            )
            score = jax.grad(log_density, (0, 1))(vector, kappa)
            centred = height(z) - height(vector)
            return jax.tree.map(lambda p, s: (p, centred * s), path, score)

        return jax.vmap(one)(jax.random.split(key, count))

    by_mean, by_kappa = both(mean, jnp.asarray(kappa))
    for path, score in (by_mean, by_kappa):
        path, score = np.asarray(path, float), np.asarray(score, float)
        error = np.sqrt((path.var(axis=0) + score.var(axis=0)) / count)
        assert np.all(np.abs(path.mean(axis=0) - score.mean(axis=0)) < 4.5 * error)
        if kappa >= 2.0:  # the score itself vanishes with the concentration
            assert np.all(path.std(axis=0) < score.std(axis=0))


@pytest.mark.parametrize(
    ("dim", "kappa"), [(2, 0.01), (2, 50.0), (3, 2.0), (11, 40.0), (64, 5000.0)]
)
def test_angle_derivative_keeps_the_quantile(dim, kappa, x64, dtype):
    # d angle / d kappa = -(dF / d kappa) / f, F differentiated by mpmath.
    angles = np.sqrt(dim / (kappa + dim)) * np.array([0.5, 0.8, 1.0, 1.2, 1.5])
    with mpmath.workdps(30):
        # About 1 at a typical angle: mpmath's quadrature has an absolute tolerance.
        one = mpmath.sqrt(mpmath.mpf(dim) / (kappa + dim))
        weight = lambda k, t: (
            mpmath.exp(k * (mpmath.cos(t) - mpmath.cos(one)))
            * (mpmath.sin(t) / mpmath.sin(one)) ** (dim - 2)
        )

        def mass(k, end):
            # Where the density is tiny it adds nothing but work.
            end = min(end, (mpmath.sqrt(dim) + 12) / mpmath.sqrt(k + dim))
            pieces = mpmath.linspace(0, end, 13)
            return mpmath.quad(
                lambda t: weight(k, t), pieces, method="gauss-legendre", maxdegree=4
            )

        whole = {}

        def share(angle, k):
            if k not in whole:
                whole[k] = mass(k, mpmath.pi)
            return mass(k, angle) / whole[k]

        def slope(angle):
            h = kappa * mpmath.mpf("1e-6")
            rise = share(angle, kappa + h) - share(angle, kappa - h)
            density = weight(kappa, angle) / mass(kappa, mpmath.pi)
            return float(-rise / (2 * h) / density)

        wanted = [slope(mpmath.mpf(float(angle))) for angle in angles]
    found = jax.vmap(lambda t: vmf.angle_derivative(t, jnp.asarray(kappa, dtype), dim))(
        jnp.asarray(angles, dtype)
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-7 if x64 else 2e-4)


@pytest.mark.parametrize("dim", [2, 3, 64])
def test_everything_is_finite_at_the_ends(dim):
    @jax.jit
    @jax.vmap
    def all_of(kappa):
        mean = jnp.zeros(dim).at[0].set(1.0)
        first, second = jax.random.split(jax.random.key(1))
        z = vmf.sample(first, mean, kappa)
        derivatives = jax.jacfwd(vmf.sample, (1, 2))(second, mean, kappa)
        density = jax.grad(vmf.log_density, (0, 1, 2))(z, mean, kappa)
        ends = [vmf.angle_derivative(jnp.asarray(t), kappa, dim) for t in (0.0, np.pi)]
        return z, derivatives, density, jax.grad(vmf.kl_to_uniform)(kappa, dim), ends

    for leaf in jax.tree.leaves(all_of(jnp.asarray([1e-3, 1.0, 10.0, 1e4]))):
        assert np.all(np.isfinite(leaf))


def test_vmap_is_the_loop():
    keys = jax.random.split(jax.random.key(0), 6)
    kappas = jnp.asarray([0.01, 0.5, 2.0, 30.0, 500.0, 9e3])
    mean = jnp.asarray([0.6, 0.0, -0.8])
    together = jax.vmap(vmf.sample, (0, None, 0))(keys, mean, kappas)
    one = jax.jit(vmf.sample)
    alone = [one(key, mean, kappa) for key, kappa in zip(keys, kappas, strict=True)]
    np.testing.assert_allclose(together, jnp.stack(alone), atol=1e-6)


def test_a_sphere_has_two_dimensions_at_least(unchecked):
    with pytest.raises(ValueError, match="dim must be at least 2.*1"):
        vmf.kl_to_uniform(jnp.asarray(1.0), 1)


@pytest.mark.parametrize("dim", [2, 3, 20])
def test_second_derivatives_against_bessel_functions(dim, x64):
    if not x64:
        pytest.skip("second differences of an oracle want float64")
    half = mpmath.mpf(dim) / 2
    bessel = lambda shift, x: mpmath.besseli(half + shift, x)
    mean = lambda x: mpmath.gamma(half) * (2 / x) ** (half - 1) * bessel(-1, x)
    oracles = {
        vmf.kl_to_uniform: lambda x: (
            x * bessel(0, x) / bessel(-1, x) - mpmath.log(mean(x))
        ),
        vmf.log_mass: lambda x: mpmath.log(mean(x)) - x,
    }
    for function, oracle_of in oracles.items():
        second = jax.jit(jax.vmap(jax.grad(jax.grad(lambda k, f=function: f(k, dim)))))
        found = second(jnp.asarray([0.1, 3.0, 200.0]))
        with mpmath.workdps(40):
            wanted = [float(mpmath.diff(oracle_of, k, 2)) for k in (0.1, 3.0, 200.0)]
        np.testing.assert_allclose(found, wanted, rtol=1e-9)


@pytest.mark.parametrize("dim", [2, 5])
def test_second_derivative_of_a_sample_follows_its_quantile(dim, x64):
    if not x64:
        pytest.skip("differences want float64")
    angle, kappa, step = jnp.asarray(0.5), jnp.asarray(4.0), 1e-4
    slope = functools.partial(vmf.angle_derivative, dim=dim)
    ends = [angle + t * slope(angle, kappa) for t in (step, -step)]
    after, before = (
        slope(end, kappa + t) for end, t in zip(ends, (step, -step), strict=True)
    )
    follow = lambda k: vmf._follow(angle, k, dim)
    for outer, inner in ((jax.jacfwd, jax.jacfwd), (jax.grad, jax.grad)):
        found = outer(inner(follow))(kappa)
        np.testing.assert_allclose(found, (after - before) / (2 * step), rtol=1e-6)
