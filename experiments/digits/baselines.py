"""Settings of the baselines for digits, natural and rotated."""

import dataclasses

from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.baselines.training import BaselineOptions
from vaells_jax.networks.stock import NetworkName
from vaells_jax.runs.config import (
    BaselineConfig,
    LikelihoodEvaluation,
    RunConfig,
    VaellsConfig,
    baseline_config,
)
from vaells_jax.runs.models import BASELINES
from vaells_jax.training.schedule import Schedule

STEPS = {"paper": 5_000, "tuned": 3_000, "quick": 1_500}

NETWORKS: dict[str, NetworkName] = {
    "hyperspherical": "plain",
    "delta": "plain",
    "vampprior": "logits_dense",
}
"""Of the models on binary pixels; the others have Table 5's, and grey values."""

OPTIONS: dict[str, dict[str, int | float | str]] = {
    "vampprior": {"num_components": 50, "pseudo_inputs": "images"}
}

WITHOUT = {
    "data_operators": "it is for vectors; operators on images are 784 x 784.",
    "r": "each step of each geodesic differentiates a decoder of images by a latent of "
    "ten numbers, seconds for a training step; it is for the 2-D sets.",
}


def settings(model: str, preset: RunConfig) -> BaselineConfig:
    """Return a model's settings for digits, latents as large as VAELLS's.

    As in the paper: the VAE has Table 5's networks and grey values, VampPrior the same
    with a dense layer before the sigmoid, the hyperspherical VAE its authors' networks,
    both on binary pixels drawn anew in every step; so has the Delta-VAE. VampPrior has
    50 pseudo-inputs, not 500: each is a pass through the convolutional encoder in every
    step.
    """
    assert isinstance(preset, VaellsConfig)
    steps = STEPS.get(preset.preset, preset.schedule.steps)
    binary = model in NETWORKS
    likelihood = Likelihood("gaussian", preset.weights.reconstruction**-0.5)
    config = baseline_config(
        model,
        preset,
        steps,
        schedule=Schedule(steps, BASELINES[model].networks_first * (steps // 2), 0, 0),
        latent_size=preset.model.latent_size + BASELINES[model].extra_entries,
        networks=NETWORKS.get(model, "convolutional"),
        likelihood=Likelihood("bernoulli") if binary else likelihood,
        binarise=binary,
        options=OPTIONS.get(model, {}),
        optimizer=BaselineOptions(
            rate=1e-3,
            # From the first step on this rate is the end of Table 5's sigmoid.
            ramp_steps=0 if binary else 100,
            warm_up_steps=steps // 5,
        ),
        evaluation=LikelihoodEvaluation(points=200, samples=500),
    )
    if model == "manifold_autoencoder":
        return dataclasses.replace(
            config,
            options={"num_operators": preset.model.num_operators, "neighbours": 2},
            # At 1e-3 its decoder is constant from the hundredth step on.
            optimizer=dataclasses.replace(config.optimizer, rate=3e-4),
        )
    return config
