"""Operators and an autoencoder learned together, of data that are bent.

The data's group acts along curves, not by matrices, so that operators can be right only
in the latents of a suitable encoder. Both are learned from pairs alone.

python -m benchmarks.bent --seeds 5
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from jaxtyping import Array, Float, PRNGKeyArray
from tqdm import tqdm

from vaells_jax import PairOptions, fit_operators, infer_coefficients
from vaells_jax.data.flows import FlowPairs
from vaells_jax.data.symmetries import BENT_SYMMETRIES, Symmetry, SymmetryPairs
from vaells_jax.evaluation.spans import count_generators, span_angles
from vaells_jax.operators.transport import transport
from vaells_jax.runs.results import markdown, spread
from vaells_jax.training.pairs import pair_objective


@dataclasses.dataclass(frozen=True)
class BentOptions:
    """How operators and an autoencoder are learned.

    Attributes:
        pairs: Pairs that are learned from.
        steps: Steps of everything together.
        hidden: Width of the two hidden layers of encoder and decoder.
        rate: Adam's rate for the networks; it falls to a hundredth along a cosine.
        operator_rate: The same for the operators.
        transport_weight: Factor on the pairs' objective of latents, eq. 2.
        keys: First dictionaries, of which the one with the least objective is taken.
        operators: How these are learned, and the weights of eq. 2.
    """

    pairs: int = 20_000
    steps: int = 3000
    hidden: int = 128
    rate: float = 3e-3
    operator_rate: float = 1e-2
    transport_weight: float = 10.0
    keys: int = 4
    operators: PairOptions = PairOptions(
        l1_weight=0.03, norm_weight=0.03, batch_size=256, steps=400
    )


class Learned(NamedTuple):
    """An autoencoder with operators on its latents.

    Attributes:
        networks: Parameters: principal components, encoder, decoder.
        operators: The dictionary Psi.
        units: Mean and root mean square of the data, by which they are standardised.
        spread: Mean of the codes, and the Cholesky factor of their covariance.
    """

    networks: dict[str, Any]
    operators: Float[Array, "M d d"]
    units: tuple[Array, Array]
    spread: tuple[Array, Array]

    def encode(self, points: Float[Array, "n x"]) -> Float[Array, "n d"]:
        """Return latents: of mean 0 and covariance 1 on the data."""
        return _white(self.spread, _codes(self.networks, _in(self.units, points)))

    def decode(self, latents: Float[Array, "n d"]) -> Float[Array, "n x"]:
        """Return points of the data."""
        points = _perceptron(self.networks["decoder"], latents)
        return points * self.units[1] + self.units[0]


def main(
    seeds: int = 5,
    sets: tuple[str, ...] = tuple(BENT_SYMMETRIES),
    learners: tuple[str, ...] = ("together", "principal components", "autoencoder"),
) -> None:
    """Print how far the span is from the true one, by what the operators act on.

    Args:
        seeds: Seeds of each data set.
        sets: Which data sets.
        learners: How the encoder is learned.
    """
    rows = []
    wanted = [(learner, name) for learner in learners for name in sets]
    for learner, name in tqdm(wanted, desc="bent symmetries", unit="row"):
        cells = []
        for seed in range(seeds):
            cells.append(measure(name, seed, learner))
            tqdm.write(f"{name}, {learner}, seed {seed}: {cells[-1]}")
        angles, counts, shares = zip(*cells, strict=True)
        generators = len(BENT_SYMMETRIES[name].base)
        right = f"{generators} in {counts.count(generators)} of {seeds}"
        title = f"{BENT_SYMMETRIES[name].name}: {learner}"
        rows.append([title, spread(angles), right, spread(shares)])
    columns = ["largest angle [degrees]", "operators found", "R² of the linear map"]
    print(markdown(["", *columns], rows))


def measure(
    name: str,
    seed: int,
    learner: str,
    options: BentOptions = BentOptions(),  # noqa: B008, frozen
) -> tuple[float, int, float]:
    """Learn operators; return the largest angle, how many are left, and R^2."""
    symmetry = BENT_SYMMETRIES[name]
    pair_key, key = jax.random.split(jax.random.key(seed), 5)[:2]
    pairs = symmetry.pairs(pair_key, options.pairs)
    learn = {
        "together": learn_together,
        "principal components": learn_on_components,
        "autoencoder": learn_after,
    }[learner]
    learned = learn(
        key, pairs, size=symmetry.base.shape[-1],
        num_operators=len(symmetry.base) + 1, options=options,
    )  # fmt: skip
    operators, share = straightened(learned, symmetry, pairs)
    angle = float(span_angles(operators, symmetry.base)[0])
    return angle, count_generators(operators), share


def straightened(
    learned: Learned, symmetry: Symmetry, pairs: SymmetryPairs
) -> tuple[Float[np.ndarray, "M d d"], float]:
    """Map operators linearly onto the coordinates before lift and bend.

    With `B`, the least-squares map from latents of the starts to these coordinates,
    operators become `B Psi B^-1`.

    Returns:
        The operators, and the share R^2 of the coordinates that B explains.

    Raises:
        ValueError: If the symmetry is not lifted and bent.
    """
    if symmetry.bend is None or symmetry.lift is None:
        raise ValueError(f"symmetry must be lifted and bent; got {symmetry.name}.")
    true = np.asarray(symmetry.bend.inverse(pairs.start), float) @ symmetry.lift
    latents = np.asarray(learned.encode(pairs.start), float)
    B = np.linalg.lstsq(latents, true, rcond=None)[0].T
    operators = B @ np.asarray(learned.operators, float) @ np.linalg.inv(B)
    share = 1.0 - np.mean((latents @ B.T - true) ** 2) / np.var(true)
    return operators, float(share)


def learn_together(
    key: PRNGKeyArray,
    pairs: SymmetryPairs | FlowPairs,
    *,
    size: int,
    num_operators: int,
    options: BentOptions,
) -> Learned:
    """Learn encoder, decoder and operators, from principal components on.

    A step infers the coefficients of some pairs of latents and descends, with these
    held, on `(|D(z) - x|^2 + |D(T z) - y|^2) / X + w J`, where x and y are a pair of X
    coordinates, z is the latent of x, and J is `pair_objective` of the latents.

    Args:
        key: Random key.
        pairs: Starts and ends; coefficients and times are not used.
        size: Of the latents.
        num_operators: M.
        options: Rates and lengths.
    """
    first = learn_on_components(
        key, pairs, size=size, num_operators=num_operators, options=options
    )
    return _trained(jax.random.fold_in(key, 1), first, pairs, options, True)


def learn_on_components(key, pairs, *, size, num_operators, options) -> Learned:
    """Learn operators on principal components; the encoder's other part is zero."""
    network_key, operator_key = jax.random.split(key)
    centre = jnp.mean(pairs.start, axis=0, keepdims=True)
    units = centre, jnp.sqrt(jnp.mean((pairs.start - centre) ** 2))
    networks = _networks(network_key, _in(units, pairs.start), size, options.hidden)
    empty = jnp.zeros((num_operators, size, size), pairs.start.dtype)
    scale = _spread(_codes(networks, _in(units, pairs.start)))
    first = Learned(networks, empty, units, scale)
    return with_operators(operator_key, first, pairs, options)


