"""A finished run is read back by its folder alone."""

import json
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import swiss_roll
from vaells_jax import dense_networks
from vaells_jax.operators.structures import STRUCTURES
from vaells_jax.runs.config import baseline_config, with_settings
from vaells_jax.runs.folder import BEST, CHECKPOINTS, claim, make_record
from vaells_jax.runs.load import load_run
from vaells_jax.runs.models import BASELINES, recipe
from vaells_jax.runs.run import RunData
from vaells_jax.trained.base import named_arrays
from vaells_jax.trained.vaells import TrainedVaells
from vaells_jax.training.checkpoints import Checkpoints
from vaells_jax.training.schedule import Schedule

SAMPLE = """
import sys
import jax, numpy as np
from vaells_jax.runs.load import load_run
for path in sys.argv[1:]:
    trained = load_run(path)
    samples = trained.decode(trained.sample_prior(jax.random.key(5), 7))
    print(np.asarray(samples).tobytes().hex())
assert "experiments" not in sys.modules
assert "vaells_jax.data.synthetic" not in sys.modules
"""


def samples(trained):
    points = trained.decode(trained.sample_prior(jax.random.key(5), 7))
    return np.asarray(points).tobytes().hex()


def same(one, other):
    found, wanted = named_arrays(one.params), named_arrays(other.params)
    assert found.keys() == wanted.keys()
    return all(found[name].tobytes() == wanted[name].tobytes() for name in wanted)


@pytest.fixture(scope="module")
def data():
    inputs = jax.random.normal(jax.random.key(0), (6, 5))
    anchors = inputs[:4].reshape(2, 2, 5)
    return RunData("made", inputs, anchors, lambda step: None, None)


def saved(folder, data, config, networks=None, seed=3, name=CHECKPOINTS):
    """Save a first state as a run's last; returns its trained model."""
    plan = recipe(config, data, networks=networks)
    state = plan.start(jax.random.key(seed))
    record = make_record(config, data)
    checkpoints = Checkpoints(folder / name, record=record)
    checkpoints.save(state)
    checkpoints.close()
    claim(folder, record)
    return plan.trained(state)


@pytest.fixture(scope="module")
def config():
    return with_settings(swiss_roll.TUNED, {"model.linear_start": None})


@pytest.fixture(scope="module")
def own(config):
    return with_settings(config, {"model.networks": "own"})


