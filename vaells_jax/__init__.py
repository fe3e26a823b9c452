"""Variational Autoencoder with Learned Latent Structure in functional JAX."""

from vaells_jax.inference import (
    CoefficientFit,
    InferenceOptions,
    infer_coefficients,
)
from vaells_jax.model.objective import LossTerms, loss
from vaells_jax.model.paths import Model
from vaells_jax.model.posterior import log_posterior, sample_posterior
from vaells_jax.model.prior import log_prior, log_prior_closest
from vaells_jax.model.published import load_published
from vaells_jax.model.types import Batch, LossWeights, Params
from vaells_jax.networks.adapters import from_equinox, from_nnx
from vaells_jax.networks.contract import Network, Networks
from vaells_jax.networks.contract import apply_decoder as decode
from vaells_jax.networks.contract import apply_encoder as encode
from vaells_jax.networks.stock import (
    convolutional_networks,
    dense_networks,
    make_networks,
    standardised,
)
from vaells_jax.operators.transport import generator, transport, transport_path
from vaells_jax.training.step import TrainState, init_state, make_train_step
from vaells_jax.version import __version__ as __version__

__all__ = [
    "Batch",
    "CoefficientFit",
    "InferenceOptions",
    "LossTerms",
    "LossWeights",
    "Model",
    "Network",
    "Networks",
    "Params",
    "TrainState",
    "convolutional_networks",
    "decode",
    "dense_networks",
    "encode",
    "from_equinox",
    "from_nnx",
    "generator",
    "infer_coefficients",
    "init_state",
    "load_published",
    "log_posterior",
    "log_prior",
    "log_prior_closest",
    "loss",
    "make_networks",
    "make_train_step",
    "sample_posterior",
    "standardised",
    "transport",
    "transport_path",
]