def learn_after(key, pairs, *, size, num_operators, options) -> Learned:
    """Learn a plain autoencoder, then operators on its latents."""
    first = learn_on_components(
        key, pairs, size=size, num_operators=num_operators,
        options=dataclasses.replace(options, keys=1),
    )  # fmt: skip
    plain = _trained(jax.random.fold_in(key, 1), first, pairs, options, False)
    return with_operators(jax.random.fold_in(key, 2), plain, pairs, options)


def with_operators(key, learned, pairs, options):
    """Give an encoder the dictionary with the least objective of several."""
    start, end = learned.encode(pairs.start), learned.encode(pairs.end)
    fits = [
        fit_operators(
            own, start, end, num_operators=len(learned.operators),
            options=options.operators,
        )
        for own in jax.random.split(key, options.keys)
    ]  # fmt: skip
    best = min(fits, key=lambda fit: fit.objective[-50:].mean())
    return learned._replace(operators=best.operators)


def _spread(codes):
    """Return the mean of codes, and the Cholesky factor of their covariance."""
    mean = jnp.mean(codes, axis=0, keepdims=True)
    return mean, jnp.linalg.cholesky((codes - mean).T @ (codes - mean) / len(codes))


def _white(scale, codes):
    """Return codes of mean 0 and covariance 1, by `_spread` of all codes."""
    mean, factor = scale
    solve = jax.scipy.linalg.solve_triangular
    return solve(factor, (codes - mean).T, lower=True).T


