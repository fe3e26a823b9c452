import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from vaells_jax.operators.structures import (
    STRUCTURES,
    Basis,
    Blocks,
    Commuting,
    Dense,
    LowRank,
    Skew,
)

GENERATORS = np.random.default_rng(0).normal(size=(5, 6, 6))
CASES = {
    "dense": (Dense(), 3 * 36),
    "skew": (Skew(), 3 * 15),
    "blocks": (Blocks(2, 6), 3 * 4),
    "blocks of 3": (Blocks(3, 6), 3 * 9),
    "commuting": (Commuting(), 3 * 6),
    "rotations of planes": (Commuting(scaling=False), 3 * 3),
    "separate planes": (Commuting(separate=True), 3 * 2),
    "separate rotations": (Commuting(scaling=False, separate=True), 3),
    "apart, scalings and rotations": (Commuting(separate=True), 6),
    "commuting, learned": (Commuting(learned_basis=True), 3 * 6 + 15),
    "low rank": (LowRank(1), 3 * 12),
    "low rank of 2": (LowRank(2), 3 * 24),
    "basis": (Basis(GENERATORS.tolist()), 3 * 5),
}
M, D = 3, 6


def operators_of(name):
    """Return M of a case: an operator for each scaling and rotation, or three."""
    return D if name.startswith("apart") else M


def drawn(name, dtype, seed=1):
    """Return a structure and parameters of it, none of them zero."""
    structure, _ = CASES[name]
    count = operators_of(name)
    parameters = structure.init(jax.random.key(seed), count, D, 0.4, dtype)
    noise = np.random.default_rng(seed)
    if isinstance(structure, Commuting):
        rates = parameters["rates"]
        parameters["rates"] = jnp.asarray(0.4 * noise.normal(size=rates.shape), dtype)
    if name == "commuting, learned":
        parameters["basis"] = jnp.asarray(noise.normal(size=15), dtype)
    c, z = (jnp.asarray(noise.normal(size=s), dtype) for s in (count, D))
    return structure, parameters, 1.5 * c, z


def test_every_structure_has_a_case():
    kinds = {type(structure) for structure, _ in CASES.values()}
    assert kinds == {*STRUCTURES.values(), Basis}


@pytest.mark.parametrize("name", CASES)
def test_paths_and_their_derivatives_against_scipy(name, dtype, x64):
    structure, parameters, c, z = drawn(name, dtype)
    matrices = np.asarray(structure.matrices(parameters), float)
    assert matrices.shape == (operators_of(name), D, D)
    A = np.einsum("m,mij->ij", np.asarray(c, float), matrices)
    wanted = scipy.linalg.expm(A) @ np.asarray(z, float)
    tolerance = {"rtol": 1e-9, "atol": 1e-9} if x64 else {"rtol": 2e-4, "atol": 2e-4}
    way = jax.tree.map(
        lambda x: jnp.cos(jnp.arange(x.size, dtype=dtype)).reshape(x.shape), parameters
    )

    @jax.jit
    def everything(parameters, c, z):
        moved = lambda p, c: structure.transport(p, c, z)
        change = jax.jvp(structure.matrices, (parameters,), (way,))[1]
        value, back = jax.vjp(moved, parameters, c)
        along = jax.jvp(lambda p: moved(p, c), (parameters,), (way,))[1]
        return value, jax.vmap(back)(jnp.eye(D, dtype=dtype)), change, along

    value, (by_parameters, by_c), change, along = everything(parameters, c, z)
    np.testing.assert_allclose(value, wanted, **tolerance)
    derivative = lambda E: (
        scipy.linalg.expm_frechet(A, E, compute_expm=False) @ (np.asarray(z, float))
    )
    for m in range(len(matrices)):
        np.testing.assert_allclose(by_c[:, m], derivative(matrices[m]), **tolerance)
    # In the parameters: by the dictionary's own change, in a direction.
    E = np.einsum("m,mij->ij", np.asarray(c, float), np.asarray(change, float))
    np.testing.assert_allclose(along, derivative(E), **tolerance)
    backwards = sum(
        np.tensordot(a, b, b.ndim)
        for a, b in zip(
            jax.tree.leaves(by_parameters), jax.tree.leaves(way), strict=True
        )
    )
    np.testing.assert_allclose(backwards, along, **tolerance)


@pytest.mark.parametrize("name", CASES)
def test_the_number_of_parameters_and_the_size_of_entries(name, dtype):
    structure, count = CASES[name]
    assert structure.num_parameters(operators_of(name), D) == count
    count = 400
    if getattr(structure, "separate", False):
        count = operators_of(name)
    keys = jax.random.split(jax.random.key(3), 400 // count + 1)
    draws = [structure.init(key, count, D, 0.4, dtype) for key in keys]
    parameters = draws[0]
    matrices = np.concatenate([structure.matrices(x) for x in draws]).astype(float)
    assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(parameters))
    if name != "basis":  # of other generators, other entries
        free = matrices[:, np.any(matrices != 0, axis=0)]
        share = structure.size / D if name.startswith("blocks") else 1.0
        share = 2 / D if name.startswith("separate") else share
        share = 1 / D if name.startswith("apart") else share
        root = np.sqrt(np.mean(free**2) / share)
        assert root == pytest.approx(0.4, rel=0.1)


