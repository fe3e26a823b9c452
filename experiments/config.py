"""One record for all that decides an experiment's result, and changes to it by name."""

import dataclasses
import difflib
import json
import pathlib
from typing import Any, Literal, get_type_hints

import pydantic

from experiments.records import write_json
from vaells_jax.inference import InferenceOptions
from vaells_jax.model.types import LossWeights
from vaells_jax.training.optimizers import OptimizerOptions
from vaells_jax.training.schedule import Schedule


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


@dataclasses.dataclass(frozen=True)
class LogConfig:
    """How often a run is written down.

    Attributes:
        log_every: Steps between lines of `metrics.jsonl`.
        save_every: Steps between checkpoints.
    """

    log_every: int = 10
    save_every: int = 1000


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


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """A run, resolved: equal configurations give equal results."""

    experiment: str
    preset: str
    schedule: Schedule
    seed: int = 0
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    weights: LossWeights = LossWeights()
    optimizer: OptimizerOptions = OptimizerOptions()
    posterior_search: InferenceOptions = InferenceOptions(initial_range=(0.0, 1.0))
    prior_search: InferenceOptions = InferenceOptions()
    log: LogConfig = LogConfig()
    evaluation: EvaluationConfig = EvaluationConfig()


def override(config: ExperimentConfig, assignments: list[str]) -> ExperimentConfig:
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


def claim_workdir(workdir: pathlib.Path, config: ExperimentConfig) -> None:
    """Write `config.json` into a working folder, or check the one that is there.

    The evaluation's settings may differ, and are then written anew.

    Raises:
        ValueError: If the folder holds another configuration; names what differs.
    """
    path = workdir / "config.json"
    resolved = json.loads(_ADAPTER.dump_json(config))
    if path.exists():
        try:
            found = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is not JSON: {error}.") from error
        changes = list(_differences(found, resolved))
        own = [change for change in changes if not change.startswith("evaluation")]
        if own:
            raise ValueError(
                f"{workdir} holds a run of another configuration: "
                f"{'; '.join(own)}. Choose another --workdir, or remove this one."
            )
        if not changes:
            return
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(path, resolved)


def _differences(found, wanted, prefix=""):
    """Describe each field in which two JSON trees differ."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in {**wanted, **found}:
            yield from _differences(
                found.get(key), wanted.get(key), f"{prefix}.{key}" if prefix else key
            )
    elif found != wanted:
        yield f"{prefix} is {json.dumps(found)} there, {json.dumps(wanted)} here"


_ADAPTER = pydantic.TypeAdapter(ExperimentConfig)
