"""VAE with VampPrior (Tomczak and Welling, 2018): a mixture of posteriors as prior."""

import dataclasses
import math
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from vaells_jax.baselines.base import BaselineParams
from vaells_jax.baselines.vae import DiagonalNormal, Vae, log_normal, sample_normal
from vaells_jax.networks.contract import apply_encoder


def log_mixture(z: Float[Array, " d"], components: DiagonalNormal) -> Float[Array, ""]:
    """Return `log 1/K sum_k N(z; mu_k, sigma_k^2)` in nats, their eq. 9.

    Args:
        z: Where.
        components: Means and log-variances, `[K, d]` each.
    """
    logs = jax.vmap(log_normal, (None, 0))(z, components)
    return jax.nn.logsumexp(logs) - math.log(logs.size)


def sample_mixture(key: PRNGKeyArray, components: DiagonalNormal) -> Float[Array, " d"]:
    """Draw from a component, all equally likely."""
    component_key, key = jax.random.split(key)
    index = jax.random.randint(component_key, (), 0, components.mean.shape[0])
    return sample_normal(key, jax.tree.map(lambda x: x[index], components))


@dataclasses.dataclass(frozen=True)
class VampPrior(Vae):
    """Prior `1/K sum_k q(z|u_k)` over learned pseudo-inputs u_k in the data space.

    Attributes:
        num_components: K.
        pseudo_inputs: "images" clips them to [0, 1] where they are used and starts
            them, as the authors do, from N(0.05, 0.01^2); "data" starts them from
            training examples with a little noise and leaves them free.
    """

    num_components: int = 500
    pseudo_inputs: Literal["images", "data"] = "data"

    def init_prior(
        self, key: PRNGKeyArray, inputs: Float[Array, "n ..."]
    ) -> Float[Array, "K ..."]:
        """Draw the first pseudo-inputs.

        Raises:
            ValueError: If they come from fewer training examples than there are.
        """
        shape = (self.num_components, *inputs.shape[1:])
        if self.pseudo_inputs == "images":
            return 0.05 + 0.01 * jax.random.normal(key, shape, inputs.dtype)
        if len(inputs) < self.num_components:
            raise ValueError(
                f"num_components: {self.num_components} pseudo-inputs cannot start "
                f"from {len(inputs)} examples."
            )
        choice_key, noise_key = jax.random.split(key)
        chosen = jax.random.choice(
            choice_key, len(inputs), (self.num_components,), replace=False
        )
        noise = jax.random.normal(noise_key, shape, inputs.dtype)
        return inputs[chosen] + 0.01 * noise

    def prior(self, params: BaselineParams) -> DiagonalNormal:
        """Encode the pseudo-inputs: the mixture's components, `[K, d]`."""
        inputs = params.prior
        if self.pseudo_inputs == "images":
            inputs = jnp.clip(inputs, 0.0, 1.0)
        outputs = apply_encoder(self.networks, params.encoder, inputs)
        return jax.vmap(self.posterior)(outputs)

    def log_prior(
        self, z: Float[Array, " d"], prior: DiagonalNormal
    ) -> Float[Array, ""]:
        """Return the mixture's log-density."""
        return log_mixture(z, prior)

    def draw_prior(
        self, key: PRNGKeyArray, prior: DiagonalNormal
    ) -> Float[Array, " d"]:
        """Draw from one of the components."""
        return sample_mixture(key, prior)

    def divergence(
        self, z: Float[Array, " d"], posterior: DiagonalNormal, prior: DiagonalNormal
    ) -> Float[Array, ""]:
        """Estimate the divergence from one sample: a mixture's has no closed form."""
        return self.log_posterior(z, posterior) - self.log_prior(z, prior)
