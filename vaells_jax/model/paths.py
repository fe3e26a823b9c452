"""From a batch to its posterior samples and the paths inferred to them (eqs. 5-12).

Batching happens here and in `objective.py`: images go through the networks as a batch,
everything between treats one example and is mapped over samples and examples, and all
coefficient searches of a batch go to `infer_coefficients` together.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from vaells_jax.checks import (
    check_fields,
    check_key,
    check_kind,
    check_number,
    check_numbers,
)
from vaells_jax.inference import InferenceOptions, infer_coefficients
from vaells_jax.model.arguments import check_arguments
from vaells_jax.model.posterior import sample_posterior
from vaells_jax.model.prior import closest_anchor
from vaells_jax.model.types import Batch, Density, LossWeights, Params
from vaells_jax.networks.contract import (
    Network,
    Networks,
    apply_decoder,
    apply_encoder,
    apply_network,
    check_shape,
)
from vaells_jax.operators.structures import Commuting, Dense, Structure


@dataclasses.dataclass(frozen=True)
class Model:
    """The static part of a model, which training does not change.

    Attributes:
        networks: Encoder and decoder.
        num_samples: Posterior samples of each example, N_s.
        noise_std: Deviation gamma of the posterior's noise; that of its density is
            `LossWeights.posterior_residual`'s.
        closest_anchor: Prior over the closest anchor (eq. 12) or over all (eq. 7).
        posterior_search: How paths from `f(x)` are searched; its L1 weight is zeta_q.
        prior_search: How paths from anchors are searched; its L1 weight is zeta_p.
        structure: The structure of the operators.
        density: Whether latent densities are maxima or integrals over coefficients;
            integrals are for the structure `Commuting` of separate planes, whose
            operators either turn or scale.
        point_spread: Maps latents `[B, d]` to the logarithm of each operator's spread
            there, `[B, M]`: a factor on the scale of the posterior's coefficients at
            that point. None for the same scale everywhere, as in the paper. The prior's
            density stays that of eq. 7: had its anchors such factors too, those of
            posterior and prior would cancel, and none would keep paths from shrinking.
    """

    networks: Networks
    num_samples: int = 1
    noise_std: float = 1e-3
    closest_anchor: bool = True
    posterior_search: InferenceOptions = InferenceOptions(initial_range=(0.0, 1.0))
    prior_search: InferenceOptions = InferenceOptions()
    structure: Structure = Dense()
    density: Density = "max"
    point_spread: Network | None = None

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: If a number is out of its range, or a field not of its kind.
        """
        check_fields(self)
        if self.density == "integral" and not _has_integrals(self.structure):
            raise ValueError(
                "density 'integral' needs the structure Commuting(separate=True) "
                f"without learned_basis; got {self.structure}."
            )

    def dictionary(self, params: Params) -> Params:
        """Return a state's parameters with its operators as matrices."""
        return params._replace(operators=self.structure.matrices(params.operators))


class Paths(NamedTuple):
    """Samples of a batch and the paths inferred to them; B examples, S samples.

    The prior consists of the N paths from the anchors that count: those of
    the example's class (eq. 7), or the closest of them alone (eq. 12), N = 1.

    Attributes:
        latent_means: `f(x)`.
        latents: Posterior samples.
        posterior_coefficients: c* from the example's own mean to each sample.
        anchor_means: `f(a_i)` of the anchors that count for each sample.
        prior_coefficients: c* from these anchors to each sample.
        anchor_index: Which anchor is the closest to each sample, or None if all count.
        converged: Share of the searches, those from all anchors, that met their
            tolerance.
        point_spread: Factors on the scales of the posterior's coefficients, or None.
    """

    latent_means: Float[Array, "B d"]
    latents: Float[Array, "B S d"]
    posterior_coefficients: Float[Array, "B S M"]
    anchor_means: Float[Array, "B S N d"]
    prior_coefficients: Float[Array, "B S N M"]
    anchor_index: Int[Array, "B S"] | None
    converged: Float[Array, ""]
    point_spread: Float[Array, "B M"] | None = None


