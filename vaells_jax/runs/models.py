"""Every model by name, and how to train it.

A new baseline is a class in its own file and a line in `BASELINES`.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.sharding import Mesh
from jaxtyping import Array

from vaells_jax.baselines.base import Baseline
from vaells_jax.baselines.data_operators import DataOperators
from vaells_jax.baselines.delta_vae import DeltaVae
from vaells_jax.baselines.hyperspherical import Hyperspherical
from vaells_jax.baselines.lie_vae import LieVae
from vaells_jax.baselines.manifold_autoencoder import ManifoldAutoencoder
from vaells_jax.baselines.r_vae import RVae
from vaells_jax.baselines.training import init_state as init_baseline
from vaells_jax.baselines.training import make_step as make_baseline_step
from vaells_jax.baselines.training import objectives
from vaells_jax.baselines.vae import Vae
from vaells_jax.baselines.vamp_prior import VampPrior
from vaells_jax.baselines.vdae import Vdae
from vaells_jax.model.objective import loss
from vaells_jax.model.paths import Model
from vaells_jax.model.starts import linear_start, skew
from vaells_jax.model.types import Batch
from vaells_jax.networks.contract import Networks
from vaells_jax.networks.spread import SpreadNetwork
from vaells_jax.networks.stock import make_networks, standardised
from vaells_jax.operators.structures import STRUCTURES
from vaells_jax.runs.config import BaselineConfig, RunConfig, VaellsConfig
from vaells_jax.runs.run import RunData, run_keys
from vaells_jax.trained.base import TrainedModel
from vaells_jax.trained.baseline import TrainedBaseline
from vaells_jax.trained.vaells import TrainedVaells
from vaells_jax.training.fit import MakeStep
from vaells_jax.training.scale import choose_scale
from vaells_jax.training.schedule import Phase
from vaells_jax.training.step import (
    TrainState,
    hold_anchors,
    init_state,
    make_train_step,
)

BASELINES: dict[str, type[Baseline]] = {
    "vae": Vae,
    "hyperspherical": Hyperspherical,
    "delta": DeltaVae,
    "lie": LieVae,
    "vampprior": VampPrior,
    "vdae": Vdae,
    "r": RVae,
    "manifold_autoencoder": ManifoldAutoencoder,
    "data_operators": DataOperators,
}
"""Every model but VAELLS, in the figures' order."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The parts of a model that training needs.

    Attributes:
        model: The static part.
        start: Draws the state at step 0.
        make_step: The step of each phase.
        hold: What the steps of a phase share, or None.
        after_warm_up: Changes the state once the warm-up is over, or None.
        validation: The objective of examples that are not trained on.
        trained: Makes a model of trained functions from a state.
    """

    model: Any
    start: Callable[[Array], TrainState]
    make_step: MakeStep
    hold: Callable[[Phase, TrainState], Any] | None
    after_warm_up: Callable[[TrainState], TrainState] | None
    validation: Callable[[TrainState, Batch], Array]
    trained: Callable[[TrainState], TrainedModel]


def recipe(
    config: RunConfig,
    data: RunData,
    mesh: Mesh | None = None,
    networks: Networks | None = None,
) -> Recipe:
    """Return the recipe of the model that a configuration describes.

    Args:
        config: The configuration.
        data: The data.
        mesh: Devices that share each batch; None for one device.
        networks: The program's own, where the configuration says so.

    Raises:
        ValueError: If the configuration does not describe one.
    """
    if isinstance(config, BaselineConfig):
        return _baseline_recipe(config, data, networks)
    assert isinstance(config, VaellsConfig)
    model = vaells(config, data.facts, networks)
    scale = None
    if config.model.latent_scale is None:
        scale = choose_scale(data.next_batch, model=model)

    def start(key):
        state = init_state(
            key, model=model, num_operators=config.model.num_operators,
            inputs=data.inputs[:2], anchors=data.anchors, optimizer=config.optimizer,
            operator_std=config.model.operator_std,
            latent_scale=config.model.latent_scale or 1.0,
        )  # fmt: skip
        params = state.params
        if config.model.linear_start is not None:
            spread = config.model.linear_start
            linear = linear_start(model.dictionary(params), data.inputs, spread=spread)
            params = linear._replace(operators=params.operators)
        if config.model.skew_start:
            params = params._replace(operators=skew(params.operators))
        return state.replace(params=params)  # type: ignore[attr-defined]

    steps = functools.partial(make_train_step, 
        model=model, weights=config.weights, schedule=config.schedule,
        optimizer=config.optimizer, mesh=mesh,
    )  # fmt: skip
    trained = lambda state: TrainedVaells(
        model, model.dictionary(state.params), config.weights
    )
    hold = lambda phase, state: (
        hold_anchors(state, model=model) if phase == "operators" else None
    )
    return Recipe(
        model, start, steps, hold, scale,
        lambda state, batch: _vaells_loss(
            state.params, jax.random.key(0), batch, model=model,
            weights=config.weights,
        ),
        trained,
    )  # fmt: skip


def _baseline_recipe(config, data, networks):
    model = baseline(config, data.facts, networks)
    if model.networks_first and config.schedule.warm_up_steps == 0:
        raise ValueError(
            f"schedule.warm_up_steps must be at least 1 for {config.model!r}, whose "
            "networks are trained first; got 0."
        )
    return Recipe(
        model,
        lambda key: init_baseline(
            key, data.inputs, model=model, options=config.optimizer
        ),
        lambda phase: make_baseline_step(model, config.optimizer, phase),
        None,
        model.after_warm_up(run_keys(config.seed).pairs, data.next_batch),
        lambda state, batch: _baseline_loss(
            state.params, jax.random.key(0), batch, model=model
        ),
        lambda state: TrainedBaseline(model, state.params),
    )


@functools.partial(jax.jit, static_argnames=("model", "weights"))
def _vaells_loss(params, key, batch, *, model, weights):
    params = model.dictionary(params)
    return loss(params, key, batch, model=model, weights=weights)[0]


@functools.partial(jax.jit, static_argnames="model")
def _baseline_loss(params, key, batch, *, model):
    return objectives(params, key, batch, model=model)[0](params)[0]


def vaells(
    config: VaellsConfig, facts: Mapping[str, Any], own: Networks | None = None
) -> Model:
    """Make the static part of the VAELLS that a configuration describes.

    Args:
        config: The configuration.
        facts: `RunData.facts`.
        own: The program's own networks, where the configuration says so.
    """
    size = config.model.latent_size
    return Model(
        networks=_networks(config.model.networks, size, facts, own),
        num_samples=config.model.num_samples,
        noise_std=config.model.noise_std,
        closest_anchor=config.model.closest_anchor,
        posterior_search=config.posterior_search,
        prior_search=config.prior_search,
        structure=_structure(config.model),
        density=config.model.density,
        point_spread=(
            SpreadNetwork(config.model.num_operators)
            if config.model.point_spread
            else None
        ),
    )


def _structure(config):
    """Make the operators' structure that a configuration names."""
    kind, options = STRUCTURES[config.structure], dict(config.structure_options)
    if "latent_size" in {field.name for field in dataclasses.fields(kind)}:
        options["latent_size"] = config.latent_size
    try:
        return kind(**options)
    except TypeError as error:
        raise ValueError(
            f"structure_options: {options} do not fit {config.structure!r}: {error}."
        ) from error


