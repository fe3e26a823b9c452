"""The records that the model's functions pass around."""

import dataclasses
from typing import Literal, NamedTuple

from jaxtyping import Array, Float, Int

from vaells_jax.checks import check_fields
from vaells_jax.networks.contract import PyTree

Density = Literal["max", "integral"]
"""What stands for the integral over coefficients in a latent density: its largest term,
at the inferred coefficients (eqs. 10 and 11), or itself."""


class Params(NamedTuple):
    """Everything that training changes, and the fixed scale.

    Attributes:
        encoder: Parameters of `f_phi`.
        decoder: Parameters of `g_theta`.
        operators: The dictionary Psi, which acts on latents from the left; in a
            `TrainState` what the model's structure makes it of.
        anchors: Anchor points in the data space, per class: `[C, N_a, *x]`. None if
            each example brings its own (`Batch.anchors`).
        latent_scale: `s`, positive: latents are `f_phi(x) / s`, and the decoder sees
            `s z`. No step changes it.
        point_spread: Parameters of `Model.point_spread`, if there is one.
    """

    encoder: PyTree
    decoder: PyTree
    operators: PyTree
    anchors: Float[Array, "C N ..."] | None
    latent_scale: Float[Array, ""] | float = 1.0
    point_spread: PyTree = None


class Batch(NamedTuple):
    """Examples to train on or to evaluate.

    Attributes:
        inputs: Data points `x`.
        labels: Class of each, in `0..C-1`: only this class's anchors are used.
        anchors: Anchors of each example, in place of `Params.anchors`, or None.
    """

    inputs: Float[Array, "B ..."]
    labels: Int[Array, " B"]
    anchors: Float[Array, "B N ..."] | None = None


@dataclasses.dataclass(frozen=True)
class LossWeights:
    """The paper's zetas and eta, and the factors by which training phases vary terms.

    Squared terms have a factor of one half: `reconstruction = 1` means unit
    pixel variance.

    Attributes:
        reconstruction: zeta_1, of the squared pixel errors.
        posterior_residual: zeta_2, of the posterior's squared distances. The density of
            the samples would have `1 / noise_std**2`; the paper's tables do not.
        posterior_l1: zeta_3, of the posterior's coefficients: their weight in its
            density, and the inverse scale with which they are sampled.
        prior_residual: zeta_4, of the prior's squared distances.
        prior_l1: zeta_5, of the prior's coefficients.
        operator_norm: eta, of the operators' squared Frobenius norms.
        reconstruction_factor: Factor on the whole reconstruction term.
        prior_factor: Factor on the whole prior term.
    """

    reconstruction: float = 1.0
    posterior_residual: float = 1.0
    posterior_l1: float = 1.0
    prior_residual: float = 1.0
    prior_l1: float = 0.01
    operator_norm: float = 0.01
    reconstruction_factor: float = 1.0
    prior_factor: float = 1.0

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: If a weight is negative or not finite, or zeta_3 is zero.
        """
        check_fields(self, positive=("posterior_l1",))
