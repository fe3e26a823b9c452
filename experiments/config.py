"""One record for all that decides an experiment's result, and changes to it by name."""

import dataclasses
import difflib
import json
from typing import Any, Literal, TypeVar, get_type_hints

import pydantic

from vaells_jax.checks import check_count, check_number
from vaells_jax.inference import InferenceOptions
from vaells_jax.model.types import LossWeights
from vaells_jax.training.optimizers import OptimizerOptions
from vaells_jax.training.schedule import Schedule


def _check_counts(config, *names):
    """Raise a ValueError unless the fields are positive integers."""
    for name in names:
        check_count(name, getattr(config, name))


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What is trained on.

    Attributes:
        dataset: Name of the data set, or None for the experiment's own choice.
        anchors_per_class: N_a.
        batch_size: Examples of a step.
    """

    dataset: str | None = None
    anchors_per_class: int = 8
    batch_size: int = 32

    def __post_init__(self) -> None:
        """Raise a ValueError for a number that is out of its range."""
        _check_counts(self, "anchors_per_class", "batch_size")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """What the model is made of.

    Attributes:
        latent_size: d.
        num_operators: M.
        latent_scale: s, or None to choose it when the warm-up ends.
        num_samples: Posterior samples of each example, N_s.
        noise_std: gamma_post.
        closest_anchor: Prior over the closest anchor (eq. 12) or all (eq. 7).
        operator_std: Deviation of the operators' first entries.
        linear_start: Root mean square of each latent coordinate where dense networks
            start as a linear map and its inverse, or None to start them as drawn.
        skew_start: Start the operators antisymmetric: generators of rotations.
    """

    latent_size: int = 6
    num_operators: int = 4
    latent_scale: float | None = None
    num_samples: int = 1
    noise_std: float = 1e-3
    closest_anchor: bool = True
    operator_std: float = 0.01
    linear_start: float | None = None
    skew_start: bool | None = None

    def __post_init__(self) -> None:
        """Raise a ValueError for a number that is out of its range."""
        _check_counts(self, "latent_size", "num_operators", "num_samples")
        for name in ("latent_scale", "linear_start"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), strict=True)
        for name in ("noise_std", "operator_std"):
            check_number(name, getattr(self, name))


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
        _check_counts(self, "log_every", "save_every")


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """How the likelihoods of test digits are estimated.

    It may change between evaluations of one run; results record it beside each number.

    Attributes:
        digits: Test digits of the paper's estimator, the first ones.
        samples: Importance samples of each.
        anchors: Its prior: mean over the "class"'s anchors, over "all", or "closest".
        consistent_digits: Test digits of the estimator that integrates c; 0 for none.
        consistent_samples: Importance samples of each.
        consistent_label: "marginal" for log p(x), "given" for log p(x | label).
        consistent_noise_std: gamma of the prior; None for the objective's.
        consistent_rate: Rate of the prior's coefficients; None for the objective's.
    """

    digits: int = 1_000
    samples: int = 100
    anchors: Literal["class", "all", "closest"] = "class"
    consistent_digits: int = 200
    consistent_samples: int = 2_000
    consistent_label: Literal["marginal", "given"] = "marginal"
    consistent_noise_std: float | None = None
    consistent_rate: float | None = None

    def __post_init__(self) -> None:
        """Raise a ValueError for a number that is out of its range."""
        _check_counts(self, "digits", "samples", "consistent_samples")
        check_count("consistent_digits", self.consistent_digits, 0)
        for name in ("consistent_noise_std", "consistent_rate"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), strict=True)


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What every model's run is decided by.

    Attributes:
        experiment: Name of the experiment.
        preset: Name of its preset.
        schedule: Length and phases.
        seed: Random seed.
        data: What is trained on.
        log: How often the run is written down.
    """

    experiment: str
    preset: str
    schedule: Schedule
    seed: int = 0
    data: DataConfig = DataConfig()
    log: LogConfig = LogConfig()

    def __post_init__(self) -> None:
        """Raise a ValueError for a seed that JAX would not take."""
        check_count("seed", self.seed, 0)
        if self.seed >= 2**31:
            raise ValueError(f"seed must be below 2**31; got {self.seed}.")


@dataclasses.dataclass(frozen=True)
class ExperimentConfig(RunConfig):
    """A run of VAELLS, resolved: equal configurations give equal results."""

    model: ModelConfig = ModelConfig()
    weights: LossWeights = LossWeights()
    optimizer: OptimizerOptions = OptimizerOptions()
    posterior_search: InferenceOptions = InferenceOptions(initial_range=(0.0, 1.0))
    prior_search: InferenceOptions = InferenceOptions()
    evaluation: EvaluationConfig = EvaluationConfig()


Config = TypeVar("Config", bound=RunConfig)


def override(config: Config, assignments: list[str]) -> Config:
    """Change fields by name, all together: `group.field=value`.

    Args:
        config: The configuration.
        assignments: Dotted names and values, these in JSON or as a bare word.

    Returns:
        A changed copy.

    Raises:
        ValueError: If the form is wrong, a field unknown (near names are listed) or
            a value does not fit its field.
    """
    known = list(_field_names(config))
    changes = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        name = name.strip()
        if not separator:
            raise ValueError(f"--set wants group.field=value; got {assignment!r}.")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
            near = [field for field in known if field.startswith(f"{name}.")] or near
            hint = f" Near names: {', '.join(near)}." if near else ""
            raise ValueError(f"--set: no field {name!r}.{hint}")
        try:
            changes[name] = json.loads(text)
        except json.JSONDecodeError:
            changes[name] = None if text.lower() == "none" else text
    return _replace(config, changes)


def _replace(config, changes, prefix=""):
    """Rebuild a configuration with changed fields, from the leaves up."""
    kinds = get_type_hints(type(config))
    fields = {}
    for field in dataclasses.fields(config):
        name = prefix + field.name
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            fields[field.name] = _replace(value, changes, f"{name}.")
        elif name in changes:
            fields[field.name] = _fit(name, changes[name], kinds[field.name])
    return dataclasses.replace(config, **fields)


def _fit(name, value, kind) -> Any:
    """Convert a value to its field's type."""
    try:
        return pydantic.TypeAdapter(kind).validate_python(value)
    except pydantic.ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise ValueError(f"--set {name}: got {value!r}; {reason}.") from error


def _field_names(config, prefix=""):
    """List the dotted names of all fields below a configuration."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from _field_names(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name
