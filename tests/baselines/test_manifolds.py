import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from scipy.spatial.transform import Rotation

from vaells_jax.baselines import rotations
from vaells_jax.baselines.manifolds import make_manifold
from vaells_jax.baselines.sphere import log_sphere_area

SPACES = {
    "circle": make_manifold("sphere", 2),
    "sphere": make_manifold("sphere", 3),
    "S^3": make_manifold("sphere", 4),
    "S^6": make_manifold("sphere", 7),
    "torus": make_manifold("torus", 4),
    "rotations": make_manifold("rotations", 6),
}
SPHERES = {"circle": 1, "sphere": 2, "S^3": 3, "S^6": 6}
MANY = 20_000


@functools.cache
def compiled(name, method, *, batched=True):
    """Compile a space's function, of many points, once."""
    function = getattr(SPACES[name], method)
    return jax.jit(jax.vmap(function) if batched else function)


@functools.cache
def uniform_point(name):
    return SPACES[name].uniform(jax.random.key(5))


@functools.cache
def sampler(name, kind, count=MANY):
    space = SPACES[name]

    def draw(key, mean, spread):
        keys = jax.random.split(key, count)
        if kind == "walk":
            each = lambda key: space.walk(key, mean, spread, 10)
        else:
            each = lambda key: space.push(key, mean, spread)
        return jax.vmap(each)(keys)

    return jax.jit(draw)


def samples(name, kind, spread, key=0):
    mean = uniform_point(name)
    drawn = sampler(name, kind)(jax.random.key(key), mean, jnp.asarray(spread))
    return np.asarray(drawn, float), np.asarray(mean, float)


def angles(z, mean):
    near, far = (np.linalg.norm(x, axis=-1) for x in (z - mean, z + mean))
    return 2 * np.arctan2(near, far)


def as_matrices(z):
    first, second = z[..., :3], z[..., 3:]
    return np.stack([first, second, np.cross(first, second)], axis=-1)


def nodes(count=400):
    x, w = np.polynomial.legendre.leggauss(count)
    return np.pi * (x + 1) / 2, np.pi * w / 2


def heat_series(angle, dim, time):
    """Heat kernel on S^dim over the uniform density: the eigenfunctions' series."""
    total = np.ones_like(angle)
    for n in range(1, 200):
        decay = np.exp(-n * (n + dim - 1) * time / 2)
        if dim == 1:
            term = 2 * np.cos(n * angle)
        else:
            zonal = scipy.special.eval_gegenbauer(n, (dim - 1) / 2, np.cos(angle))
            term = (2 * n + dim - 1) / (dim - 1) * zonal
        total = total + decay * term
    return total


def angle_weights(angle, dim):
    """Share of the uniform density at an angle."""
    ring = math.log(2.0) if dim == 1 else log_sphere_area(dim)
    return np.exp(ring - log_sphere_area(dim + 1)) * np.sin(angle) ** (dim - 1)


def character(angle, degree):
    """Trace of a rotation's representation."""
    return np.sin((degree + 0.5) * angle) / np.sin(angle / 2)


def distance_from(name, z):
    z = jnp.asarray(z, jnp.ones(()).dtype)
    return np.abs(np.asarray(compiled(name, "project")(z)) - z).max()


@pytest.mark.parametrize("name", SPHERES)
@pytest.mark.parametrize("share", [0.01, 0.3, 1.0])
def test_the_walk_follows_the_heat_kernel(name, share):
    dim, space = SPHERES[name], SPACES[name]
    time = share * space.max_time
    z, mean = samples(name, "walk", time, key=dim)
    assert distance_from(name, z) < 1e-5
    grid = np.linspace(0.0, np.pi, 20_001)
    middle = grid[1:] - grid[1] / 2
    density = heat_series(middle, dim, time) * angle_weights(middle, dim)
    cdf = np.concatenate([[0.0], np.cumsum(density)]) * grid[1]
    assert cdf[-1] == pytest.approx(1.0, abs=1e-5)
    law = lambda x: np.interp(x, grid, cdf)
    assert scipy.stats.kstest(angles(z, mean), law).pvalue > 1e-3


