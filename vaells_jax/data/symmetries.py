"""Pairs of points whose symmetry is known: groups acting by matrices."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vaells_jax.checks import as_count, as_number, check_key, check_kind

PLANE_TURN = np.array([[0.0, -1.0], [1.0, 0.0]])


class SymmetryPairs(NamedTuple):
    """Pairs of points and what leads from one to the other.

    Attributes:
        start: Where each pair starts.
        end: `expm(sum_g coefficients_g generators_g) start`, with its noise.
        coefficients: Radians of turns, e-folds of scalings, slopes of shears.
    """

    start: Float[Array, "n d"]
    end: Float[Array, "n d"]
    coefficients: Float[Array, "n G"]


class Bend(NamedTuple):
    """A smooth map of a space onto itself, with its inverse: additive couplings.

    Of the halves a and b of a point, each layer adds `height sin(W a + phase)` to b and
    swaps them (the couplings of Dinh, Krueger and Bengio, "NICE", 2015).

    Attributes:
        weights: W of each layer.
        phases: Of each layer [radians].
        height: Of the sines.
    """

    weights: Float[np.ndarray, "L h h"]
    phases: Float[np.ndarray, "L h"]
    height: float

    def forward(self, points: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """Bend points."""
        a, b = jnp.split(points, 2, axis=1)
        for W, phase in zip(self.weights, self.phases, strict=True):
            a, b = b + self._wave(W, phase, a), a
        return jnp.concatenate([a, b], axis=1)

    def inverse(self, points: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """Return the points that were bent, exact to rounding."""
        a, b = jnp.split(points, 2, axis=1)
        for W, phase in zip(self.weights[::-1], self.phases[::-1], strict=True):
            a, b = b, a - self._wave(W, phase, b)
        return jnp.concatenate([a, b], axis=1)

    def _wave(self, W, phase, a):
        W, phase = jnp.asarray(W, a.dtype), jnp.asarray(phase, a.dtype)
        return self.height * jnp.sin(a @ W.T + phase[None])


class Symmetry(NamedTuple):
    """A group acting linearly on points, by its generators.

    Attributes:
        name: Name in tables.
        base: Generators on one base point.
        reach: Coefficients are drawn uniformly between -reach and reach.
        copies: Base points that move as one and make up a point.
        unit: Where coefficients are whole multiples of something, what that is.
        single: Whether a pair takes one generator, drawn evenly, or all of them.
        circles: Whether starts lie uniformly on unit circles, one for each two
            coordinates, as on a flat torus, and not standard normal.
        lift: Isometric linear map from base points to the data, orthonormal columns;
            None is the identity.
        bend: What bends the lifted points, so that the group acts on the data along
            curves, and no longer by matrices.
    """

    name: str
    base: Float[np.ndarray, "G b b"]
    reach: float = 1.0
    copies: int = 1
    unit: float | None = None
    single: bool = True
    circles: bool = False
    lift: Float[np.ndarray, "d l"] | None = None
    bend: Bend | None = None

    @property
    def generators(self) -> Float[np.ndarray, "G d d"]:
        """Return the generators on unbent data: zero outside the lift's image."""
        blocks = np.kron(np.eye(self.copies), self.base)
        lift = self.lift
        return blocks if lift is None else lift @ blocks @ lift.T

    def pairs(
        self,
        key: Key[Array, ""],
        count: int,
        *,
        noise_std: float = 0.0,
        stretch: float = 1.0,
    ) -> SymmetryPairs:
        """Draw pairs: starts are standard normal, or on circles, before the lift.

        Args:
            key: Random key.
            count: Number of pairs.
            noise_std: Deviation of normal noise added to each coordinate of the ends.
            stretch: Factor on the reach.

        Returns:
            The pairs and their coefficients.

        Raises:
            ValueError: If an argument is not of its kind.
        """
        check_key("key", key)
        count = as_count("count", count)
        noise_std = as_number("noise_std", noise_std)
        stretch = as_number("stretch", stretch, strict=True)
        start_key, amount_key, which_key, noise_key = jax.random.split(key, 4)
        size = self.base.shape[-1]
        points = jax.random.normal(start_key, (count, self.copies, size))
        if self.circles:
            planes = points.reshape(*points.shape[:-1], -1, 2)
            planes = planes / jnp.linalg.norm(planes, axis=-1, keepdims=True)
            points = planes.reshape(points.shape)
        amounts = self._amounts(amount_key, which_key, count, stretch)
        base = jnp.asarray(self.base, points.dtype)
        moves = jax.scipy.linalg.expm(jnp.einsum("ng,gij->nij", amounts, base))
        moved = jnp.einsum("nij,ncj->nci", moves, points)
        start, end = points.reshape(count, -1), moved.reshape(count, -1)
        if self.lift is not None:
            lift = jnp.asarray(self.lift, points.dtype)
            start, end = start @ lift.T, end @ lift.T
        if self.bend is not None:
            start, end = self.bend.forward(start), self.bend.forward(end)
        end = end + noise_std * jax.random.normal(noise_key, end.shape)
        return SymmetryPairs(start, end, amounts)

    def _amounts(self, amount_key, which_key, count, stretch):
        """Draw coefficients."""
        shape, reach = (count, len(self.base)), self.reach * stretch
        if self.unit is None:
            amounts = jax.random.uniform(amount_key, shape, minval=-reach, maxval=reach)
        else:
            most = int(np.floor(reach / self.unit + 1e-9))
            # The group's elements are equally frequent where -most and most are one.
            drawn = jax.random.randint(amount_key, shape, -most + 1, most + 1)
            amounts = self.unit * drawn.astype(jnp.result_type(float))
        if not self.single:
            return amounts
        which = jax.random.randint(which_key, (count,), 0, shape[1])
        return amounts * jax.nn.one_hot(which, shape[1], dtype=amounts.dtype)


