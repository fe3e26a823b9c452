"""Variational Autoencoder with Learned Latent Structure in functional JAX."""

from vaells_jax.inference import (
    CoefficientFit,
    InferenceOptions,
    infer_coefficients,
)
from vaells_jax.model.networks import (
    Networks,
    convolutional_networks,
    dense_networks,
)
from vaells_jax.model.objective import LossTerms, loss
from vaells_jax.model.paths import Model, decode, encode
from vaells_jax.model.posterior import log_posterior, sample_posterior
from vaells_jax.model.prior import log_prior, log_prior_closest
from vaells_jax.model.published import load_published
from vaells_jax.model.types import Batch, LossWeights, Params
from vaells_jax.operators.transport import generator, transport, transport_path
from vaells_jax.training.step import TrainState, init_state, make_train_step

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "CoefficientFit",
    "InferenceOptions",
    "LossTerms",
    "LossWeights",
    "Model",
    "Networks",
    "Params",
    "TrainState",
    "convolutional_networks",
    "decode",
    "dense_networks",
    "encode",
    "generator",
    "infer_coefficients",
    "init_state",
    "load_published",
    "log_posterior",
    "log_prior",
    "log_prior_closest",
    "loss",
    "make_train_step",
    "sample_posterior",
    "transport",
    "transport_path",
]
