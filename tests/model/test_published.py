import jax.numpy as jnp
import numpy as np
import pytest

from tests.conftest import REFERENCE
from vaells_jax import Model, convolutional_networks, decode, dense_networks, encode
from vaells_jax.model.published import load_published

torch = pytest.importorskip("torch", reason="reads PyTorch files, an extra")


@pytest.fixture
def entries():
    """Return what a checkpoint of the natural-MNIST run holds, with random numbers."""
    rng = np.random.default_rng(0)
    tensor = lambda *shape: torch.tensor(rng.normal(size=shape), dtype=torch.float32)
    encoder, decoder = {}, {}
    for index, channels in ((0, 1), (2, 64), (5, 64)):
        encoder[f"model_enc.{index}.weight"] = tensor(64, channels, 4, 4)
        encoder[f"model_enc.{index}.bias"] = tensor(64)
    encoder |= {"fc_mean.weight": tensor(3, 3136), "fc_mean.bias": tensor(3)}
    decoder |= {"fc.0.weight": tensor(3136, 3), "fc.0.bias": tensor(3136)}
    for index, features in ((0, 64), (2, 64), (4, 1)):
        decoder[f"model.{index}.weight"] = tensor(64, features, 4, 4)
        decoder[f"model.{index}.bias"] = tensor(features)
    return {
        "model_state_dict_encoder": encoder,
        "model_state_dict_decoder": decoder,
        "Psi": tensor(9, 2).double(),
        "anchors": tensor(20, 1, 28, 28),
        "step": 34_000,
        "lr": np.float64(1e-4),  # as older files hold it
    }


@pytest.fixture
def saved(entries, tmp_path):
    path = tmp_path / "network.pt"
    torch.save(entries, path)
    return path


def test_published_weights_reproduce_their_recorded_outputs(natural_mnist_reference):
    recorded = natural_mnist_reference
    params = load_published(REFERENCE / "natural_mnist_published.pt")
    model = Model(convolutional_networks(6))
    assert float(params.latent_scale) == 10.0
    images, means = (
        jnp.array(recorded[f"network_{name}"], jnp.float32)
        for name in ("images", "latent_means")
    )
    np.testing.assert_allclose(
        encode(params, images, model=model), means / 10, atol=1e-6, rtol=1e-6
    )
    np.testing.assert_allclose(
        decode(params, means / 10, model=model),
        recorded["network_reconstructions"],
        atol=1e-5,
    )
    np.testing.assert_allclose(params.operators, recorded["operators"], atol=1e-8)
    anchors = encode(params, params.anchors.reshape(-1, 28, 28), model=model)
    np.testing.assert_allclose(anchors, recorded["batch_anchor_latents"], atol=2e-6)


def test_convolutions_agree_with_pytorch(entries, saved):
    params = load_published(saved)
    image = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    state = entries["model_state_dict_encoder"]
    x = image
    for index, stride in ((0, 2), (2, 2), (5, 1)):
        x = torch.nn.functional.pad(x, (1, 1, 1, 1) if stride == 2 else (1, 2, 1, 2))
        weight, bias = (state[f"model_enc.{index}.{k}"] for k in ("weight", "bias"))
        x = torch.nn.functional.conv2d(x, weight, bias, stride).relu()
    wanted = x.flatten(1) @ state["fc_mean.weight"].T + state["fc_mean.bias"]
    model = Model(convolutional_networks(3))
    found = 10 * encode(params, jnp.array(image[:, 0].numpy()), model=model)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-2)


def test_operators_are_read_column_by_column(entries, saved):
    wanted = entries["Psi"][:, 1].numpy().reshape(3, 3, order="F")
    np.testing.assert_allclose(load_published(saved).operators[1], wanted, rtol=1e-6)
    assert load_published(saved).anchors.shape == (10, 2, 28, 28)


@pytest.fixture
def dense_entries():
    """Return what a checkpoint of the swiss roll's run holds, smaller."""
    rng = np.random.default_rng(1)
    tensor = lambda *shape: torch.tensor(rng.normal(size=shape), dtype=torch.float32)
    encoder = {"model_enc.0.weight": tensor(7, 5), "model_enc.0.bias": tensor(7)}
    encoder |= {"fc_mean.weight": tensor(2, 7), "fc_mean.bias": tensor(2)}
    decoder = {"model.0.weight": tensor(7, 2), "model.0.bias": tensor(7)}
    decoder |= {"model.2.weight": tensor(5, 7), "model.2.bias": tensor(5)}
    return {
        "model_state_dict_encoder": encoder,
        "model_state_dict_decoder": decoder,
        "Psi": tensor(4, 1).double(),
        "anchors": tensor(4, 5),
        "optimizer": {"params": [PARAMETER]},
    }


