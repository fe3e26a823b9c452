"""The configuration of a run: one record for everything that decides its result."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import tyro

from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.baselines.training import BaselineOptions
from vaells_jax.checks import check_fields, check_kind
from vaells_jax.inference import InferenceOptions
from vaells_jax.model.types import Density, LossWeights
from vaells_jax.networks.stock import NetworkName
from vaells_jax.operators.structures import StructureName
from vaells_jax.training.optimizers import OptimizerOptions
from vaells_jax.training.schedule import Schedule


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The data of a run.

    Attributes:
        dataset: Name of the data set, or None for the experiment's own choice.
        anchors: "random" examples of each class, examples "spread" over each class, or
            "given" with the data.
        anchors_per_class: N_a.
        batch_size: Examples of a step.
    """

    dataset: str | None = None
    anchors: Literal["random", "spread", "given"] = "random"
    anchors_per_class: int = 8
    batch_size: int = 32

    def __post_init__(self) -> None:
        """Raise a ValueError for a number that is out of its range."""
        check_fields(self)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The parts of a VAELLS.

    Attributes:
        networks: "dense" is Table 2, "convolutional" Table 5, "own" networks that a
            program passes.
        latent_size: d.
        num_operators: M.
        latent_scale: s, or None to choose it when the warm-up ends.
        num_samples: Posterior samples of each example, N_s.
        noise_std: gamma_post.
        closest_anchor: Prior over the closest anchor (eq. 12) or all (eq. 7).
        operator_std: Deviation of the operators' first entries.
        linear_start: Root mean square of each latent coordinate where dense networks
            start as a linear map and its inverse, or None to start them as drawn.
        skew_start: Start dense operators antisymmetric: generators of rotations.
        structure: Structure of the operators, a name of
            `operators.structures.STRUCTURES`.
        structure_options: The structure's own fields.
        density: Latent densities are the largest term over coefficients ("max"), or
            the integral, for `commuting` operators of separate planes.
        point_spread: Learn how far each point may go along each operator: a factor on
            the scale of its coefficients in the posterior.
    """

    networks: NetworkName | Literal["own"] = "convolutional"
    latent_size: int = 6
    num_operators: int = 4
    latent_scale: float | None = None
    num_samples: int = 1
    noise_std: float = 1e-3
    closest_anchor: bool = True
    operator_std: float = 0.01
    linear_start: float | None = None
    skew_start: bool | None = None
    structure: StructureName = "dense"
    structure_options: dict[str, int | bool] = dataclasses.field(
        default_factory=dict, hash=False
    )
    density: Density = "max"
    point_spread: bool = False

    def __post_init__(self) -> None:
        """Raise a ValueError for a number that is out of its range."""
        check_fields(self, positive=("latent_scale", "linear_start"))
        if self.skew_start and self.structure != "dense":
            raise ValueError(
                "skew_start must be None or False where operators are not dense; got "
                f"structure {self.structure!r}."
            )


@dataclasses.dataclass(frozen=True)
class LogConfig:
    """How often a run is written down.

    Attributes:
        log_every: Steps between lines of `metrics.jsonl`.
        save_every: Steps between checkpoints.
    """

    log_every: int = 10
    save_every: int = 1000

    def __post_init__(self) -> None:
        """Raise a ValueError for a number that is out of its range."""
        check_fields(self)


@dataclasses.dataclass(frozen=True)
class LikelihoodEvaluation:
    """Estimates of log p(x); they may change between evaluations of one run.

    Attributes:
        points: Test points, the first ones; 0 for none.
        samples: Importance samples of each.
    """

    points: int = 500
    samples: int = 1_000

    def __post_init__(self) -> None:
        """Raise a ValueError for a number that is out of its range."""
        check_fields(self, zero=("points",))


@dataclasses.dataclass(frozen=True)
class EvaluationConfig(LikelihoodEvaluation):
    """Estimates of the likelihoods of test data under VAELLS.

    Attributes:
        label: "marginal" for log p(x), "given" for log p(x | label).
        noise_std: gamma of the prior in log p(x); None for the objective's.
        coefficient_rate: Rate of its coefficients; None for the objective's.
        surrogate_points: Test points of the paper's estimator, the first ones.
        surrogate_samples: Importance samples of each.
        surrogate_anchors: Its prior: mean over the anchors of the "class", over "all",
            or the "closest".
    """

    points: int = 200
    samples: int = 2_000
    label: Literal["marginal", "given"] = "marginal"
    noise_std: float | None = None
    coefficient_rate: float | None = None
    surrogate_points: int = 1_000
    surrogate_samples: int = 100
    surrogate_anchors: Literal["class", "all", "closest"] = "class"

    def __post_init__(self) -> None:
        """Raise a ValueError for a number that is out of its range."""
        check_fields(self, zero=("points",), positive=("noise_std", "coefficient_rate"))


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """The part that all models share.

    Attributes:
        experiment: Name of the experiment.
        preset: Name of its preset.
        schedule: Length and phases.
        seed: Random seed.
        data: The data.
        log: How often the run is written down.
        evaluation: Estimates of the likelihood.
    """

    __pydantic_config__ = {"extra": "forbid"}  # in records, of all its groups too

    experiment: tyro.conf.Suppress[str]
    preset: tyro.conf.Suppress[str]
    schedule: Schedule
    seed: int = 0
    data: DataConfig = DataConfig()
    log: LogConfig = LogConfig()
    evaluation: LikelihoodEvaluation = LikelihoodEvaluation()

    def __post_init__(self) -> None:
        """Raise a ValueError for a seed that JAX would not take."""
        check_fields(self, zero=("seed",))
        if self.seed >= 2**31:
            raise ValueError(f"seed must be below 2**31; got {self.seed}.")


@dataclasses.dataclass(frozen=True)
class VaellsConfig(RunConfig):
    """A run of VAELLS: equal configurations give equal results."""

    model: ModelConfig = ModelConfig()
    weights: LossWeights = LossWeights()
    optimizer: OptimizerOptions = OptimizerOptions()
    posterior_search: InferenceOptions = InferenceOptions(initial_range=(0.0, 1.0))
    prior_search: InferenceOptions = InferenceOptions()
    evaluation: EvaluationConfig = EvaluationConfig()


@dataclasses.dataclass(frozen=True)
class BaselineConfig(RunConfig):
    """A run of a baseline.

    Attributes:
        model: A name in `models.BASELINES`.
        latent_size: Entries of a latent; of a hypersphere's the ambient dimension.
        networks: "dense" is Table 2, "convolutional" Table 5, "logits" the same without
            its sigmoid, "logits_dense" with a dense layer last, "plain" and "gated" the
            hyperspherical VAE's and VampPrior's own.
        likelihood: The density that the decoder's outputs parametrise.
        binarise: Draw binary pixels anew in every step.
        options: Fields that this model alone has, by name.
        optimizer: Rates and the warm-up of the divergence.
    """

    model: str = "vae"
    latent_size: int = 2
    networks: NetworkName | Literal["own"] = "dense"
    likelihood: Likelihood = Likelihood()
    binarise: bool = False
    options: dict[str, int | float | str] = dataclasses.field(default_factory=dict)
    optimizer: BaselineOptions = BaselineOptions()


def baseline_config(
    model: str, preset: RunConfig, steps: int, **own: Any
) -> BaselineConfig:
    """Describe a baseline's run under a preset of VAELLS's, or of its own.

    Args:
        model: A name in `models.BASELINES`.
        preset: Where experiment, seed, data and logging come from.
        steps: Length of its training.
        **own: The other fields.
    """
    shared = {f.name: getattr(preset, f.name) for f in dataclasses.fields(RunConfig)}
    shared["evaluation"] = LikelihoodEvaluation()
    shared["schedule"] = Schedule(steps=steps, network_steps=0, operator_steps=0)
    return BaselineConfig(**shared | own, model=model)


def with_settings(config: Any, settings: Mapping[str, Any]) -> Any:
    """Change fields of a configuration.

    Args:
        config: The configuration, or one of its groups.
        settings: New values by name, `{"schedule.steps": 500}`.

    Raises:
        ValueError: If there is no such field, or a value is not valid for it.
    """
    check_kind(settings=(settings, Mapping))
    groups: dict[str, dict[str, Any]] = {}
    fields: dict[str, Any] = {}
    for name, value in settings.items():
        first, _, rest = name.partition(".")
        own = {f.name for f in dataclasses.fields(config)}
        inner = dataclasses.is_dataclass(getattr(config, first, None))
        if first not in own or (rest and not inner):
            known = ", ".join(f.name for f in dataclasses.fields(config))
            raise ValueError(f"settings: no field {name!r}; there are {known}.")
        if rest:
            groups.setdefault(first, {})[rest] = value
        else:
            fields[first] = value
    for name, changed in groups.items():
        fields[name] = with_settings(getattr(config, name), changed)
    return dataclasses.replace(config, **fields)


def model_name(config: RunConfig) -> str:
    """Name the model that a configuration is of."""
    return config.model if isinstance(config, BaselineConfig) else "vaells"
