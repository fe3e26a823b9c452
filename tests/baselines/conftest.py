import jax.numpy as jnp
import numpy as np
import pytest

from vaells_jax.baselines.delta_vae import DeltaVae
from vaells_jax.baselines.hyperspherical import Hyperspherical
from vaells_jax.baselines.lie_vae import LieVae
from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.baselines.vae import Vae
from vaells_jax.baselines.vamp_prior import VampPrior
from vaells_jax.networks.stock import dense_networks

KINDS = {
    "vae": (Vae, {}),
    "hyperspherical": (Hyperspherical, {}),
    "delta": (DeltaVae, {}),
    "lie": (LieVae, {}),
    "vampprior": (VampPrior, {"num_components": 3}),
}


def tiny_baseline(name, latent_size=2, **changes):
    """Make a model of 5-D data, small enough to be checked by hand."""
    kind, options = KINDS[name]
    networks = dense_networks(kind.encoder_size(latent_size), 5, hidden=4)
    return kind(
        networks, latent_size, Likelihood("gaussian", 0.5), **options, **changes
    )


@pytest.fixture(params=list(KINDS))
def baseline(request):
    return tiny_baseline(request.param)


@pytest.fixture(scope="session")
def points(dtype):
    return jnp.asarray(np.random.default_rng(0).normal(size=(6, 5)), dtype)