def baseline(
    config: BaselineConfig, facts: Mapping[str, Any], own: Networks | None = None
) -> Baseline:
    """Make the baseline that a configuration describes; arguments as `vaells`.

    Raises:
        ValueError: If the model is unknown or has other options.
    """
    if config.model not in BASELINES:
        raise ValueError(
            f"model must be one of {', '.join(BASELINES)}; got {config.model!r}."
        )
    kind = BASELINES[config.model]
    size = kind.encoder_size(config.latent_size)
    networks = _networks(config.networks, size, facts, own)
    try:
        return kind(networks, config.latent_size, config.likelihood, **config.options)  # type: ignore[arg-type]
    except TypeError as error:
        raise ValueError(
            f"options: {config.options} do not fit {kind.__name__}: {error}."
        ) from error


def _networks(name, features, facts, own):
    """Make the networks that a configuration names, or take the program's own."""
    if (own is None) == (name == "own"):
        wanted = "the run's own networks" if own is None else "no networks"
        raise ValueError(
            f"networks: the configuration names {name!r}; pass {wanted} to the program."
        )
    if own is not None:
        return own
    networks = make_networks(name, features, tuple(facts["shape"]))
    if facts.get("mean") is None:
        return networks
    return standardised(networks, tuple(facts["mean"]), facts["scale"])