def lifted(symmetry: Symmetry, size: int = 20, *, seed: int = 0) -> Symmetry:
    """Embed a symmetry in more dimensions by a fixed isometric linear lift.

    Args:
        symmetry: What is lifted; distances and angles between its points stay.
        size: Dimension of the data, at least that of the symmetry.
        seed: Of the lift: the first columns of a random orthogonal matrix.

    Returns:
        The symmetry on the lifted points.

    Raises:
        ValueError: If the size is too small or the symmetry lifted already.
    """
    check_kind(symmetry=(symmetry, Symmetry))
    seed = as_count("seed", seed, 0)
    points = symmetry.copies * symmetry.base.shape[-1]
    size = as_count("size", size, points)
    if symmetry.lift is not None:
        raise ValueError("symmetry must not be lifted already; got one that is.")
    square = np.random.default_rng(seed).normal(size=(size, size))
    basis = np.linalg.qr(square)[0][:, :points]
    return symmetry._replace(name=f"{symmetry.name}, lifted to {size}", lift=basis)


def bent(symmetry: Symmetry, *, layers: int = 2, seed: int = 0) -> Symmetry:
    """Bend a symmetry's data by a fixed injective map that is not linear.

    Of standard normal base points, the arguments of the sines have a deviation of 1.5
    radians, and the sines have the root mean square of what they are added to.

    Args:
        symmetry: What is bent, of data of an even size, usually lifted.
        layers: Couplings; two change every coordinate.
        seed: Of the couplings' normal weights and uniform phases.

    Returns:
        The symmetry on the bent points; its generators are those of the unbent ones.

    Raises:
        ValueError: If the size is odd or the symmetry bent already.
    """
    check_kind(symmetry=(symmetry, Symmetry))
    layers, seed = as_count("layers", layers), as_count("seed", seed, 0)
    size = symmetry.generators.shape[-1]
    if size % 2 or symmetry.bend is not None:
        raise ValueError(
            f"symmetry must be of an even size and not bent; got size {size}, "
            f"{'bent' if symmetry.bend else 'not bent'}."
        )
    half, rms = size // 2, np.sqrt(symmetry.copies * symmetry.base.shape[-1] / size)
    random = np.random.default_rng(seed)
    weights = random.normal(size=(layers, half, half)) * 1.5 / (rms * np.sqrt(half))
    phases = random.uniform(0.0, 2.0 * np.pi, size=(layers, half))
    bend = Bend(weights, phases, float(np.sqrt(2.0) * rms))
    return symmetry._replace(name=f"{symmetry.name}, bent", bend=bend)


def rotation_generators(size: int) -> Float[np.ndarray, "G d d"]:
    """Return the generators of SO(size): turns of each plane of two axes."""
    size = as_count("size", size, 2)
    found = []
    for i in range(size):
        for j in range(i + 1, size):
            turn = np.zeros((size, size))
            turn[j, i], turn[i, j] = 1.0, -1.0
            found.append(turn)
    return np.array(found)


_TURNS = rotation_generators(3)
_TWO_PLANES = np.kron(np.eye(2)[:, :, None] * np.eye(2)[:, None], PLANE_TURN)
_SHEAR = np.array([[[0.0, 1.0], [0.0, 0.0]]])

_PLAIN = {
    "so2": Symmetry("SO(2)", PLANE_TURN[None]),
    "c4": Symmetry("C4", PLANE_TURN[None], reach=np.pi, unit=np.pi / 2),
    "so3": Symmetry("SO(3)", _TURNS),
    "so3_cloud": Symmetry("SO(3) on 3 points", _TURNS, copies=3),
    "so2_so2": Symmetry("SO(2) x SO(2)", _TWO_PLANES),
    "torus": Symmetry(
        "translations of a torus", _TWO_PLANES, single=False, circles=True
    ),
    "scale_turn": Symmetry("scaling and rotation", np.array([np.eye(2), PLANE_TURN])),
    "shear": Symmetry("shear", _SHEAR),
}
SYMMETRIES: dict[str, Symmetry] = {
    **_PLAIN,
    **{f"{name}_lifted": lifted(plain) for name, plain in _PLAIN.items()},
}
"""Known symmetries, plain and lifted to 20 dimensions."""

BENT_SYMMETRIES: dict[str, Symmetry] = {
    name: bent(SYMMETRIES[f"{name}_lifted"]) for name in ("so2", "so3", "so2_so2")
}
"""Known symmetries that are lifted to 20 dimensions and bent."""
