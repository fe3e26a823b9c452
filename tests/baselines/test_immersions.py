import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from vaells_jax.baselines import brownian, immersions


def sphere(_, z):
    """Map the plane to the unit sphere, stereographically."""
    squared = jnp.sum(z**2)
    return jnp.append(2.0 * z, 1.0 - squared) / (1.0 + squared)


def paraboloid(curvature, z):
    return jnp.append(z, 0.5 * curvature * jnp.sum(z**2))


def linear(matrix, z):
    return matrix @ z


def pairs(count, dtype):
    """Return pairs of coordinates that are at most 2.8 apart on the sphere."""
    both = np.random.default_rng(0).normal(size=(2, 2 * count, 2))
    cosine = np.sum(points(both[0]) * points(both[1]), axis=1)
    return both[:, np.arccos(cosine) < 2.8][:, :count].astype(dtype)


def points(z):
    return np.asarray(jax.vmap(sphere, (None, 0))(None, jnp.asarray(z)))


@functools.cache
def distances(segments):
    find = functools.partial(
        immersions.squared_distance, sphere, None, segments=segments, iterations=20
    )
    return jax.jit(jax.vmap(jax.value_and_grad(find, (0, 1))))


def test_metric_is_the_pull_back(dtype):
    z = jnp.asarray([0.3, -0.7], dtype)
    wanted = 4.0 / (1.0 + float(jnp.sum(z**2))) ** 2 * np.eye(2)
    np.testing.assert_allclose(
        immersions.metric(sphere, None, z), wanted, rtol=1e-5, atol=1e-6
    )


def test_distances_on_the_sphere_are_angles(dtype):
    starts, ends = pairs(50, dtype)
    angle = np.arccos(np.sum(points(starts) * points(ends), axis=1))
    errors = []
    for segments in (10, 20):
        squared = distances(segments)(starts, ends)[0]
        errors.append(1.0 - np.sqrt(squared) / angle)
        # Of a great circle in so many chords, exactly.
        chords = 2.0 * segments * np.sin(0.5 * angle / segments)
        np.testing.assert_allclose(np.sqrt(squared), chords, rtol=2e-4)
    assert np.median(errors[0] / errors[1]) == pytest.approx(4.0, rel=0.2)


def test_derivatives_are_the_velocities_at_the_ends(x64, dtype):
    starts, ends = pairs(20, dtype)

    def angle_squared(start, end):
        cosine = sphere(None, start) @ sphere(None, end)
        return jnp.arccos(cosine) ** 2

    wanted = jax.vmap(jax.grad(angle_squared, (0, 1)))(starts, ends)
    found = distances(20)(starts, ends)[1]
    for one, other in zip(found, wanted, strict=True):
        scale = np.abs(other).max()
        np.testing.assert_allclose(one, other, atol=(0.01 if x64 else 0.02) * scale)


def test_geodesics_on_a_paraboloid_are_those_of_the_equation(x64, dtype):
    # z'' = -Gamma(z', z'), Gamma = M^-1 J^T D^2 f, integrated by SciPy.
    curvature = 0.8

    def field(_, state):
        z, v = state[:2], state[2:]
        jacobian = np.vstack([np.eye(2), curvature * z])
        bend = np.array([0.0, 0.0, curvature * v @ v])
        gram = jacobian.T @ jacobian
        return np.concatenate([v, -np.linalg.solve(gram, jacobian.T @ bend)])

    for start, velocity in (([0.5, 0.2], [0.8, 1.1]), ([-1.0, 0.3], [1.5, 0.6])):
        first = np.concatenate([start, velocity])
        times = np.linspace(0.0, 1.0, 41)
        curve = (
            scipy.integrate.solve_ivp(
                field, (0.0, 1.0), first, t_eval=times, rtol=1e-10, atol=1e-12
            )
            .y[:2]
            .T
        )
        height = curvature * np.dot(start, velocity)
        length = np.hypot(np.linalg.norm(velocity), height)
        found = immersions.geodesic(
            paraboloid, curvature, *jnp.asarray(curve[[0, -1]], dtype),
            segments=40, iterations=20,
        )  # fmt: skip
        energy = immersions.curve_energy(paraboloid, curvature, found)
        assert float(jnp.sqrt(energy)) == pytest.approx(length, rel=5e-4)
        np.testing.assert_allclose(found, curve, atol=2e-3)


def test_a_flat_space_has_straight_lines(dtype):
    rng = np.random.default_rng(1)
    matrix, start, end = (
        jnp.asarray(rng.normal(size=s), dtype) for s in ((5, 3), 3, 3)
    )
    squared = immersions.squared_distance(linear, matrix, start, end)
    wanted = float(jnp.sum((matrix @ (end - start)) ** 2))
    assert float(squared) == pytest.approx(wanted, rel=1e-4)
    times = jnp.asarray([0.0, 0.25, 1.0], dtype)
    line = immersions.geodesic_paths(
        linear, matrix, np.linspace(start, end, 7)[None], times
    )[0]
    np.testing.assert_allclose(
        line, np.outer(1 - times, start) + np.outer(times, end), atol=1e-4
    )


def wall(height, z):
    """Lift the plane along a ridge on the second axis, which ends at 1."""
    ridge = jnp.exp(-((z[0] / 0.1) ** 2)) * jax.nn.sigmoid((1.0 - z[1]) / 0.05)
    return jnp.append(z, height * ridge)


