"""Settings of the baselines for digits, natural and rotated."""

import dataclasses

from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.baselines.training import BaselineOptions
from vaells_jax.runs.config import (
    BaselineConfig,
    LikelihoodEvaluation,
    RunConfig,
    VaellsConfig,
    baseline_config,
)
from vaells_jax.training.schedule import Schedule

STEPS = {"paper": 5_000, "tuned": 3_000, "quick": 1_500}

WITHOUT = {"data_operators": "it is for vectors; operators on images are 784 x 784."}


def settings(model: str, preset: RunConfig) -> BaselineConfig:
    """Return a model's settings for digits, latents as large as VAELLS's.

    As in the paper: the VAE has Table 5's networks and grey values, VampPrior the same
    with a dense layer before the sigmoid, the hyperspherical VAE its authors' networks,
    both on binary pixels drawn anew in every step. VampPrior has 50 pseudo-inputs, not
    500: each is a pass through the convolutional encoder in every step.
    """
    assert isinstance(preset, VaellsConfig)
    steps = STEPS.get(preset.preset, preset.schedule.steps)
    latent_size = preset.model.latent_size
    config = baseline_config(
        model,
        preset,
        steps,
        latent_size=latent_size,
        networks="convolutional",
        likelihood=Likelihood("gaussian", preset.weights.reconstruction**-0.5),
        optimizer=BaselineOptions(
            rate=1e-3,
            # From the first step on this rate is the end of Table 5's sigmoid.
            ramp_steps=100 if model == "vae" else 0,
            warm_up_steps=steps // 5,
        ),
        evaluation=LikelihoodEvaluation(points=200, samples=500),
    )
    if model == "manifold_autoencoder":
        return dataclasses.replace(
            config,
            schedule=Schedule(steps, steps // 2, 0, 0),
            options={"num_operators": preset.model.num_operators, "neighbours": 2},
        )
    binary = dataclasses.replace(
        config, likelihood=Likelihood("bernoulli"), binarise=True
    )
    if model == "hyperspherical":
        return dataclasses.replace(
            binary, networks="plain", latent_size=latent_size + 1
        )
    if model == "vampprior":
        options: dict[str, int | float | str] = {
            "num_components": 50,
            "pseudo_inputs": "images",
        }
        return dataclasses.replace(binary, networks="logits_dense", options=options)
    return config
