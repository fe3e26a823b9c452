"""The records that the model's functions pass around."""

from typing import Any, NamedTuple

from jaxtyping import Array, Float, Int

PyTree = Any


class Params(NamedTuple):
    """Everything that training changes.

    Attributes:
        encoder: Parameters of `f_phi`.
        decoder: Parameters of `g_theta`.
        operators: The dictionary Psi, which acts from the left on scaled latents.
        anchors: Anchor points in the data space, per class: `[C, N_a, *x]`. None where
            each example brings its own (`Batch.anchors`).
    """

    encoder: PyTree
    decoder: PyTree
    operators: Float[Array, "M d d"]
    anchors: Float[Array, "C N ..."] | None


class Batch(NamedTuple):
    """Examples to train on or to evaluate.

    Attributes:
        inputs: Data points `x`.
        labels: Class of each, in `0..C-1`: only this class's anchors are met.
        anchors: Anchors of each example, in place of `Params.anchors`, or None.
    """

    inputs: Float[Array, "B ..."]
    labels: Int[Array, " B"]
    anchors: Float[Array, "B N ..."] | None = None


class LossWeights(NamedTuple):
    """The paper's zetas and eta, and the factors by which training phases vary terms.

    Squared terms carry a half beside their weight: `reconstruction = 1` means unit
    pixel variance.
    """

    reconstruction: float | Array = 1.0  # zeta_1
    posterior_residual: float | Array = 1.0  # zeta_2
    posterior_l1: float | Array = 1.0  # zeta_3
    prior_residual: float | Array = 1.0  # zeta_4
    prior_l1: float | Array = 0.01  # zeta_5
    operator_norm: float | Array = 0.01  # eta
    reconstruction_factor: float | Array = 1.0
    prior_factor: float | Array = 1.0