PARAMETER = 140_660_966_870_944
"""A parameter's name in the optimiser's state of old files: its address."""


def test_dense_networks_agree_with_pytorch(dense_entries, tmp_path):
    torch.save(dense_entries, tmp_path / "network.pt")
    params = load_published(tmp_path / "network.pt")
    x = torch.rand(3, 5, generator=torch.Generator().manual_seed(0))
    linear = lambda x, state, name: torch.nn.functional.linear(
        x, state[f"{name}.weight"], state[f"{name}.bias"]
    )
    encoder, decoder = (
        dense_entries[f"model_state_dict_{name}"] for name in ("encoder", "decoder")
    )
    z = linear(linear(x, encoder, "model_enc.0").relu(), encoder, "fc_mean")
    y = linear(linear(z, decoder, "model.0").relu(), decoder, "model.2")
    model = Model(dense_networks(2, 5, hidden=7))
    assert float(params.latent_scale) == 1.0
    found = encode(params, jnp.array(x.numpy()), model=model)
    np.testing.assert_allclose(found, z, rtol=1e-4, atol=1e-5)
    found = decode(params, jnp.array(z.numpy()), model=model)
    np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-4)
    assert params.anchors.shape == (1, 4, 5)
    assert params.operators.shape == (1, 2, 2)


def test_circles_bring_no_anchors(dense_entries, tmp_path):
    del dense_entries["anchors"]
    torch.save(dense_entries, tmp_path / "network.pt")
    assert load_published(tmp_path / "network.pt").anchors is None


def test_files_of_python_2(dense_entries, tmp_path):
    path = tmp_path / "network.pt"
    torch.save(dense_entries, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    number = b"\x8a\x06" + PARAMETER.to_bytes(6, "little")
    assert data.count(number) == 1
    path.write_bytes(data.replace(number, b"I%d\n" % PARAMETER))
    with pytest.raises(Exception, match="operand 73"):
        torch.load(path, weights_only=True)
    found = load_published(path)
    wanted = dense_entries["model_state_dict_decoder"]["model.2.weight"].T
    np.testing.assert_array_equal(found.decoder["params"]["Dense_1"]["kernel"], wanted)


def change(entries, path, value):
    *groups, name = path.split("/")
    inside = entries
    for group in groups:
        inside = inside[group]
    if value is None:
        del inside[name]
    else:
        inside[name] = value


@pytest.mark.parametrize(
    ("path", "value", "match"),
    [
        ("Psi", None, "Psi.*nothing"),
        ("Psi", "words", "Psi.*str"),
        ("Psi", np.zeros((8, 2)), r"Psi.*\[9, 'any'\].*\[8, 2\]"),
        ("Psi", np.full((9, 2), np.nan), "Psi.*finite"),
        ("anchors", np.zeros((7, 1, 28, 28)), "anchors.*10 classes.*7"),
        ("model_state_dict_encoder", None, "model_state_dict_encoder"),
        ("model_state_dict_encoder/model_enc.2.bias", np.zeros(3), "model_enc.2.bias"),
        ("model_state_dict_decoder/model.4.weight", None, "model.4.weight"),
    ],
)
def test_unexpected_entries_are_named(path, value, match, entries, tmp_path):
    value = torch.tensor(value) if isinstance(value, np.ndarray) else value
    change(entries, path, value)
    torch.save(entries, tmp_path / "network.pt")
    with pytest.raises(ValueError, match=match):
        load_published(tmp_path / "network.pt")


class Evil:
    """Runs a function when it is unpickled."""

    def __reduce__(self):
        return (print, ("the file's code ran",))


def test_no_code_of_the_file_runs(entries, tmp_path, capsys):
    torch.save({**entries, "loss": Evil()}, tmp_path / "network.pt")
    with pytest.raises(ValueError, match="cannot be read safely|can be read safely"):
        load_published(tmp_path / "network.pt")
    assert "ran" not in capsys.readouterr().out


def test_files_that_are_no_checkpoints(tmp_path):
    with pytest.raises(ValueError, match="no checkpoint file"):
        load_published(tmp_path / "none.pt")
    (tmp_path / "broken.pt").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ValueError, match="broken.pt"):
        load_published(tmp_path / "broken.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="dictionary.*list"):
        load_published(tmp_path / "list.pt")