@pytest.mark.parametrize("name", CASES)
def test_matrices_are_of_their_structure(name, dtype):
    structure, parameters, _, _ = drawn(name, dtype)
    matrices = np.asarray(structure.matrices(parameters), float)
    across = np.einsum("aij,bjk->abik", matrices, matrices)
    match structure:
        case Dense():
            np.testing.assert_array_equal(matrices, parameters)
        case Skew():
            np.testing.assert_array_equal(matrices, -matrices.swapaxes(1, 2))
        case Blocks(size=size):
            for m, matrix in enumerate(matrices):
                block = m % (D // size)
                inside = slice(block * size, (block + 1) * size)
                assert np.all(matrix[inside, inside] != 0)
                assert np.count_nonzero(matrix) == size**2
        case Commuting():
            np.testing.assert_allclose(across, across.swapaxes(0, 1), atol=1e-5)
            if not structure.scaling:
                np.testing.assert_array_equal(matrices, -matrices.swapaxes(1, 2))
        case LowRank(rank=rank):
            for matrix in matrices:
                singular = np.linalg.svd(matrix, compute_uv=False)
                assert np.all(singular[rank:] < 1e-5)
                assert singular[rank - 1] > 1e-3
        case Basis():
            flat = GENERATORS.reshape(5, -1).T
            rest = np.linalg.lstsq(flat, matrices.reshape(M, -1).T, rcond=None)[1]
            assert np.all(rest < 1e-8)


def test_skew_paths_keep_lengths_to_rounding_over_ten_thousand_steps(dtype):
    structure, parameters, c, z = drawn("skew", dtype)

    @jax.jit
    def walk(z):
        step = lambda z, _: (structure.transport(parameters, 0.37 * c, z), None)
        return jax.lax.scan(step, z, None, 10_000)[0]

    end = walk(z)
    drift = float(jnp.linalg.norm(end) / jnp.linalg.norm(z)) - 1.0
    assert abs(drift) < 300 * np.finfo(dtype).eps  # of 10,000 roundings
    times = jnp.linspace(0.0, 50.0, 10_000, dtype=dtype)
    path = jax.vmap(lambda t: structure.transport(parameters, t * c, z))(times)
    lengths = np.linalg.norm(path, axis=1) / np.linalg.norm(z)
    np.testing.assert_allclose(lengths, 1.0, rtol=8 * np.finfo(dtype).eps)
    assert np.linalg.norm(end - z) > 0.1
    zero = jnp.zeros(D, dtype)
    np.testing.assert_array_equal(structure.transport(parameters, c, zero), zero)
    slope = jax.jacobian(structure.transport, 2)(parameters, c, zero)
    assert np.all(np.isfinite(slope))


def test_commuting_paths_are_right_however_large_the_coefficients(dtype, x64):
    structure, parameters, c, z = drawn("rotations of planes", dtype)
    rates = np.asarray(parameters["rates"], float)[..., 0]
    large = np.asarray(1e5 * c, dtype)
    angle = np.asarray(large, float) @ rates
    turned = np.exp(1j * angle) * (np.asarray(z[::2], float) + 1j * np.asarray(z[1::2]))
    found = np.asarray(structure.transport(parameters, jnp.asarray(large), z), float)
    wanted = np.stack([turned.real, turned.imag], axis=1).ravel()
    # The angle, of 1e5 rad, is rounded.
    np.testing.assert_allclose(found, wanted, atol=1e-9 if x64 else 0.05)


def test_what_is_no_dictionary_is_refused(unchecked):
    key = jax.random.key(0)
    for structure, size, words in (
        (Commuting(), 3, "latent_size must be even"),
        (Commuting(separate=True), 6, "separate planes want d / 2 operators"),
        (Skew(), 1, "a line has no rotations"),
        (LowRank(4), 3, "rank = 4 is above d"),
        (Blocks(2, 6), 4, "latent_size must be 6"),
        (Basis(), 3, "latent_size must be the generators' 2"),
    ):
        with pytest.raises(ValueError, match=words):
            structure.init(key, 2, size, 0.1)
    with pytest.raises(ValueError, match="size must divide latent_size = 5; got 2"):
        Blocks(2, 5)
    for bad in ((), None, [[1.0]], [[[1.0, np.nan], [0.0, 1.0]]], [[[1, 2]]], "ab"):
        with pytest.raises(ValueError, match="generators must be finite numbers"):
            Basis(bad)
    for bad in (0, -1, 1.5, "2", True):
        with pytest.raises(ValueError, match="rank must be an integer"):
            LowRank(bad)
    with pytest.raises(ValueError, match="scaling"):
        Commuting(scaling="yes")
    assert hash(dataclasses.replace(Basis(), generators=GENERATORS)) == hash(
        Basis(GENERATORS.tolist())
    )
