"""Settings of the baselines for the swiss roll and the concentric circles."""

import dataclasses

from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.baselines.training import BaselineOptions
from vaells_jax.data.synthetic import LIFTED_DIM
from vaells_jax.runs.config import (
    BaselineConfig,
    LikelihoodEvaluation,
    RunConfig,
    VaellsConfig,
    baseline_config,
)
from vaells_jax.runs.models import BASELINES
from vaells_jax.training.schedule import Schedule

STEPS = {"paper": 10_000, "tuned": 10_000, "quick": 4_000}

LIKELIHOOD_STD = 0.1
"""sigma of the baselines. VAELLS's zeta_1 = 0.01 means sigma = 10, at which a
plain VAE's posterior is its prior: the data would be worth less than 0.02 nats."""

LIKELIHOODS = LikelihoodEvaluation(points=200, samples=1_000)


def settings(model: str, preset: RunConfig) -> BaselineConfig:
    """Return a model's settings: the networks of Table 2, latents in the plane."""
    steps = STEPS.get(preset.preset, preset.schedule.steps)
    assert isinstance(preset, VaellsConfig)
    if model == "data_operators":
        steps = min(steps, 2_000)  # it has no networks to train
    first = BASELINES[model].networks_first
    config = baseline_config(
        model,
        preset,
        steps,
        schedule=Schedule(steps, first * (steps // 2), 0, 0),
        latent_size=2,
        likelihood=Likelihood("gaussian", LIKELIHOOD_STD),
        options={"num_components": 100} if model == "vampprior" else {},
        optimizer=BaselineOptions(
            rate=1e-3,
            warm_up_steps=steps // 5,
            decay_from=steps - steps // 3,
            decay_steps=steps // 3,
        ),
        evaluation=LIKELIHOODS,
    )
    if model == "r":
        # A geodesic for each importance sample: a quarter of the points.
        few = dataclasses.replace(LIKELIHOODS, points=LIKELIHOODS.points // 4)
        return dataclasses.replace(config, evaluation=few)
    if model not in ("manifold_autoencoder", "data_operators"):
        return config
    config = dataclasses.replace(
        config,
        options={"num_operators": preset.model.num_operators},
        # Of few examples even the nearest are far away.
        data=dataclasses.replace(preset.data, batch_size=200),
    )
    if model == "manifold_autoencoder":
        return config
    return dataclasses.replace(config, latent_size=LIFTED_DIM)
