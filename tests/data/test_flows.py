import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special

from vaells_jax.data.flows import FLOWS

EXACT = {"pendulum": 1e-10, "lotka_volterra": 1e-9, "two_bodies": 1e-8}
"""Errors in double precision of times up to 3, of points of magnitude 1."""


def tolerance(name, x64):
    return EXACT[name] if x64 else 5e-5


def field(name, y):
    """Return the rate of change in its textbook form, of one point."""
    h = len(y) // 2
    q, p = y[:h], y[h:]
    if name == "pendulum":
        return np.r_[p, -np.sin(q)]
    if name == "two_bodies":
        return np.r_[p, -q / np.linalg.norm(q) ** 3]
    predators, prey = np.exp(y)
    return np.r_[predators * (prey - 1.0) / predators, prey * (1 - predators) / prey]


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("stretch", [1.0, 3.0])
def test_ends_are_where_scipys_integrator_leads(name, stretch, x64):
    start, end, times = FLOWS[name].pairs(jax.random.key(0), 8)
    if stretch != 1.0:
        end = FLOWS[name].move(start, stretch * times)
    for x, y, t in zip(
        *(np.asarray(a, float) for a in (start, end, times)), strict=True
    ):
        found = scipy.integrate.solve_ivp(
            lambda _, y: field(name, y), (0.0, stretch * t), x, method="DOP853",
            rtol=1e-12, atol=1e-12,
        )  # fmt: skip
        np.testing.assert_allclose(y, found.y[:, -1], atol=tolerance(name, x64))


@pytest.mark.parametrize("name", FLOWS)
def test_moves_add_up_and_keep_the_energy(name, x64):
    flow, atol = FLOWS[name], tolerance(name, x64)
    start, end, s = flow.pairs(jax.random.key(1), 50)
    t = jnp.linspace(-2.0, 2.0, 50, dtype=s.dtype)
    np.testing.assert_allclose(flow.move(end, t), flow.move(start, s + t), atol=atol)
    np.testing.assert_allclose(flow.move(end, -s), start, atol=atol)
    np.testing.assert_array_equal(flow.move(start, 0.0 * s), start)
    np.testing.assert_allclose(flow.energy(end), flow.energy(start), atol=atol)
    assert np.std(flow.move(start, t) - start) > 0.1


def test_energies_by_hand():
    points = lambda *x: jnp.asarray([x])
    assert FLOWS["pendulum"].energy(points(np.pi / 2, 2.0)) == pytest.approx(2.0)
    found = FLOWS["lotka_volterra"].energy(points(np.log(2.0), np.log(3.0)))
    assert found == pytest.approx(2.0 - np.log(2.0) + 3.0 - np.log(3.0))
    found = FLOWS["two_bodies"].energy(points(3.0, 4.0, 1.0, 1.0))
    assert found == pytest.approx(1.0 - 0.2)


def test_a_pendulum_swings_as_the_elliptic_sine(x64):
    # sin(q / 2) = k sn(t + K, k), from rest at its highest.
    k, t = 0.8, np.linspace(0.0, 3.0, 20)
    sn, cn, _, _ = scipy.special.ellipj(t + scipy.special.ellipk(k**2), k**2)
    wanted = np.stack([2.0 * np.arcsin(k * sn), 2.0 * k * cn], axis=1)
    start = jnp.tile(jnp.asarray([[2.0 * np.arcsin(k), 0.0]]), (20, 1))
    found = FLOWS["pendulum"].move(start, jnp.asarray(t, start.dtype))
    np.testing.assert_allclose(found, wanted, atol=tolerance("pendulum", x64))


def test_pendulums_start_below_the_top():
    start, end, _ = FLOWS["pendulum"].pairs(jax.random.key(2), 5000)
    k = np.sqrt((1.0 + np.asarray(FLOWS["pendulum"].energy(start))) / 2.0)
    assert 0.1 <= k.min() < 0.11
    assert 0.89 < k.max() <= 0.9001
    assert np.abs(end[:, 0]).max() < 2.0 * np.arcsin(0.901)


def test_ellipses_close_after_a_year_and_keep_keplers_laws(x64):
    flow = FLOWS["two_bodies"]
    start, end, times = flow.pairs(jax.random.key(3), 500)
    atol = 1e-8 if x64 else 5e-5

    def integrals(points):
        (x, y), (u, v) = np.asarray(points, float).T.reshape(2, 2, -1)
        momentum, r = x * v - y * u, np.hypot(x, y)
        axis = np.stack([v * momentum - x / r, -u * momentum - y / r])  # Laplace's
        return momentum, axis

    for before, after in zip(integrals(start), integrals(end), strict=True):
        np.testing.assert_allclose(before, after, atol=atol)
    momentum, axis = integrals(start)
    eccentricity = np.linalg.norm(axis, axis=0)
    np.testing.assert_allclose(flow.energy(start), -0.5, atol=1e-5)
    np.testing.assert_allclose(momentum, np.sqrt(1 - eccentricity**2), atol=1e-5)
    assert eccentricity.min() < 0.01 < 0.49 < eccentricity.max() < 0.5001
    # Of what rounding does to the energy, a year makes 3 pi times as much in place.
    year = jnp.full_like(times, 2.0 * np.pi)
    atol = 1e-8 if x64 else 1e-3
    np.testing.assert_allclose(flow.move(start, year), start, atol=atol)


@pytest.mark.parametrize("name", FLOWS)
def test_times_are_uniform_and_starts_lie_about_the_origin(name, dtype):
    start, end, times = FLOWS[name].pairs(jax.random.key(4), 4000)
    assert start.dtype == end.dtype == times.dtype == dtype
    quantiles = np.quantile(np.asarray(times), [0.0, 0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(quantiles, [-1.0, -0.5, 0.0, 0.5, 1.0], atol=0.05)
    np.testing.assert_allclose(np.mean(start, axis=0), 0.0, atol=0.06)
    assert 0.4 < np.std(start) < 1.0


def test_a_whole_turn_of_predators_and_prey_meets_the_extremes_in_order():
    # A little after prey peaks, predators do: q follows p by a quarter turn.
    start = jnp.asarray([[0.0, 0.5]])
    orbit = FLOWS["lotka_volterra"].move(
        jnp.tile(start, (100, 1)), jnp.linspace(0.0, 7.0, 100)
    )
    predators, prey = np.asarray(orbit).T
    assert prey.argmax() < predators.argmax() < prey.argmin() < predators.argmin()