def encode(
    params: Params, inputs: Float[Array | np.ndarray, "B ..."], *, model: Model
) -> Float[Array, "B d"]:
    """Return the latent means of data points, `f(x) = f_phi(x) / s`.

    Args:
        params: The encoder's parameters and the latent scale.
        inputs: Data points.
        model: The static part of the model.

    Returns:
        Latents in the space of operators, searches, samples and densities.

    Raises:
        ValueError: If the inputs do not fit the encoder, its latents not the operators,
            or the scale is not a positive number.
    """
    check_kind(params=(params, Params), model=(model, Model))
    check_number("latent_scale", params.latent_scale, strict=True)
    check_numbers(inputs=inputs)
    latents = apply_encoder(model.networks, params.encoder, jnp.asarray(inputs))
    size = params.operators.shape[-1]
    if latents.shape[-1] != size:
        raise ValueError(
            f"operators act on latents of size {size}, but the encoder gives size "
            f"{latents.shape[-1]}."
        )
    return latents / jnp.asarray(params.latent_scale, latents.dtype)


def decode(
    params: Params, latents: Float[Array | np.ndarray, "*n d"], *, model: Model
) -> Float[Array, "..."]:
    """Return the data points of latents, `g(z) = g_theta(s z)`.

    Args:
        params: The decoder's parameters and the latent scale.
        latents: Points of the space that `encode` maps to, with any leading axes.
        model: The static part of the model.

    Returns:
        Data points with the same leading axes.

    Raises:
        ValueError: If the latents do not fit the operators and the decoder, or the
            scale is not a positive number.
    """
    check_kind(params=(params, Params), model=(model, Model))
    check_number("latent_scale", params.latent_scale, strict=True)
    check_numbers(latents=latents)
    size = params.operators.shape[-1]
    if latents.shape[-1:] != (size,):
        raise ValueError(
            f"latents must have shape [..., {size}], the size that the operators act "
            f"on; got {list(latents.shape)}."
        )
    scale = jnp.asarray(params.latent_scale, latents.dtype)
    flat = jnp.asarray(latents).reshape(-1, size) * scale
    outputs = apply_decoder(model.networks, params.decoder, flat)
    return outputs.reshape(latents.shape[:-1] + outputs.shape[1:])


def point_spread(
    params: Params, latents: Float[Array, "*n d"], *, model: Model
) -> Float[Array, "*n M"] | None:
    """Return the factor on each coefficient's scale in the posterior around a latent.

    Args:
        params: The parameters of `Model.point_spread`, if there is one.
        latents: Where paths start, with any leading axes.
        model: The static part of the model.

    Returns:
        A positive factor for each operator; None for a model without such a network.

    Raises:
        ValueError: If the network does not give a number for each operator.
    """
    if model.point_spread is None:
        return None
    flat = latents.reshape(-1, latents.shape[-1])
    logs = apply_network(
        "point_spread", model.point_spread, params.point_spread, "latents", flat
    )
    check_shape("the outputs of point_spread", logs, params.operators.shape[:1])
    return jnp.exp(logs).reshape(*latents.shape[:-1], -1)


def sample_latents(
    key: PRNGKeyArray,
    operators: Float[Array, "M d d"],
    latent_means: Float[Array, "B d"],
    point_spread: Float[Array, "B M"] | None = None,
    *,
    num_samples: int,
    coefficient_rate: float,
    noise_std: float,
) -> Float[Array, "B S d"]:
    """Draw posterior samples around each mean, eq. 5; see `sample_posterior`.

    `point_spread` are factors on the coefficients' scales at each mean.
    """
    keys = jax.random.split(key, (latent_means.shape[0], num_samples))

    def draw(key, mean, spread):
        rate = coefficient_rate if spread is None else coefficient_rate / spread
        return sample_posterior(
            key, operators, mean, coefficient_rate=rate, noise_std=noise_std
        )[0]

    per_sample = jax.vmap(jax.vmap(draw, (0, None, None)))
    return per_sample(keys, latent_means, point_spread)


