"""An adversarial learner of generators, after Yang, Walters, Dehmamy and Yu (2023).

"Generative Adversarial Symmetry Discovery" (LieGAN): transformations `expm(sum w L)`
of random coefficients w are applied to starts, and L is learned so that a discriminator
cannot tell (start, transformed start) from the pairs of the data.

python -m benchmarks.adversarial --seeds 5
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from jaxtyping import Array, Float, PRNGKeyArray
from tqdm import tqdm

from vaells_jax.data.symmetries import SYMMETRIES
from vaells_jax.evaluation.spans import span_angles
from vaells_jax.runs.results import markdown, spread


@dataclasses.dataclass(frozen=True)
class AdversarialOptions:
    """Settings of the two players.

    Attributes:
        steps: Steps of each player.
        batch_size: Pairs of a step.
        hidden: Width of the discriminator's two hidden layers.
        generator_rate: Adam's rate for L.
        discriminator_rate: Adam's rate for the discriminator.
        reach: Coefficients are uniform between -reach and reach.
        single: Whether one of the generators moves each point, or all.
        apart: Weight of the sum of squared cosines between generators.
        l1_weight: Weight of the mean absolute entry of L.
    """

    steps: int = 15_000
    batch_size: int = 256
    hidden: int = 128
    generator_rate: float = 1e-3
    discriminator_rate: float = 1e-3
    reach: float = 1.0
    single: bool = True
    apart: float = 0.1
    l1_weight: float = 0.0


def main(
    seeds: int = 5,
    sets: tuple[str, ...] = ("so2", "so3", "so2_so2", "scale_turn", "shear"),
    pairs: int = 1000,
) -> None:
    """Print the largest angle between the learned and the true span, for each seed.

    It is given what `fit_operators` has to find: the number of generators, and the
    distribution of the coefficients.

    Args:
        seeds: Seeds of each data set.
        sets: Which data sets.
        pairs: Pairs that are learned from.
    """
    rows = []
    for name in tqdm(sets, desc="symmetries", unit="set"):
        symmetry = SYMMETRIES[name]
        angles = []
        for seed in range(seeds):
            pair_key, key = jax.random.split(jax.random.key(seed), 5)[:2]
            data = symmetry.pairs(pair_key, pairs)
            L = adversarial_generators(
                key, data.start, data.end, num_generators=len(symmetry.base)
            )
            angles.append(float(span_angles(L, symmetry.generators)[0]))
        rows.append([symmetry.name, spread(angles)])
    print(markdown(["", "largest angle [degrees]"], rows))


def adversarial_generators(
    key: PRNGKeyArray,
    start: Float[Array, "N d"],
    end: Float[Array, "N d"],
    *,
    num_generators: int,
    options: AdversarialOptions = AdversarialOptions(),  # noqa: B008, frozen
) -> Float[np.ndarray, "G d d"]:
    """Return the mean of the generators over the game's last half.

    Args:
        key: Random key.
        start: Where each pair starts.
        end: Where it leads.
        num_generators: G.
        options: Settings of the players.
    """
    generator_key, discriminator_key, key = jax.random.split(key, 3)
    size = start.shape[1]
    shape = (num_generators, size, size)
    L = 0.1 * jax.random.normal(generator_key, shape)
    weights = _layers(discriminator_key, 2 * size, options.hidden)
    return np.asarray(_play(key, L, weights, start, end, options))


def _layers(key, size, hidden):
    """Draw a perceptron of two hidden layers, He's deviations."""
    sizes = (size, hidden, hidden, 1)
    return [
        (jax.random.normal(k, (i, o)) * np.sqrt(2.0 / i), jnp.zeros((1, o)))
        for k, i, o in zip(jax.random.split(key, 3), sizes, sizes[1:], strict=False)
    ]


def _logit(weights, start, end):
    """Return the log odds that pairs are real."""
    x = jnp.concatenate([start, end], axis=-1)
    for W, b in weights[:-1]:
        x = jax.nn.leaky_relu(x @ W + b, 0.2)
    W, b = weights[-1]
    return (x @ W + b)[:, 0]


def _transform(key, L, start, options):
    """Move each start by random coefficients of the generators."""
    amount_key, which_key = jax.random.split(key)
    shape = (len(start), len(L))
    w = jax.random.uniform(
        amount_key, shape, minval=-options.reach, maxval=options.reach
    )
    if options.single:
        which = jax.random.randint(which_key, shape[:1], 0, len(L))
        w = w * jax.nn.one_hot(which, len(L))
    A = jnp.einsum("ng,gij->nij", w, L)
    moved = start  # a Taylor series of A start: coefficients are within a radian
    for k in range(12, 0, -1):
        moved = start + jnp.einsum("nij,nj->ni", A, moved) / k
    return moved


def _alike(L):
    """Return the squared cosines between generators, summed over pairs."""
    flat = L.reshape(len(L), -1)
    flat = flat / (jnp.linalg.norm(flat, axis=1, keepdims=True) + 1e-8)
    return jnp.sum(jnp.triu(flat @ flat.T, 1) ** 2)


@functools.partial(jax.jit, static_argnames="options")
def _play(key, L, weights, start, end, options):
    move, tell = (
        optax.adam(rate, b1=0.5)
        for rate in (options.generator_rate, options.discriminator_rate)
    )

    def fool(L, key, weights, start):
        fake = _transform(key, L, start, options)
        loss = jnp.mean(jax.nn.softplus(-_logit(weights, start, fake)))
        penalty = options.apart * _alike(L) + options.l1_weight * jnp.mean(jnp.abs(L))
        return loss + penalty

    def tell_apart(weights, start, end, fake_start, fake):
        real = jnp.mean(jax.nn.softplus(-_logit(weights, start, end)))
        return real + jnp.mean(jax.nn.softplus(_logit(weights, fake_start, fake)))

    def step(carry, step):
        L, weights, moving, telling = carry
        keys = jax.random.split(jax.random.fold_in(key, step), 4)
        real, other = jax.random.randint(
            keys[0], (2, options.batch_size), 0, len(start)
        )
        fake = _transform(keys[1], L, start[other], options)
        slope = jax.grad(tell_apart)(
            weights, start[real], end[real], start[other], fake
        )
        updates, telling = tell.update(slope, telling)
        weights = optax.apply_updates(weights, updates)
        slope = jax.grad(fool)(L, keys[2], weights, start[other])
        updates, moving = move.update(slope, moving)
        L = optax.apply_updates(L, updates)
        return (L, weights, moving, telling), L

    carry = (L, weights, move.init(L), tell.init(weights))
    course = jax.lax.scan(step, carry, jnp.arange(options.steps))[1]
    return jnp.mean(course[options.steps // 2 :], axis=0)


if __name__ == "__main__":
    tyro.cli(main, prog="python -m benchmarks.adversarial")
