"""Rotated MNIST digits (Section 4, Appendix E, Tables 5 and 6; Figs. 5 and 10).

python -m experiments.rotated_mnist
"""

import dataclasses

from experiments.digits import baselines, data, figures, rotation
from vaells_jax.inference import InferenceOptions
from vaells_jax.model.types import LossWeights
from vaells_jax.runs.config import (
    DataConfig,
    LogConfig,
    ModelConfig,
    VaellsConfig,
)
from vaells_jax.runs.experiment import Experiment
from vaells_jax.runs.main import main
from vaells_jax.training.optimizers import OptimizerOptions
from vaells_jax.training.schedule import Schedule

PAPER = VaellsConfig(
    experiment="rotated_mnist",
    preset="paper",
    schedule=Schedule(
        steps=35_000,
        warm_up_steps=30_000,
        network_steps=20,
        operator_steps=60,
        network_prior_factor=1e-4,
        operator_reconstruction_factor=1e-4,
    ),
    data=DataConfig(anchors="given", anchors_per_class=10, batch_size=32),
    model=ModelConfig(latent_size=10, num_operators=1, latent_scale=10.0),
    weights=LossWeights(
        reconstruction=1.0,
        posterior_residual=1.0,
        posterior_l1=1.0,
        prior_residual=1.0,
        prior_l1=0.01,
        operator_norm=0.01,
    ),
    optimizer=OptimizerOptions(
        network_rate=1e-4, operator_rate=1e-5, max_operator_rate=0.008
    ),
    posterior_search=InferenceOptions(l1_weight=1e-6, initial_range=(0.0, 1.0)),
    prior_search=InferenceOptions(l1_weight=1e-6, initial_range=(-2.5, 0.0)),
)

# Why the paper's values are not enough; docs/rotated_mnist.md has the figures.
# - With lr_net = 1e-4 and ten latent dimensions a fifth of the digits are lost after
#   reconstruction alone: paths cannot keep what the decoder has lost.
# - Network steps that hardly see the prior (1e-4) keep the orbits of the warm-up.
# - The operator's rate takes 500 steps to grow large enough to change anything.
TUNED = dataclasses.replace(
    PAPER,
    preset="tuned",
    schedule=dataclasses.replace(
        PAPER.schedule,
        steps=6_500,
        warm_up_steps=5_000,
        operator_steps=40,
        network_prior_factor=1.0,
    ),
    model=dataclasses.replace(PAPER.model, latent_size=16, latent_scale=None),
    optimizer=dataclasses.replace(
        PAPER.optimizer, network_rate=1e-3, ramp_steps=100, operator_rate=4e-3
    ),
)

# A first picture in minutes.
QUICK = dataclasses.replace(
    TUNED,
    preset="quick",
    schedule=dataclasses.replace(TUNED.schedule, steps=2_000, warm_up_steps=1_500),
    log=LogConfig(log_every=5, save_every=500),
)


EXPERIMENT = Experiment(
    name="rotated_mnist",
    summary="Train VAELLS on rotated digits, measure it and draw the paper's figures.",
    presets={"paper": PAPER, "tuned": TUNED, "quick": QUICK},
    prepare=data.rotated,
    measure=rotation.measure,
    draw=figures.draw_rotated,
    baselines=baselines.settings,
    without=baselines.WITHOUT,
    compare=figures.compare_rotated,
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
