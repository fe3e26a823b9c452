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
from vaells_jax.data.symmetries import SYMMETRIES, SymmetryPairs
from vaells_jax.evaluation.spans import count_generators, span_angles
from vaells_jax.operators.transport import transport
from vaells_jax.runs.results import markdown, spread
from vaells_jax.training.pairs import pair_objective

SETS = ("so2_bent", "so3_bent", "so2_so2_bent")


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
        l1_weight=0.03, norm_weight=0.01, batch_size=256, steps=400
    )


class Learned(NamedTuple):
    """An autoencoder with operators on its latents.

    Attributes:
        networks: Parameters: principal components, encoder, decoder.
        operators: The dictionary Psi.
        units: Mean and root mean square of the data, by which they are standardised.
        magnitude: Mean and root mean square of the codes, which latents have not.
    """

    networks: dict[str, Any]
    operators: Float[Array, "M d d"]
    units: tuple[Array, Array]
    magnitude: tuple[Array, Array]

    def encode(self, points: Float[Array, "n x"]) -> Float[Array, "n d"]:
        """Return latents: centred, of root mean square 1."""
        return _in(self.magnitude, _codes(self.networks, _in(self.units, points)))


def main(seeds: int = 5, sets: tuple[str, ...] = SETS) -> None:
    """Print how far the span is from the true one, by what the operators act on.

    Args:
        seeds: Seeds of each data set.
        sets: Which data sets.
    """
    learners = {
        "principal components": learn_on_components,
        "plain autoencoder": learn_after,
        "together": learn_together,
    }
    rows = []
    wanted = [(name, title) for name in sets for title in learners]
    for name, title in tqdm(wanted, desc="bent symmetries", unit="row"):
        symmetry, options = SYMMETRIES[name], BentOptions()
        angles, found, fits = [], [], []
        for seed in range(seeds):
            pair_key, key = jax.random.split(jax.random.key(seed), 5)[:2]
            pairs = symmetry.pairs(pair_key, options.pairs)
            learned = learners[title](
                key, pairs, size=symmetry.lift.shape[1],
                num_operators=len(symmetry.base) + 1, options=options,
            )  # fmt: skip
            flat, operators, share = straightened(learned, symmetry, pairs)
            plain = symmetry._replace(lift=None, bend=None)
            angles.append(float(span_angles(operators, plain.generators)[0]))
            found.append(count_generators(operators) == len(symmetry.base))
            fits.append(share)
        right = f"{sum(found)} of {seeds}"
        rows.append([symmetry.name, title, spread(angles), right, spread(fits)])
    columns = ["largest angle [degrees]", "right number", "R² of the linear map"]
    print(markdown(["", "operators act on", *columns], rows))


def straightened(learned, symmetry, pairs):
    """Map latents and operators linearly onto the coordinates before lift and bend.

    `B` is the least-squares map from latents to these coordinates; operators become
    `B Psi B^-1`.

    Returns:
        The pairs in these coordinates, as the encoder has them; the operators; and R^2.
    """
    lift = symmetry.lift
    true = np.asarray(symmetry.bend.inverse(pairs.start), float) @ lift
    z = [np.asarray(learned.encode(x), float) for x in pairs[:2]]
    B = np.linalg.lstsq(z[0], true, rcond=None)[0].T
    operators = B @ np.asarray(learned.operators, float) @ np.linalg.inv(B)
    start, end = (jnp.asarray(x @ B.T, pairs.start.dtype) for x in z)
    share = 1.0 - np.mean((np.asarray(start) - true) ** 2) / np.var(true)
    return SymmetryPairs(start, end, pairs.coefficients), operators, float(share)


def learn_together(
    key: PRNGKeyArray,
    pairs: SymmetryPairs,
    *,
    size: int,
    num_operators: int,
    options: BentOptions,
) -> Learned:
    """Learn encoder, decoder and operators, from principal components on.

    A step infers the coefficients of some pairs of latents and minimises, with these
    held, `|D(z) - x|^2 / X + |D(T z) - y|^2 / X + w J`, where x and y are a pair of X
    coordinates, z is the latent of x, and J is `pair_objective` of the latents.

    Args:
        key: Random key.
        pairs: Bent ones; coefficients are not used.
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
    return _with_operators(
        operator_key, Learned(networks, empty, units, units), pairs, options
    )


def learn_after(key, pairs, *, size, num_operators, options) -> Learned:
    """Learn a plain autoencoder, then operators on its latents."""
    first = learn_on_components(
        key, pairs, size=size, num_operators=num_operators,
        options=dataclasses.replace(options, keys=1),
    )  # fmt: skip
    plain = _trained(jax.random.fold_in(key, 1), first, pairs, options, False)
    return _with_operators(jax.random.fold_in(key, 2), plain, pairs, options)


def _with_operators(key, learned, pairs, options):
    """Give an encoder the best of several dictionaries on its latents."""
    learned = _measured(learned, pairs)
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


def _measured(learned, pairs):
    """Measure the codes' mean and magnitude."""
    codes = _codes(learned.networks, _in(learned.units, pairs.start))
    return learned._replace(magnitude=_magnitude(codes))


def _magnitude(codes):
    mean = jnp.mean(codes, axis=0, keepdims=True)
    return mean, jnp.sqrt(jnp.mean((codes - mean) ** 2))


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
    return _measured(first._replace(networks=networks, operators=operators), pairs)


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
        units = _magnitude(codes)
        return _in(units, codes), _in(units, others)

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