def test_the_walk_of_a_torus_is_one_on_each_circle():
    z, mean = samples("torus", "walk", 0.6)
    turned = np.angle(z[:, ::2] + 1j * z[:, 1::2])
    turned -= np.angle(mean[::2] + 1j * mean[1::2])
    for frequencies in ((1, 0), (0, 1), (1, 1), (2, -1)):
        decay = np.exp(-np.sum(np.square(frequencies)) * 0.6 / 2)
        wave = np.exp(1j * turned @ np.array(frequencies))
        assert abs(wave.mean() - decay) < 5 / math.sqrt(MANY)


@pytest.mark.parametrize("time", [0.02, 0.4, 4 / 3])
def test_the_walk_of_rotations_has_the_heat_kernels_characters(time):
    z, mean = samples("rotations", "walk", time)
    assert distance_from("rotations", z) < 1e-5
    turned = as_matrices(mean).T @ as_matrices(z)
    angle = Rotation.from_matrix(turned).magnitude()
    for degree in (1, 2, 3):
        trace = character(angle, degree)
        wanted = (2 * degree + 1) * np.exp(-degree * (degree + 1) * time / 2)
        assert abs(trace.mean() - wanted) < 4.5 * trace.std() / math.sqrt(MANY)


@pytest.mark.parametrize("name", SPHERES)
def test_small_time_divergence_against_quadrature(name, dtype):
    dim, space = SPHERES[name], SPACES[name]
    angle, weights = nodes()
    allowed = {1: 0.005, 2: 0.005, 3: 0.011, 6: 0.07}[dim]
    for share in (0.05, 0.2, 1.0):
        time = share * space.max_time
        ratio = heat_series(angle, dim, time)
        logs = np.log(np.maximum(ratio, 1e-300))
        wanted = np.sum(weights * angle_weights(angle, dim) * ratio * logs)
        found = float(space.kl_to_uniform(jnp.asarray(time, dtype)))
        # What is left out is of the second order in time.
        assert abs(found - wanted) < allowed * share**2 + 1e-5


def test_small_time_divergence_of_a_torus_and_of_rotations(dtype):
    one, two = (
        float(SPACES[name].kl_to_uniform(jnp.asarray(0.3, dtype)))
        for name in ("circle", "torus")
    )
    assert two == pytest.approx(2 * one, rel=1e-5)
    angle, weights = nodes()
    for time, allowed in ((0.1, 1e-4), (0.4, 3e-3), (2 / 3, 0.012)):
        ratio = sum(
            (2 * n + 1) * np.exp(-n * (n + 1) * time / 2) * character(angle, n)
            for n in range(60)
        )
        share = (1 - np.cos(angle)) / np.pi
        logs = np.log(np.maximum(ratio, 1e-300))
        wanted = np.sum(weights * share * ratio * logs)
        found = SPACES["rotations"].kl_to_uniform(jnp.asarray(time, dtype))
        assert float(found) == pytest.approx(wanted, abs=allowed)


@functools.cache
def densities(name):
    space = SPACES[name]
    return jax.jit(jax.vmap(space.log_pushed, (0, None, None)))


@pytest.mark.parametrize("name", SPHERES)
@pytest.mark.parametrize("std", [0.05, 0.5, 1.0])
def test_pushed_density_integrates_to_one_and_samples_follow_it(name, std, x64, dtype):
    dim = SPHERES[name]
    angle, weights = nodes()
    points = np.zeros((len(angle), dim + 1))
    points[:, 0], points[:, 1] = np.cos(angle), np.sin(angle)
    mean = np.eye(dim + 1)[0]
    logs = densities(name)(*(jnp.asarray(x, dtype) for x in (points, mean, std)))
    mass = weights * np.exp(np.asarray(logs, float) + log_sphere_area(dim + 1))
    mass = mass * angle_weights(angle, dim)
    assert mass.sum() == pytest.approx(1.0, rel=1e-9 if x64 else 2e-4)
    z, mean = samples(name, "push", std, key=10 + dim)
    cosine = np.cos(angles(z, mean))
    error = cosine.std() / math.sqrt(MANY)
    assert abs(cosine.mean() - mass @ np.cos(angle)) < 4.5 * error


