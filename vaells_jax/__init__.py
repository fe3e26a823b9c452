"""Variational Autoencoder with Learned Latent Structure in functional JAX."""

import os
import pathlib
import sys

if pathlib.Path(sys.argv[0]).stem in ("-m", "vaells-jax"):
    # XLA logs an error for each program from its cache that was tuned for another
    # machine. It reads this variable when JAX is first imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from vaells_jax.data.arrays import from_arrays, spread_anchors
from vaells_jax.data.batches import batch_indices, draw_anchors
from vaells_jax.evaluation.algebra import describe_operators
from vaells_jax.evaluation.importance import (
    ImportanceOptions,
    log_marginal_likelihood,
)
from vaells_jax.evaluation.likelihood import log_likelihood
from vaells_jax.inference import (
    CoefficientFit,
    InferenceOptions,
    infer_coefficients,
)
from vaells_jax.model.integrals import log_posterior_integral
from vaells_jax.model.objective import LossTerms, loss
from vaells_jax.model.paths import Model, decode, encode
from vaells_jax.model.posterior import log_posterior, sample_posterior
from vaells_jax.model.prior import log_prior, log_prior_closest
from vaells_jax.model.published import load_published
from vaells_jax.model.types import Batch, LossWeights, Params
from vaells_jax.networks.adapters import from_equinox, from_nnx
from vaells_jax.networks.contract import Network, Networks
from vaells_jax.networks.stock import (
    convolutional_networks,
    dense_networks,
    make_networks,
    standardised,
)
from vaells_jax.operators.transport import generator, transport, transport_path
from vaells_jax.runs.load import load_run
from vaells_jax.runs.own import train
from vaells_jax.trained.augmentation import augment
from vaells_jax.trained.base import TrainedModel
from vaells_jax.trained.baseline import TrainedBaseline
from vaells_jax.trained.vaells import TrainedVaells
from vaells_jax.training.fit import fit
from vaells_jax.training.optimizers import OptimizerOptions
from vaells_jax.training.pairs import PairFit, PairOptions, fit_operators
from vaells_jax.training.scale import choose_scale
from vaells_jax.training.schedule import Schedule
from vaells_jax.training.step import TrainState, init_state, make_train_step
from vaells_jax.version import __version__ as __version__

__all__ = [
    "Batch",
    "CoefficientFit",
    "ImportanceOptions",
    "InferenceOptions",
    "LossTerms",
    "LossWeights",
    "Model",
    "Network",
    "Networks",
    "OptimizerOptions",
    "PairFit",
    "PairOptions",
    "Params",
    "Schedule",
    "TrainState",
    "TrainedBaseline",
    "TrainedModel",
    "TrainedVaells",
    "augment",
    "batch_indices",
    "choose_scale",
    "convolutional_networks",
    "decode",
    "dense_networks",
    "describe_operators",
    "draw_anchors",
    "encode",
    "fit",
    "fit_operators",
    "from_arrays",
    "from_equinox",
    "from_nnx",
    "generator",
    "infer_coefficients",
    "init_state",
    "load_published",
    "load_run",
    "log_likelihood",
    "log_marginal_likelihood",
    "log_posterior",
    "log_posterior_integral",
    "log_prior",
    "log_prior_closest",
    "loss",
    "make_networks",
    "make_train_step",
    "sample_posterior",
    "spread_anchors",
    "standardised",
    "train",
    "transport",
    "transport_path",
]
