"""The compared models by name: a new one is a class in its own file and a line here."""

import dataclasses
from typing import Any

from experiments.config import RunConfig
from vaells_jax.baselines.base import Baseline
from vaells_jax.baselines.hyperspherical import Hyperspherical
from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.baselines.training import BaselineOptions
from vaells_jax.baselines.vae import Vae
from vaells_jax.baselines.vamp_prior import VampPrior
from vaells_jax.networks.stock import NetworkName, make_networks
from vaells_jax.training.schedule import Schedule

MODELS: dict[str, type[Baseline]] = {
    "vae": Vae,
    "hyperspherical": Hyperspherical,
    "vampprior": VampPrior,
}
"""Every model but VAELLS, in the figures' order."""

TITLES = {
    "vae": "VAE",
    "hyperspherical": "spherical VAE",
    "vampprior": "VampPrior",
    "vaells": "VAELLS",
}


@dataclasses.dataclass(frozen=True)
class LikelihoodEvaluation:
    """How log p(x) is estimated; it may change between evaluations of one run.

    Attributes:
        points: Test points, the first ones; 0 for none.
        samples: Importance samples of each.
    """

    points: int = 500
    samples: int = 1_000


@dataclasses.dataclass(frozen=True)
class ComparedConfig(RunConfig):
    """A run of a compared model, resolved.

    Attributes:
        model: A name in `MODELS`.
        latent_size: Entries of a latent; of a hypersphere's the ambient dimension.
        networks: A name in `vaells_jax.networks.stock`.
        likelihood: What the decoder's outputs mean.
        binarise: Draw binary pixels anew in every step.
        options: Fields that this model alone has, by name.
        optimizer: Rates and the warm-up of the divergence.
        evaluation: Of the likelihood.
    """

    model: str = "vae"
    latent_size: int = 2
    networks: NetworkName = "dense"
    likelihood: Likelihood = Likelihood()
    binarise: bool = False
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    optimizer: BaselineOptions = BaselineOptions()
    evaluation: LikelihoodEvaluation = LikelihoodEvaluation()


def configure(model: str, preset: RunConfig, steps: int, **own: Any) -> ComparedConfig:
    """Describe a compared model's run under a preset of VAELLS's, or of its own.

    Args:
        model: A name in `MODELS`.
        preset: Where experiment, seed, data and logging come from.
        steps: How long it trains.
        **own: The other fields.
    """
    return ComparedConfig(
        experiment=preset.experiment,
        preset=preset.preset,
        schedule=Schedule(steps=steps, network_steps=0, operator_steps=0),
        seed=preset.seed,
        data=preset.data,
        log=preset.log,
        model=model,
        **own,
    )


def build_model(config: ComparedConfig, shape: tuple[int, ...]) -> Baseline:
    """Make the model that a configuration describes.

    Args:
        config: The configuration.
        shape: Of one data point.

    Raises:
        ValueError: If the model is unknown or has other options.
    """
    if config.model not in MODELS:
        raise ValueError(
            f"model: got {config.model!r}, wanted one of {', '.join(MODELS)}."
        )
    kind = MODELS[config.model]
    features = kind.encoder_size(config.latent_size)
    networks = make_networks(config.networks, features, shape)
    try:
        return kind(networks, config.latent_size, config.likelihood, **config.options)
    except TypeError as error:
        raise ValueError(
            f"options: {config.options} do not fit {kind.__name__}: {error}."
        ) from error
