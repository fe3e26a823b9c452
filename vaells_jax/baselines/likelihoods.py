"""Likelihoods p(x|z) of a decoder's outputs: of grey values or of binary pixels."""

import dataclasses
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vaells_jax.checks import check_fields, check_finite
from vaells_jax.networks.contract import check_outputs


@dataclasses.dataclass(frozen=True)
class Likelihood:
    """An isotropic Gaussian about the decoder's output, or Bernoulli of its logits.

    Attributes:
        kind: Which of the two.
        std: Deviation sigma of the Gaussian, in units of the data.
    """

    kind: Literal["gaussian", "bernoulli"] = "gaussian"
    std: float = 1.0

    def __post_init__(self) -> None:
        """Check the kind and the number.

        Raises:
            ValueError: If the kind is unknown or the deviation not positive.
        """
        check_fields(self, positive=("std",))

    def check_support(self, inputs: Any) -> None:
        """Raise a ValueError for data outside the support, if they are not traced."""
        check_finite("inputs", inputs, unit=self.kind == "bernoulli")

    def describe(self) -> str:
        """Describe p(x|z) in words."""
        if self.kind == "bernoulli":
            return "Bernoulli, binary data"
        return f"Gaussian, sigma = {self.std:.3g}"

    def log_prob(
        self, inputs: Float[Array, "*x"], outputs: Float[Array, "*x"]
    ) -> Float[Array, ""]:
        """Return log p(x|z) of one data point, all constants included, in nats.

        Args:
            inputs: The data point; the Bernoulli's pixels may be grey.
            outputs: What the decoder gives: means, or logits.

        Raises:
            ValueError: If the two differ in shape, or the data point is not finite
                or not in [0, 1], as the Bernoulli requires.
        """
        check_outputs(outputs.shape, inputs.shape)
        self.check_support(inputs)
        if self.kind == "bernoulli":
            return jnp.sum(inputs * outputs - jax.nn.softplus(outputs))
        squared = jnp.sum(((inputs - outputs) / self.std) ** 2)
        return -0.5 * squared + self.constant(inputs.size)

    def constant(self, size: int) -> float:
        """Return the part of log p(x|z) that depends on neither x nor z, in nats."""
        gaussian = self.kind == "gaussian"
        return -0.5 * size * math.log(2 * math.pi * self.std**2) if gaussian else 0.0

    def mean(self, outputs: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return the mean data point of the decoder's outputs."""
        return jax.nn.sigmoid(outputs) if self.kind == "bernoulli" else outputs