def infer_paths(
    params: Params,
    key: PRNGKeyArray,
    batch: Batch,
    *,
    model: Model,
    weights: LossWeights,
    anchor_latents: Float[Array, "G N d"] | None = None,
) -> Paths:
    """Sample the posterior and infer all paths to the samples, eqs. 5, 11 and 12.

    Args:
        params: Networks, operators and anchors.
        key: Random key of the samples and of the searches' starts.
        batch: Examples with their labels (and their own anchors, if they have any).
        model: The static part of the model.
        weights: The terms' weights.
        anchor_latents: What `encode_anchors` returns, where it is known: constants to
            differentiation. None encodes the anchors here.

    Raises:
        ValueError: If the batch, the anchors and the operators do not fit together.
    """
    check_key("key", key)
    check_kind(model=(model, Model), weights=(weights, LossWeights))
    check_arguments(params, batch)
    _check_density(model, params.operators)
    sample_key, posterior_key, prior_key = jax.random.split(key, 3)
    means = encode(params, batch.inputs, model=model)
    spread = point_spread(params, means, model=model)
    latents = sample_latents(
        sample_key,
        params.operators,
        means,
        spread,
        num_samples=model.num_samples,
        coefficient_rate=weights.posterior_l1,
        noise_std=model.noise_std,
    )
    own = infer_coefficients(
        posterior_key,
        params.operators,
        means[:, None, :],
        latents,
        options=model.posterior_search,
    )
    if anchor_latents is None:
        anchors = anchor_means(params, batch, model=model)
    else:
        anchors = _rows(anchor_latents, _anchors(params, batch)[1])
    prior = infer_coefficients(
        prior_key,
        params.operators,
        anchors[:, None, :, :],
        latents[:, :, None, :],
        options=model.prior_search,
    )
    searches = jnp.concatenate([own.converged.ravel(), prior.converged.ravel()])
    starts = jnp.broadcast_to(
        anchors[:, None], (*prior.objective.shape, anchors.shape[-1])
    )
    paths = Paths(
        latent_means=means,
        latents=latents,
        posterior_coefficients=own.coefficients,
        anchor_means=starts,
        prior_coefficients=prior.coefficients,
        anchor_index=None,
        converged=jnp.mean(searches.astype(means.dtype)),
        point_spread=spread,
    )
    if not model.closest_anchor:
        return paths
    index = _closest(paths, prior.objective, model, weights)
    pick = jax.vmap(jax.vmap(lambda of_anchors, i: of_anchors[i][None]))
    if anchor_latents is None:
        means = _encode_chosen(params, batch, index, model)
    else:
        means = pick(starts, index)
    return paths._replace(
        anchor_means=means,
        prior_coefficients=pick(paths.prior_coefficients, index),
        anchor_index=index,
    )


def _has_integrals(structure):
    """Return whether a structure's planes are separate, each a pair of latents."""
    known = isinstance(structure, Commuting)
    return known and structure.separate and not structure.learned_basis


def _check_density(model, operators):
    """Raise a ValueError for spirals, whose scalings and turns share a coefficient."""
    count, size = operators.shape[:2]
    if model.density == "integral" and model.structure.scaling and count != size:
        raise ValueError(
            "density 'integral' with scalings needs an operator for each scaling and "
            f"each turning, num_operators = latent_size; got {count} and {size}."
        )


def _closest(paths, objective, model, weights):
    """Return which anchor is the closest to each sample."""
    choose = lambda objective, coefficients: closest_anchor(
        objective,
        coefficients,
        search_l1_weight=model.prior_search.l1_weight,
        residual_weight=weights.prior_residual,
        l1_weight=weights.prior_l1,
    )
    return jax.vmap(jax.vmap(choose))(objective, paths.prior_coefficients)


def _encode_chosen(params, batch, index, model):
    """Encode each sample's closest anchor once more, now with a gradient.

    The anchors that do not count have no gradient either. Encoding those that do a
    second time lets the first, of ten times as many, go without one: `anchor_means`
    holds them constant.
    """
    groups, rows = _anchors(params, batch)
    closest = _rows(groups, jnp.broadcast_to(rows[:, None], index.shape), index)
    means = encode(params, closest.reshape(-1, *closest.shape[2:]), model=model)
    return means.reshape(*index.shape, 1, -1)


def anchor_means(
    params: Params, batch: Batch, *, model: Model
) -> Float[Array, "B N d"]:
    """Encode the anchors of each example: its own, or those of its class.

    With `model.closest_anchor` they are constants for differentiation. Anchors and
    labels are not checked here (`check_arguments`).
    """
    groups, rows = _anchors(params, batch)
    if model.closest_anchor:
        params, groups = jax.lax.stop_gradient((params, groups))
    return _rows(encode_anchors(params, groups, model=model), rows)


def encode_anchors(
    params: Params, anchors: Float[Array | np.ndarray, "G N ..."], *, model: Model
) -> Float[Array, "G N d"]:
    """Encode groups of anchors: of classes, or of the examples of a batch."""
    flat = anchors.reshape(-1, *anchors.shape[2:])
    return encode(params, flat, model=model).reshape(*anchors.shape[:2], -1)


def _anchors(params, batch):
    """Return the anchors, group by group, and each example's group."""
    if batch.anchors is not None:
        return batch.anchors, jnp.arange(batch.anchors.shape[0])
    return params.anchors, batch.labels


def _rows(groups, *index):
    """Pick rows of groups; what lies outside reads NaN.

    A label outside the classes thus gets NaN anchors: the loss shows it, where clamping
    the index would quietly use another class's.
    """
    rows = jnp.asarray(groups).at[index]
    return rows.get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