def rotation_grid(angle_count=60, height_count=40, turn_count=60):
    """Nodes over SO(3) by angle and axis, and weights of Haar measure."""
    angle, weights = nodes(angle_count)
    height, sphere = np.polynomial.legendre.leggauss(height_count)
    turn = 2 * np.pi * np.arange(turn_count) / turn_count
    ring = np.sqrt(1 - height**2)[:, None]
    axes = np.stack(
        [ring * np.cos(turn), ring * np.sin(turn), height[:, None] + 0 * turn], axis=-1
    ).reshape(-1, 3)
    area = np.repeat(sphere * 2 * np.pi / turn_count, turn_count)
    vectors = (angle[:, None, None] * axes).reshape(-1, 3)
    haar = ((2 - 2 * np.cos(angle)) * weights)[:, None] * area
    return Rotation.from_rotvec(vectors).as_matrix(), haar.ravel()


@pytest.mark.parametrize("std", [(0.5, 0.5, 0.5), (0.3, 0.9, 0.5), (1.5, 1.2, 1.8)])
def test_pushed_density_of_rotations(std, x64, dtype):
    turns, haar = rotation_grid()
    assert haar.sum() == pytest.approx(8 * np.pi**2)
    mean = np.asarray(uniform_point("rotations"), float)
    matrices = as_matrices(mean) @ turns
    points = matrices.transpose(0, 2, 1)[:, :2].reshape(-1, 6)
    logs = densities("rotations")(*(jnp.asarray(x, dtype) for x in (points, mean, std)))
    mass = haar * np.exp(np.asarray(logs, float))
    # The density has a pole where whole turns meet, of mass that the grid takes.
    assert mass.sum() == pytest.approx(1.0, rel=1e-6 if x64 else 1e-4)
    z, _ = samples("rotations", "push", std)
    drawn = as_matrices(mean).T @ as_matrices(z)
    wanted = np.einsum("n,nij->ij", mass, turns)
    error = drawn.std(axis=0) / math.sqrt(MANY) + 1e-4
    assert np.all(np.abs(drawn.mean(axis=0) - wanted) < 4.5 * error)


@pytest.mark.parametrize("name", SPACES)
def test_derivatives_against_finite_differences(name, x64):
    if not x64:
        pytest.skip("differences want double precision")
    space = SPACES[name]
    raw = jnp.asarray(np.random.default_rng(0).normal(size=(2, space.size)))
    std = jnp.asarray(0.7)

    def density(raw, std):
        return space.log_pushed(*map(space.project, raw), std)

    def pushed(raw, std):
        z = space.push(jax.random.key(0), space.project(raw[0]), std)
        return space.log_pushed(z, space.project(raw[0]), std)

    def walked(raw, std):
        z = space.walk(jax.random.key(0), space.project(raw[0]), std, 10)
        return jnp.sum(z * raw[1])

    for function in map(jax.jit, (density, pushed, walked)):
        found = jax.grad(function, (0, 1))(raw, std)
        for i in np.ndindex(raw.shape):
            step = jnp.zeros_like(raw).at[i].set(1e-5)
            change = function(raw + step, std) - function(raw - step, std)
            assert float(found[0][i]) == pytest.approx(
                float(change) / 2e-5, rel=1e-5, abs=1e-7
            )
        change = function(raw, std + 1e-5) - function(raw, std - 1e-5)
        assert float(found[1]) == pytest.approx(float(change) / 2e-5, rel=1e-5)


@pytest.mark.parametrize("name", SPACES)
def test_numbers_are_finite_where_points_coincide_or_oppose(name):
    space, z = SPACES[name], uniform_point(name)
    function = lambda z, mean, std: space.log_pushed(z, space.project(mean), std)
    both = jax.jit(jax.value_and_grad(function, (0, 1, 2)))
    opposite = -z
    if name == "rotations":  # half a turn about the first axis
        opposite = z * jnp.array([1.0, 1.0, 1.0, -1.0, -1.0, -1.0], z.dtype)
    for other in (z, opposite):
        for leaf in jax.tree.leaves(both(other, z, jnp.asarray(0.4, z.dtype))):
            assert np.all(np.isfinite(leaf))
    zero = jnp.zeros_like(z)
    assert distance_from(name, compiled(name, "project")(zero[None])) < 1e-6
    assert np.all(np.isfinite(jax.jit(jax.jacrev(space.project))(zero)))


