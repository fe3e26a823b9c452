import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from scipy.special import logsumexp

from vaells_jax.model.integrals import log_posterior_integral, log_wrapped_laplace
from vaells_jax.operators.structures import Commuting

TURN = np.array([[0.0, -1.0], [1.0, 0.0]])


@functools.cache
def density():
    return jax.jit(
        log_posterior_integral, static_argnames=("residual_weight", "l1_weight")
    )


def log_density(z, mean, operators, gamma, rate, dtype=None):
    arrays = (jnp.asarray(x, dtype) for x in (z, mean, operators))
    return density()(*arrays, residual_weight=float(gamma**-2), l1_weight=float(rate))


@functools.cache
def cases():
    """Return latents, turning rate, gamma and zeta_3 of some planes."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(12):
        mean, z = rng.normal(size=(2, 2)) * rng.choice([0.3, 1.0, 2.0], (2, 1))
        turn = rng.choice([-1, 1]) * 10 ** rng.uniform(-1, 0.7)
        gamma, rate = 10 ** rng.uniform(-1, 0.3), 10 ** rng.uniform(-1, 1.5)
        found.append((mean, z, turn, gamma, rate))
    return found


@pytest.mark.parametrize("rate", [1e-3, 0.3, 2.0, 40.0])
def test_the_wrapped_density_is_a_sum_over_windings(rate, dtype):
    angles = np.linspace(-np.pi, np.pi, 31)
    turns = np.arange(-int(20 / rate) - 5, int(20 / rate) + 6)
    laws = scipy.stats.laplace(scale=1 / rate)
    logs = laws.logpdf(angles[:, None] + 2 * np.pi * turns)
    found = log_wrapped_laplace(jnp.asarray(angles, dtype), rate)
    np.testing.assert_allclose(found, logsumexp(logs, axis=1), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("case", range(12))
def test_one_turning_operator_against_adaptive_quadrature(case, x64):
    mean, z, turn, gamma, rate = cases()[case]
    found = float(log_density(z, mean, turn * TURN[None], gamma, rate))

    first, last = complex(*mean), complex(*z)

    def integrand(c):
        squared = abs(last - np.exp(1j * turn * c) * first) ** 2
        return math.exp(-0.5 * squared / gamma**2 - rate * abs(c) - found)

    # A quarter of a turn at a time, until nothing is left of the Laplace density.
    most = 25 / rate + 2 * np.pi / abs(turn)
    points = np.arange(0, most, 0.5 * np.pi / abs(turn))
    points = np.unique([*points, *np.geomspace(0.03 / rate, most, 12)])
    total = sum(
        scipy.integrate.quad(integrand, *ends, limit=200)[0]
        for low, high in zip(points[:-1], points[1:], strict=True)
        for ends in ((low, high), (-high, -low))
    )
    total *= 0.5 * rate / (2 * np.pi * gamma**2)
    assert total == pytest.approx(1.0, rel=1e-5 if x64 else 1e-3)


@pytest.mark.parametrize("case", [0, 7])
def test_scaling_and_turning_against_adaptive_quadrature(case, x64):
    """Two operators of one plane: an integral of two dimensions, turns wrapped."""
    mean, z, turn, gamma, rate = cases()[case]
    scale = 0.7 * abs(turn) ** 0.5
    operators = np.stack([scale * np.eye(2), turn * TURN])
    found = float(log_density(z, mean, operators, gamma, rate))
    laplace = scipy.stats.laplace(scale=1 / rate)
    turns = np.arange(-40, 41) * 2 * np.pi

    def given_scaling(s):
        radius, wanted = np.linalg.norm(mean) * math.exp(s * scale), np.linalg.norm(z)
        gap = math.atan2(mean[0] * z[1] - mean[1] * z[0], mean @ z)

        def integrand(angle):
            near = np.sum(laplace.pdf((angle + turns) / turn)) / abs(turn)
            squared = radius**2 + wanted**2
            squared -= 2 * radius * wanted * math.cos(angle - gap)
            return near * math.exp(-0.5 * squared / gamma**2 - found)

        steep = [k * 0.1**n for k in (-1, 1) for n in range(3)]
        inner = scipy.integrate.quad(
            integrand, -np.pi, np.pi, points=[0.0, gap, *steep], epsabs=1e-10,
            epsrel=1e-6, limit=200,
        )[0]  # fmt: skip
        return inner * laplace.pdf(s) / (2 * np.pi * gamma**2)

    if rate < 40 * abs(turn) / (40 * 2 * np.pi):
        pytest.skip("more windings than the sum has")
    top = math.log(np.linalg.norm(z) / np.linalg.norm(mean)) / scale
    tails = [k * t / rate for k in (-1, 1) for t in (0.3, 2.0, 8.0, 30.0)]
    tails += [top - 5 / rate, top + 5 / rate]
    ends = sorted([0.0, top, *tails])
    total = sum(
        scipy.integrate.quad(given_scaling, low, high, epsabs=1e-7, epsrel=1e-6)[0]
        for low, high in zip(ends[:-1], ends[1:], strict=True)
        if high > low
    )
    assert total == pytest.approx(1.0, rel=1e-4 if x64 else 1e-3)


@pytest.mark.parametrize("scaling", [False, True])
def test_planes_are_independent_and_the_rest_is_normal(scaling, dtype):
    rng = np.random.default_rng(1)
    size = 4 if scaling else 5
    mean, z = rng.normal(size=(2, size))
    structure = Commuting(scaling=scaling, separate=True)
    rates = rng.normal(size=(4 if scaling else 2, 1, 1))
    operators = np.zeros((len(rates), size, size))
    operators[:, :4, :4] = structure.matrices({"rates": jnp.asarray(rates)})
    found = log_density(z, mean, operators, 0.3, 1.5, dtype)
    wanted = 0.0
    for plane in range(2):
        rows = slice(2 * plane, 2 * plane + 2)
        own = [2 * plane, 2 * plane + 1] if scaling else [plane]
        wanted += log_density(z[rows], mean[rows], operators[own, rows, rows], 0.3, 1.5)
    wanted += scipy.stats.norm(mean[4:], 0.3).logpdf(z[4:]).sum()
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_the_density_integrates_to_one(dtype):
    grid = np.linspace(-3, 3, 61)
    points = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
    mean, operators = np.array([1.2, -0.4]), 2.0 * TURN[None]
    one = lambda z: log_density(z, mean, operators, 0.25, 1.0, dtype)
    densities = np.exp(jax.vmap(one)(jnp.asarray(points, dtype)))
    total = densities.sum(dtype=float) * (grid[1] - grid[0]) ** 2
    assert total == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("kind", ["turning", "both"])
def test_derivatives_against_differences(kind, x64):
    if not x64:
        pytest.skip("differences want double precision")
    mean, z, turn, _, rate = cases()[3]

    def value(packed):
        mean, z, rates = packed[:2], packed[2:4], packed[4:]
        operators = rates[0] * jnp.asarray(TURN)[None]
        if kind == "both":
            operators = jnp.concatenate([operators, rates[1] * jnp.eye(2)[None]])[::-1]
        return log_posterior_integral(
            z, mean, operators, residual_weight=25.0, l1_weight=float(rate)
        )

    packed = jnp.asarray([*mean, *z, turn, *([0.4] if kind == "both" else [])])
    found = jax.jit(jax.grad(value))(packed)
    value = jax.jit(value)
    for i in range(len(packed)):
        step = 1e-4 * np.eye(len(packed))[i]
        slope = float(value(packed + step) - value(packed - step)) / 2e-4
        assert float(found[i]) == pytest.approx(slope, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("where", ["start", "end", "both", "rate", "opposite", "same"])
def test_singular_places_have_finite_values_and_derivatives(where, dtype):
    a = 0.0 if where in ("start", "both") else 1.0
    b = {"end": 0.0, "both": 0.0, "opposite": -1.0}.get(where, 1.0)
    mean, z = jnp.array([a, 0.0], dtype), jnp.array([b, 0.0], dtype)
    operators = jnp.asarray((where != "rate") * TURN[None], dtype)
    call = functools.partial(log_posterior_integral, residual_weight=1e4, l1_weight=2.0)
    value, grads = jax.jit(jax.value_and_grad(call, (0, 1, 2)))(z, mean, operators)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in grads)
    if where in ("rate", "same"):
        return
    if where == "both":  # nothing moves the origin
        wanted = scipy.stats.norm(0, 0.01).logpdf([0, 0]).sum()
        assert float(value) == pytest.approx(wanted, rel=1e-5)


def test_other_operators_read_nan(dtype):
    rng = np.random.default_rng(2)
    z, mean = rng.normal(size=(2, 2))
    for operators in (rng.normal(size=(1, 2, 2)), np.eye(2)[None], np.ones((2, 2, 2))):
        assert np.isnan(log_density(z, mean, operators, 0.3, 1.0, dtype))
