import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx

from vaells_jax import Batch, LossWeights, Model, init_state, make_train_step
from vaells_jax.networks.adapters import from_equinox, from_nnx
from vaells_jax.networks.contract import (
    Networks,
    apply_decoder,
    apply_encoder,
    init_networks,
)
from vaells_jax.training.checkpoints import Checkpoints
from vaells_jax.training.optimizers import OptimizerOptions
from vaells_jax.training.schedule import Schedule


class NnxNetwork(nnx.Module):
    def __init__(self, sizes, rngs):
        pairs = zip(sizes[:-1], sizes[1:], strict=True)
        self.layers = nnx.List([nnx.Linear(*pair, rngs=rngs) for pair in pairs])
        self.halves = jnp.full((1, sizes[0]), 0.5)  # an array that is no parameter

    def __call__(self, x):
        first, last = self.layers
        return last(jnp.tanh(first(x + self.halves.astype(x.dtype))))


class EquinoxNetwork(eqx.Module):
    layers: list
    order: jax.Array

    def __init__(self, sizes, key):
        pairs = zip(sizes[:-1], sizes[1:], jax.random.split(key, 2), strict=True)
        self.layers = [eqx.nn.Linear(a, b, key=key) for a, b, key in pairs]
        self.order = jnp.arange(sizes[0])[::-1]

    def __call__(self, x):  # one example
        assert x.ndim == 1
        first, last = self.layers
        return last(jnp.tanh(first(x[self.order])))


ENCODER, DECODER = (5, 8, 2), (2, 8, 5)


def nnx_encoder(rngs):
    return NnxNetwork(ENCODER, rngs)


def equinox_encoder(key):
    return EquinoxNetwork(ENCODER, key)


PAIRS = {
    "nnx": Networks(
        from_nnx(nnx_encoder), from_nnx(lambda rngs: NnxNetwork(DECODER, rngs))
    ),
    "equinox": Networks(
        from_equinox(equinox_encoder),
        from_equinox(lambda key: EquinoxNetwork(DECODER, key)),
    ),
}


@pytest.fixture(scope="module")
def inputs(dtype):
    return jax.random.normal(jax.random.key(0), (6, 5), dtype)


@pytest.fixture(params=list(PAIRS))
def networks(request):
    return PAIRS[request.param]


def by_hand(parameters, x):
    """Compute the same map from the named arrays, in NumPy."""
    p = {name: np.asarray(array, float) for name, array in parameters.items()}
    x = np.asarray(x, float)
    if "layers.0.weight" in p:
        hidden = np.tanh(x[:, ::-1] @ p["layers.0.weight"].T + p["layers.0.bias"])
        return hidden @ p["layers.1.weight"].T + p["layers.1.bias"]
    hidden = np.tanh((x + 0.5) @ p["layers.0.kernel"] + p["layers.0.bias"])
    return hidden @ p["layers.1.kernel"] + p["layers.1.bias"]


def test_a_forward_pass_by_hand(networks, inputs):
    encoder, decoder = init_networks(jax.random.key(1), networks, inputs)
    assert len(encoder) == len(decoder) == 4  # two layers; no other array
    latents = apply_encoder(networks, encoder, inputs)
    np.testing.assert_allclose(latents, by_hand(encoder, inputs), atol=1e-5)
    outputs = apply_decoder(networks, decoder, latents)
    np.testing.assert_allclose(outputs, by_hand(decoder, latents), atol=1e-5)


def test_parameters_are_those_of_the_module_that_the_key_makes(inputs):
    found = PAIRS["equinox"].encoder.init(jax.random.key(1), inputs)
    module = equinox_encoder(jax.random.key(1))
    np.testing.assert_array_equal(found["layers.1.weight"], module.layers[1].weight)
    found = PAIRS["nnx"].encoder.init(jax.random.key(1), inputs)
    module = nnx_encoder(nnx.Rngs(jax.random.key(1)))
    np.testing.assert_array_equal(
        found["layers.1.kernel"], module.layers[1].kernel.get_value()
    )


def test_the_same_maker_is_the_same_network_and_compiles_once(inputs):
    for take, make in ((from_nnx, nnx_encoder), (from_equinox, equinox_encoder)):
        assert take(make) == take(make)
        assert hash(take(make)) == hash(take(make))
        traces = []

        def run(network, parameters, x, traces=traces):
            traces.append(network)
            return network.apply(parameters, x)

        run = jax.jit(run, static_argnums=0)
        parameters = take(make).init(jax.random.key(0), inputs)
        run(take(make), parameters, inputs)
        run(take(make), parameters, inputs)
        assert len(traces) == 1
    assert from_nnx(nnx_encoder) != from_equinox(nnx_encoder)