@pytest.mark.parametrize("name", SPACES)
def test_paths_are_geodesics(name):
    space = SPACES[name]
    drawn = compiled(name, "uniform")(jax.random.split(jax.random.key(1), 14))
    starts, ends = drawn[:7], drawn[7:]
    join = compiled(name, "path", batched=False)
    path = np.asarray(join(starts, ends, jnp.linspace(0.0, 1.0, 9)), float)
    np.testing.assert_allclose(path[:, 0], starts, atol=2e-6)
    np.testing.assert_allclose(path[:, -1], ends, atol=2e-5)
    assert distance_from(name, path.reshape(-1, space.size)) < 1e-5
    steps = np.linalg.norm(np.diff(path, axis=1), axis=-1)  # of even length
    if name == "rotations":
        steps = np.linalg.norm(np.diff(as_matrices(path), axis=1), axis=(-2, -1))
        turn = as_matrices(np.asarray(starts, float)).transpose(0, 2, 1)
        turn = turn @ as_matrices(np.asarray(ends, float))
        angle = Rotation.from_matrix(turn).magnitude() / 8
        np.testing.assert_allclose(
            steps[:, 0], np.sqrt(8) * np.sin(angle / 2), rtol=1e-3
        )
    np.testing.assert_allclose(steps, steps[:, :1].repeat(8, axis=1), rtol=1e-3)


def test_uniform_samples_have_no_preferred_direction():
    for name in SPACES:
        keys = jax.random.split(jax.random.key(2), MANY)
        z = np.asarray(compiled(name, "uniform")(keys))
        assert np.all(np.abs(z.mean(axis=0)) < 4.5 * z.std(axis=0) / math.sqrt(MANY)), (
            name
        )
    trace = character(Rotation.from_matrix(as_matrices(z)).magnitude(), 2)
    assert abs(trace.mean()) < 4.5 / math.sqrt(MANY)
    assert trace.var() == pytest.approx(1.0, abs=0.1)  # Schur's orthogonality


def test_logarithm_and_exponential_against_scipy(dtype):
    vectors = np.random.default_rng(3).normal(size=(200, 3)) * 3
    vectors[:3] = [[0, 0, 0], [1e-6, 0, 0], [0, np.pi - 1e-6, 0]]
    wanted = Rotation.from_rotvec(vectors)
    found = jax.jit(jax.vmap(rotations.exponential))(jnp.asarray(vectors, dtype))
    np.testing.assert_allclose(found, wanted.as_matrix(), atol=3e-6)
    angle, axis = jax.jit(jax.vmap(rotations.logarithm))(found)
    np.testing.assert_allclose(angle, wanted.magnitude(), atol=1e-5)
    again = Rotation.from_rotvec(np.asarray(angle)[:, None] * np.asarray(axis, float))
    assert (again * wanted.inv()).magnitude().max() < 1e-5


def test_representations_are_the_irreducible_ones(dtype):
    vectors = np.random.default_rng(4).normal(size=(2, 3))
    a, b = (rotations.exponential(jnp.asarray(v, dtype)) for v in vectors)
    both = rotations.representations(a @ b, 5)
    pairs = zip(*(rotations.representations(x, 5) for x in (a, b)), both, strict=True)
    angle = np.linalg.norm(vectors[0])
    for degree, (first, second, product) in enumerate(pairs, 1):
        assert first.shape == (2 * degree + 1,) * 2
        np.testing.assert_allclose(first @ second, product, atol=5e-6)
        np.testing.assert_allclose(first @ first.T, np.eye(len(first)), atol=5e-6)
        assert float(jnp.trace(first)) == pytest.approx(
            character(angle, degree), abs=1e-5
        )


@pytest.mark.parametrize(
    ("name", "size"), [("sphere", 1), ("torus", 3), ("rotations", 9), ("bottle", 4)]
)
def test_sizes_without_a_manifold(name, size, unchecked):
    with pytest.raises(ValueError, match=f"latent_size must be .*got {size} for"):
        make_manifold(name, size)