def test_another_process_draws_the_same_samples_from_folder_and_file(
    finished, tmp_path
):
    trained = load_run(finished)
    assert isinstance(trained, TrainedVaells)
    record = json.loads((finished / "config.json").read_text())
    assert trained.record == record
    trained.export(tmp_path / "model.npz")
    exported = load_run(str(tmp_path / "model"))
    assert exported.record == record
    assert same(exported, trained)
    wanted = samples(trained)
    assert samples(exported) == wanted
    lines = subprocess.run(
        [sys.executable, "-c", SAMPLE, str(finished), str(tmp_path / "model.npz")],
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    assert lines == [wanted, wanted]


def test_numpy_alone_encodes_with_an_exported_model(finished, tmp_path):
    trained = load_run(finished)
    trained.export(tmp_path / "model")
    record = json.loads((tmp_path / "model.json").read_text())
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        layer = lambda i, x: (
            x @ file[f"encoder/params/Dense_{i}/kernel"]
            + file[f"encoder/params/Dense_{i}/bias"]
        )
        inputs = np.random.default_rng(0).normal(size=(4, 20))
        inputs = inputs.astype(file["operators"].dtype)
        latents = layer(1, np.maximum(layer(0, inputs), 0.0))
    latents = latents / record["config"]["model"]["latent_scale"]
    np.testing.assert_allclose(trained.encode(inputs), latents, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", list(BASELINES))
def test_every_baseline_is_read(model, data, config, tmp_path):
    options = {"num_components": 3} if model == "vampprior" else {}
    size = 5 if model == "data_operators" else 2  # as data have
    schedule = Schedule(9, 4 * BASELINES[model].networks_first, 0, 0)
    wanted = saved(
        tmp_path, data,
        baseline_config(
            model, config, 9, options=options, latent_size=size, schedule=schedule
        ),
    )  # fmt: skip
    found = load_run(tmp_path)
    assert found.model == wanted.model
    assert same(found, wanted)
    assert samples(found) == samples(wanted)


def test_the_scale_that_a_run_has_chosen_comes_with_it(data, config, tmp_path):
    chosen = with_settings(config, {"model.latent_scale": None})
    plan = recipe(chosen, data)
    state = plan.start(jax.random.key(3))
    scaled = jnp.full_like(state.params.latent_scale, 2.5)
    state = state.replace(params=state.params._replace(latent_scale=scaled))
    record = make_record(chosen, data)
    checkpoints = Checkpoints(tmp_path / CHECKPOINTS, record=record)
    checkpoints.save(state)
    checkpoints.close()
    claim(tmp_path, record)
    found, wanted = load_run(tmp_path), plan.trained(state)
    assert float(found.params.latent_scale) == 2.5
    np.testing.assert_array_equal(found.encode(data.inputs), wanted.encode(data.inputs))
    found.export(tmp_path / "model")
    again = load_run(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.encode(data.inputs), wanted.encode(data.inputs))


@pytest.mark.parametrize("name", STRUCTURES)
def test_operators_of_every_structure_are_read_as_matrices(
    name, config, data, tmp_path
):
    settings = {"model.structure": name, "model.skew_start": None}
    if name == "blocks":
        settings |= {"model.structure_options": {"size": 1}, "model.num_operators": 2}
    wanted = saved(tmp_path, data, with_settings(config, settings))
    count = 2 if name == "blocks" else 1
    assert wanted.params.operators.shape == (count, 2, 2)
    found = load_run(tmp_path)
    assert same(found, wanted)
    found.export(tmp_path / "model")
    assert same(load_run(tmp_path / "model.npz"), wanted)


def test_a_structure_that_is_none_is_refused(config, data):
    bad = {"model.structure": "low_rank", "model.structure_options": {"size": 2}}
    bad |= {"model.skew_start": None}
    with pytest.raises(ValueError, match="structure_options: .* do not fit 'low_rank'"):
        recipe(with_settings(config, bad), data)
    with pytest.raises(ValueError, match="skew_start must be None or False"):
        with_settings(config, {"model.structure": "skew"})


def test_data_that_networks_standardise(config, tmp_path):
    inputs = 50.0 + 3.0 * jax.random.normal(jax.random.key(0), (6, 5))
    data = RunData(
        "made", inputs, inputs[:4].reshape(2, 2, 5), lambda step: None, None,
        mean=(50.0,) * 5, scale=3.0,
    )  # fmt: skip
    wanted = saved(tmp_path, data, config)
    found = load_run(tmp_path)
    np.testing.assert_array_equal(found.encode(inputs), wanted.encode(inputs))
    assert float(jnp.max(jnp.abs(found.encode(inputs)))) < 20


def test_networks_of_ones_own_are_passed_again(data, own, config, tmp_path):
    networks = dense_networks(2, 5, hidden=3)
    wanted = saved(tmp_path / "own", data, own, networks)
    assert same(load_run(tmp_path / "own", networks=networks), wanted)
    with pytest.raises(ValueError, match="names 'own'; pass the run's own networks"):
        load_run(tmp_path / "own")
    other = dense_networks(2, 5, hidden=4)
    with pytest.raises(ValueError, match=f"{tmp_path / 'own'} was trained with other"):
        load_run(tmp_path / "own", networks=other)
    saved(tmp_path / "stock", data, config)
    with pytest.raises(ValueError, match="names 'dense'; pass no networks"):
        load_run(tmp_path / "stock", networks=networks)


def test_a_decoder_of_other_networks_is_noticed_too(data, own, tmp_path):
    networks = dense_networks(2, 5, hidden=3)
    saved(tmp_path, data, own, networks)
    other = networks._replace(decoder=dense_networks(2, 5, hidden=4).decoder)
    with pytest.raises(ValueError, match="was trained with other networks"):
        load_run(tmp_path, networks=other)


def test_the_best_comes_before_the_newest(data, config, tmp_path):
    saved(tmp_path, data, config, seed=1)
    best = saved(tmp_path, data, config, seed=2, name=BEST)
    assert same(load_run(tmp_path), best)


def test_a_lost_config_is_read_from_the_checkpoint(copied, finished):
    (copied / "config.json").unlink()
    assert same(load_run(copied), load_run(finished))


def test_what_is_no_run_is_named(copied, tmp_path):
    for path in (tmp_path / "none", tmp_path / "none.npz"):
        with pytest.raises(ValueError, match=f"{path} is neither a run's folder nor"):
            load_run(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no trained run"):
        load_run(tmp_path / "empty")
    assert not any((tmp_path / "empty").iterdir())
    shutil.rmtree(copied / CHECKPOINTS)
    with pytest.raises(ValueError, match="holds no trained run"):
        load_run(copied)


def test_numbers_of_another_precision_are_refused(copied, x64):
    record = json.loads((copied / "config.json").read_text())
    other = "float32" if x64 else "float64"
    record["environment"]["precision"] = other
    (copied / "config.json").write_text(json.dumps(record))
    words = f"holds {other} numbers.*set jax_enable_x64 to {not x64}"
    with pytest.raises(ValueError, match=words):
        load_run(copied)


@pytest.mark.parametrize("text", ["{", '{"model": "vaells"}', "[]"])
def test_an_exported_record_that_is_damaged_is_named(text, finished, tmp_path):
    load_run(finished).export(tmp_path / "model")
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ValueError, match=r"model.json is not a run's record"):
        load_run(tmp_path / "model.npz")
    (tmp_path / "model.json").unlink()
    with pytest.raises(ValueError, match=r"model.json"):
        load_run(tmp_path / "model.npz")


@pytest.mark.parametrize("damage", [lambda b: b[:999], lambda b: b"", lambda b: b"no"])
def test_an_exported_file_that_is_damaged_is_named(damage, finished, tmp_path):
    load_run(finished).export(tmp_path / "model")
    path = tmp_path / "model.npz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=f"{path} cannot be read"):
        load_run(path)