def test_vaells_trains_and_its_checkpoint_is_read_without_the_classes(
    networks, inputs, tmp_path
):
    model = Model(networks)
    optimizer = OptimizerOptions(network_rate=3e-2)
    state = init_state(
        jax.random.key(0), model=model, num_operators=2, inputs=inputs,
        anchors=inputs[None, :3], optimizer=optimizer,
    )  # fmt: skip
    first = jax.device_get(state.params)
    step = make_train_step(
        model=model, weights=LossWeights(), schedule=Schedule(40, 0),
        optimizer=optimizer, phase="network",
    )  # fmt: skip
    batch, losses = Batch(inputs, jnp.zeros(6, int)), []
    for _ in range(40):
        state, metrics = step(state, jax.random.key(2), batch)
        losses.append(float(metrics["reconstruction"]))
    assert losses[-1] < 0.5 * losses[0]
    for name in ("encoder", "decoder"):
        before, after = getattr(first, name), getattr(state.params, name)
        assert all(np.any(before[k] != np.asarray(after[k])) for k in before)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state)
    checkpoints.close()
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        read = reader.restore(tmp_path / "40")["params"]["encoder"]
    assert read.keys() == state.params.encoder.keys()
    for name, array in read.items():
        np.testing.assert_array_equal(array, state.params.encoder[name])


class NnxNorm(nnx.Module):
    def __init__(self, rngs):
        self.layer = nnx.Linear(5, 2, rngs=rngs)
        self.norm = nnx.BatchNorm(2, rngs=rngs)

    def __call__(self, x):
        return self.norm(self.layer(x))


class NnxDropout(nnx.Module):
    def __init__(self, rngs):
        self.layer = nnx.Linear(5, 2, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.drop(self.layer(x))


class EquinoxNorm(eqx.Module):
    norm: eqx.nn.BatchNorm

    def __init__(self, key):
        self.norm = eqx.nn.BatchNorm(5, "batch", mode="batch")


class EquinoxDropout(eqx.Module):
    layer: eqx.nn.Linear
    drop: eqx.nn.Dropout

    def __init__(self, key, inference=False):
        self.layer = eqx.nn.Linear(5, 2, key=key)
        self.drop = eqx.nn.Dropout(0.5, inference)

    def __call__(self, x):
        return self.drop(self.layer(x))


@pytest.mark.parametrize(
    ("encoder", "match"),
    [
        (from_nnx(NnxNorm), "NnxNorm has more.*BatchStat.*LayerNorm"),
        (from_nnx(NnxDropout), "NnxDropout has more.*RngKey.*Dropout"),
        (from_equinox(EquinoxNorm), "EquinoxNorm has more.*StateIndex.*LayerNorm"),
        (from_equinox(EquinoxDropout), r"EquinoxDropout has more.*\(Dropout\)"),
        (from_nnx(lambda rngs: 3), r"make\(rngs\) must be Module; got 3"),
        (
            from_equinox(lambda key: eqx.nn.make_with_state(EquinoxNorm)(key)),
            r"make\(key\) must be Module; got a tuple",
        ),
        (nnx_encoder(nnx.Rngs(0)), "encoder must be.*from_nnx.*got NnxNetwork"),
        (
            equinox_encoder(jax.random.key(0)),
            "encoder must be.*from_equinox.*got EquinoxNetwork",
        ),
        (NnxNorm, "encoder must be.*from_nnx.*got a class"),
    ],
)
def test_what_is_refused(encoder, match, inputs, unchecked):
    networks = Networks(encoder, PAIRS["nnx"].decoder)
    with pytest.raises(ValueError, match=match):
        init_networks(jax.random.key(0), networks, inputs)


def test_dropout_that_is_off_is_none(inputs):
    quiet = from_equinox(lambda key: EquinoxDropout(key, inference=True))
    networks = Networks(quiet, PAIRS["nnx"].decoder)
    encoder, _ = init_networks(jax.random.key(0), networks, inputs)
    assert set(encoder) == {"layer.weight", "layer.bias"}


@pytest.mark.parametrize("take", [from_nnx, from_equinox])
def test_makers_that_are_none(take, unchecked):
    made = nnx_encoder(nnx.Rngs(0)), equinox_encoder(jax.random.key(0))
    for wrong in (made[take is from_equinox], 3):
        with pytest.raises(ValueError, match="make must be a function.*got"):
            take(wrong)


def test_parameters_of_another_network(networks, inputs, unchecked):
    encoder, decoder = init_networks(jax.random.key(1), networks, inputs)
    for wrong in (decoder, {}, {"params": encoder}):
        with pytest.raises(ValueError, match="parameters must have the names"):
            apply_encoder(networks, wrong, inputs)


def test_equinox_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "equinox", None)
    with pytest.raises(ImportError, match="pip install equinox"):
        from_equinox(equinox_encoder)
