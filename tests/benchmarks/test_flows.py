import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats

from benchmarks import flows
from vaells_jax.data.flows import FLOWS, Flow, FlowPairs

SPRING = Flow(
    "spring",
    kinetic=lambda p: jnp.sum(p**2) / 2,
    potential=lambda q: jnp.sum(q**2) / 2,
    starts=lambda key, count: jax.random.normal(key, (count, 2)),
)


def test_the_matrix_of_a_linear_flow_has_the_best_scores():
    held_out = flows.draw_held_out(jax.random.key(0), SPRING, (6, 5))
    truth = flows.Plain(-2.0 * jnp.asarray([[[0.0, 1.0], [-1.0, 0.0]]]))
    cell = flows.score(jax.random.key(1), held_out, truth)
    for column in ("pair_error", "far_error", "orbit_error", "wasserstein"):
        assert cell[column] < 3e-3
    assert cell["disagreement"] < 1e-4
    perfect = flows.best(held_out)
    assert perfect["far_error"] == 0.0
    assert perfect["wasserstein"] < 1e-5
    still = flows.score(jax.random.key(2), held_out, flows.Plain(0 * truth.operators))
    assert still["pair_error"] > 0.3
    assert still["orbit_error"] < 3e-3
    assert still["wasserstein"] == pytest.approx(np.mean(np.abs(held_out.pairs.times)))


def test_every_start_has_every_time():
    held_out = flows.draw_held_out(jax.random.key(3), FLOWS["two_bodies"], (3, 4))
    start, end, times = held_out.pairs
    np.testing.assert_array_equal(start, np.repeat(start[::4], 4, axis=0))
    np.testing.assert_array_equal(times, np.tile(times[:4], 3))
    np.testing.assert_allclose(
        held_out.far, FLOWS["two_bodies"].move(end, 2.0 * times), atol=1e-4
    )
    assert held_out.orbits.shape == (3, len(flows.ORBIT), 4)
    np.testing.assert_array_equal(held_out.orbits[:, 0], start[::4])


def test_distances_from_an_orbit_by_hand():
    corner = np.array([[[0.0, 0.0], [2.0, 0.0], [2.0, 1.0]]])
    pairs = FlowPairs(*[jnp.zeros((4, 2))] * 2, jnp.zeros(4))
    held_out = flows.HeldOut(pairs, pairs.end, corner)
    points = np.array([[1.0, 0.5], [-3.0, 4.0], [2.5, 0.5], [2.0, 1.0]])
    found = flows.orbit_distances(held_out, points)
    np.testing.assert_allclose(found, [0.5, 5.0, 0.5, 0.0])


def test_frequencies_are_those_of_closed_forms():
    k = np.array([0.1, 0.5, 0.9])
    start = np.stack([2.0 * np.arcsin(k), 0.0 * k], axis=1)
    fixed = FLOWS["pendulum"]._replace(starts=lambda *_: jnp.asarray(start))
    held_out = flows.draw_held_out(jax.random.key(4), fixed, (3, 2))
    wanted = np.pi / (2.0 * scipy.special.ellipk(k**2))
    np.testing.assert_allclose(flows.frequencies(held_out.orbits), wanted, rtol=1e-3)
    held_out = flows.draw_held_out(jax.random.key(5), FLOWS["two_bodies"], (9, 2))
    np.testing.assert_allclose(flows.frequencies(held_out.orbits), 1.0, rtol=1e-3)


def test_the_best_scale_is_that_of_a_search():
    random = np.random.default_rng(0)
    times = random.uniform(-1.0, 1.0, 50)
    found = -3.0 * times + random.normal(size=50) - 0.5
    distance = lambda s: scipy.stats.wasserstein_distance(s * found, times)
    searched = min(
        scipy.optimize.minimize_scalar(distance, bounds=b, method="bounded").fun
        for b in ((-2.0, 0.0), (0.0, 2.0))
    )
    assert flows.scaled_wasserstein(found, times) == pytest.approx(searched, abs=1e-5)
    assert flows.scaled_wasserstein(-7.0 * times, times) == pytest.approx(
        0.0, abs=1e-12
    )
    assert flows.scaled_wasserstein(0.0 * times, times) == pytest.approx(
        np.mean(np.abs(times))
    )


def test_a_run_writes_a_table_of_all_seeds_and_a_figure(tmp_path, capsys, monkeypatch):
    def measure(flow, seed):
        cell = dict.fromkeys(flows.COLUMNS, float(seed))
        turn = flows.Plain(jnp.asarray([[[0.0, 1.0], [-1.0, 0.0]]]))
        learned = {"on the data": turn, "with an autoencoder": turn}
        return {**dict.fromkeys(learned, cell), "best possible": {}}, learned

    monkeypatch.setattr(flows, "measure", measure)
    flows.main(tmp_path, seeds=3, sets=("pendulum", "lotka_volterra"), first_seed=5)
    text = (tmp_path / "flows.md").read_text()
    assert capsys.readouterr().out.strip().endswith(text.strip())
    columns = len(flows.COLUMNS)
    assert text.splitlines()[2:] == [
        f"| {name}: {row} |{cell * columns}"
        for name in ("pendulum", "Lotka-Volterra")
        for row, cell in (
            ("on the data", " 6 (5 to 7) |"), ("with an autoencoder", " 6 (5 to 7) |"),
            ("best possible", "  |"),
        )
    ]  # fmt: skip
    assert (tmp_path / "flows.png").stat().st_size > 10_000


@pytest.mark.slow
def test_a_pendulums_orbits_are_found():
    options = dataclasses.replace(flows.OPTIONS, steps=1500)
    cells, _ = flows.measure(FLOWS["pendulum"], 0, options)
    data, learned, random, perfect = cells.values()
    assert learned["orbit_error"] < data["orbit_error"] < random["orbit_error"]
    assert learned["far_error"] < 0.15 < random["far_error"]
    assert perfect["disagreement"] < learned["disagreement"] < 0.1