def _in(units, x):
    return (x - units[0]) / units[1]


def _networks(key, x, size, hidden):
    """Return an encoder that starts as principal components, and a decoder."""
    encoder_key, decoder_key = jax.random.split(key)
    shape = (x.shape[1], hidden, hidden, size)
    encoder = _layers(encoder_key, shape)
    encoder[-1] = jax.tree.map(jnp.zeros_like, encoder[-1])
    components = np.linalg.svd(np.asarray(x), full_matrices=False)[2][:size]
    return {
        "components": jnp.asarray(components.T),
        "encoder": encoder,
        "decoder": _layers(decoder_key, shape[::-1]),
    }


def _layers(key, sizes):
    """Draw a perceptron: deviations of 1 / sqrt(inputs), no offsets."""
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        (jax.random.normal(k, (i, o)) / np.sqrt(i), jnp.zeros((1, o)))
        for k, i, o in zip(keys, sizes, sizes[1:], strict=False)
    ]


def _perceptron(layers, x):
    for W, b in layers[:-1]:
        x = jax.nn.silu(x @ W + b)
    W, b = layers[-1]
    return x @ W + b


def _codes(networks, x):
    return x @ networks["components"] + _perceptron(networks["encoder"], x)


def _trained(key, first, pairs, options, together):
    """Train the networks, with the operators or without."""
    x, y = _in(first.units, pairs.start), _in(first.units, pairs.end)
    params = first.networks, first.operators
    networks, operators = _train(key, params, x, y, options, together)
    return Learned(networks, operators, first.units, _spread(_codes(networks, x)))


@functools.partial(jax.jit, static_argnames=("options", "together"))
def _train(key, params, x, y, options, together):
    fall = lambda rate: optax.cosine_decay_schedule(rate, options.steps, 0.01)
    adam = optax.multi_transform(
        {"networks": optax.adam(fall(options.rate)),
         "operators": optax.adam(fall(options.operator_rate))},
        ("networks", "operators"),
    )  # fmt: skip
    search = options.operators.search

    def latents(networks, x, y):
        codes, others = _codes(networks, x), _codes(networks, y)
        scale = _spread(codes)
        return _white(scale, codes), _white(scale, others)

    def loss(params, x, y, coefficients):
        networks, operators = params
        decoded = lambda z: _perceptron(networks["decoder"], z)
        start, end = latents(networks, x, y)
        reconstruction = jnp.mean((decoded(start) - x) ** 2)
        if not together:
            return reconstruction
        moved = jax.vmap(transport, (None, 0, 0))(operators, coefficients, start)
        prediction = jnp.mean((decoded(moved) - y) ** 2)
        value, _ = pair_objective(
            operators, start, end, coefficients,
            norm_weight=options.operators.norm_weight,
        )  # fmt: skip
        return reconstruction + prediction + options.transport_weight * value

    def step(carry, step):
        params, state = carry
        batch_key, search_key = jax.random.split(jax.random.fold_in(key, step))
        size = options.operators.batch_size
        index = jax.random.randint(batch_key, (size,), 0, len(x))
        batch, found = (x[index], y[index]), None
        if together:
            networks, operators = params
            found = infer_coefficients(
                search_key, operators, *latents(networks, *batch), options=search
            ).coefficients
        slope = jax.grad(loss)(params, *batch, found)
        updates, state = adam.update(slope, state, params)
        return (optax.apply_updates(params, updates), state), None

    steps = jnp.arange(options.steps)
    return jax.lax.scan(step, (params, adam.init(params)), steps)[0][0]


if __name__ == "__main__":
    tyro.cli(main, prog="python -m benchmarks.bent")