def test_routes_go_round_what_is_in_the_way(dtype):
    angle = np.linspace(0.0, np.pi, 30)
    corners = np.stack([np.cos(angle), 1.6 * np.sin(angle)], axis=1).astype(dtype)
    starts, ends = (np.asarray(x, dtype) for x in ([[-1.0, 0.1]], [[1.0, 0.0]]))
    height = jnp.asarray(5.0, dtype)
    route = immersions.routes(wall, height, corners, starts, ends, segments=40)
    np.testing.assert_array_equal(route[:, [0, -1]], np.stack([starts, ends], axis=1))
    assert route[0, :, 1].max() > 1.2
    steps = np.linalg.norm(np.diff(route[0], axis=0), axis=1)
    assert steps.max() < 1.1 * np.median(steps)
    ends = jnp.asarray(route[0, [0, -1]])
    curve = immersions.geodesic(wall, height, *ends, first=jnp.asarray(route[0]))
    energy = lambda curve: float(immersions.curve_energy(wall, height, curve))
    straight = immersions.geodesic(wall, height, *ends, segments=40)
    assert energy(curve) < energy(jnp.asarray(route[0])) < energy(straight)
    near = immersions.routes(
        wall, height, corners, starts, starts + np.asarray(0.1, dtype), segments=4
    )
    np.testing.assert_allclose(np.diff(near[0], n=2, axis=0), 0.0, atol=1e-5)


@functools.cache
def sample(immersion, steps, count=20_000):
    def draw(key, params, mean, time):
        start = brownian.motion(immersion, params, mean, time)
        keys = jax.random.split(key, (2, count))
        walk = lambda key: brownian.walk(key, immersion, params, start, steps=steps)
        near = lambda key: brownian.sample_tangent(key, start)
        return jax.vmap(walk)(keys[0]), jax.vmap(near)(keys[1])

    return jax.jit(draw)


def test_walks_on_a_flat_space_are_normal(dtype):
    rng = np.random.default_rng(2)
    matrix, mean = (jnp.asarray(rng.normal(size=s), dtype) for s in ((5, 2), 2))
    time = jnp.asarray(0.7, dtype)
    covariance = 0.7 * np.linalg.inv(np.asarray(matrix.T @ matrix, float))
    for drawn in sample(linear, 3)(jax.random.key(0), matrix, mean, time):
        z = np.asarray(drawn, float) - np.asarray(mean)
        whole = np.einsum("ni,ij,nj->n", z, np.linalg.inv(covariance), z)
        assert scipy.stats.kstest(whole, scipy.stats.chi2(2).cdf).pvalue > 1e-3
        first = scipy.stats.norm(scale=np.sqrt(covariance[0, 0])).cdf
        assert scipy.stats.kstest(z[:, 0], first).pvalue > 1e-3


def test_walks_on_the_sphere_follow_the_heat_kernel(dtype):
    # Its angle's density is sum (2l + 1)/2 exp(-l(l + 1) t/2) P_l(cos) sin.
    time, mean = 0.3, jnp.asarray([0.8, -0.4], dtype)
    drawn, near = sample(sphere, 100)(
        jax.random.key(1), None, mean, jnp.asarray(time, dtype)
    )
    angle = lambda z: np.arccos(np.clip(points(z) @ points(mean[None])[0], -1, 1))
    grid, degree = np.linspace(0.0, np.pi, 2_000), np.arange(40)[:, None]
    legendre = scipy.special.eval_legendre(degree, np.cos(grid))
    weights = (degree + 0.5) * np.exp(-0.5 * degree * (degree + 1) * time)
    density = np.sum(weights * legendre, axis=0) * np.sin(grid)
    cumulative = scipy.integrate.cumulative_trapezoid(density, grid, initial=0.0)
    cdf = lambda x: np.interp(x, grid, cumulative)
    assert cumulative[-1] == pytest.approx(1.0, abs=1e-6)
    assert scipy.stats.kstest(angle(drawn), cdf).pvalue > 1e-3
    assert scipy.stats.kstest(angle(near), cdf).pvalue < 1e-3  # the test can fail


def test_the_expansion_integrates_to_one_up_to_the_time(dtype):
    # On the sphere int exp(-a^2/2t) sin(a)/t da = 1 - t/3 + O(t^2).
    time = 0.06
    axis = np.linspace(-1.0, 1.0, 201)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2).astype(dtype)
    angle = 2.0 * np.arctan(np.linalg.norm(grid, axis=1))

    @jax.jit
    @jax.vmap
    def log_density(z, angle):
        factor = brownian.motion(sphere, None, z, jnp.ones_like(angle)).factor
        return brownian.log_heat(angle**2, jnp.full_like(angle, time), factor)

    total = np.sum(np.exp(log_density(grid, angle.astype(dtype)))) * 0.01**2
    assert total == pytest.approx(1.0 - time / 3.0, abs=2e-3)


def test_the_tangents_density_integrates_to_one(dtype):
    mean, time = jnp.asarray([0.2, 0.1], dtype), jnp.asarray(0.02, dtype)
    start = brownian.motion(sphere, None, mean, time)
    axis = np.linspace(-1.0, 1.0, 201)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2).astype(dtype)
    logs = jax.vmap(brownian.log_tangent, (0, None))(grid, start)
    assert np.exp(logs).sum() * 0.01**2 == pytest.approx(1.0, abs=1e-4)
