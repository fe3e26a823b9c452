"""Disentanglement measures of codes of sprites whose factors are known.

python -m benchmarks.sprites --seeds 3
"""

import pathlib
from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array, Float, Int, PRNGKeyArray
from tqdm import tqdm

from vaells_jax import Batch, make_networks
from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.baselines.training import BaselineOptions, init_state, make_step
from vaells_jax.baselines.vae import Vae
from vaells_jax.data.sprites import SHAPES, SpriteFactors, render_sprites
from vaells_jax.evaluation.disentanglement import dci, mutual_information_gap, sap
from vaells_jax.evaluation.interventions import beta_vae_score, factor_vae_score
from vaells_jax.runs.results import markdown, spread
from vaells_jax.trained.baseline import TrainedBaseline

VALUES = {
    "scale": np.linspace(0.18, 0.3, 6),
    "x": np.linspace(0.3, 0.7, 12),
    "y": np.linspace(0.3, 0.7, 12),
}
"""Values of each factor; every combination is an image of an upright heart."""

SIZE, CODES, BATCH = 32, 6, 64
"""Pixels along a side, entries of a code, and images in a step."""

COLUMNS = (
    "MIG", "SAP", "DCI: D", "DCI: C", "DCI: I", "FactorVAE's", "beta-VAE's",
)  # fmt: skip

Codes = Float[np.ndarray, "N d"]
Levels = Int[np.ndarray, "N K"]
Cell = dict[str, float]


def main(
    output: Annotated[pathlib.Path, tyro.conf.arg(metavar="DIR")] = pathlib.Path(
        "runs/sprites"
    ),
    seeds: int = 3,
    steps: int = 3000,
    betas: tuple[float, ...] = (1.0, 4.0),
) -> None:
    """Print the scores of all codes: median (least to most).

    The table is written anew after each seed.

    Args:
        output: Gets sprites.md.
        seeds: Seeds of networks, batches and measures.
        steps: Of each autoencoder.
        betas: Weights of the divergence, one autoencoder each.
    """
    levels, images = all_sprites()
    cells: dict[str, list[Cell]] = {}
    output.mkdir(parents=True, exist_ok=True)
    for seed in tqdm(range(seeds), desc="sprites", unit="seed"):
        code_key, score_key = jax.random.split(jax.random.key(seed))
        for name, make in learners(code_key, levels, images, steps, betas).items():
            codes = np.asarray(make(), float)
            cell = score(jax.random.clone(score_key), codes, levels)
            cells.setdefault(name, []).append(cell)
            tqdm.write(f"seed {seed}, {name}: {cell}")
        (output / "sprites.md").write_text(table(cells))
    print(table(cells))


def all_sprites() -> tuple[Levels, Float[Array, "N size size"]]:
    """Return every combination of the factors' values, by number, and its image."""
    grids = np.meshgrid(*(np.arange(len(v)) for v in VALUES.values()), indexing="ij")
    levels = np.stack(grids, axis=-1).reshape(-1, len(VALUES))
    dtype = jnp.result_type(float)
    factors = {
        name: jnp.asarray(values[level], dtype)
        for (name, values), level in zip(VALUES.items(), levels.T, strict=True)
    }
    heart = np.full(len(levels), list(SHAPES).index("heart"))
    angle = jnp.zeros(len(levels), dtype)
    return levels, render_sprites(SpriteFactors(heart, angle=angle, **factors), SIZE)


def learners(
    key: PRNGKeyArray,
    levels: Levels,
    images: Float[Array, "N size size"],
    steps: int,
    betas: tuple[float, ...],
) -> dict[str, Callable[[], Codes | Array]]:
    """Return what makes each row's codes: the best, the learned, and random ones."""
    turn_key, random_key, key = jax.random.split(key, 3)
    factors = (levels - levels.mean(axis=0)) / levels.std(axis=0)
    normal = jax.random.normal(turn_key, (levels.shape[1],) * 2)
    rows: dict[str, Callable[[], Codes | Array]] = {
        "the factors": lambda: factors,
        "the factors, turned at random": lambda: factors @ np.linalg.qr(normal)[0],
    }
    for beta in betas:
        title = "VAE" if beta == 1.0 else f"beta-VAE, beta = {beta:g}"
        rows[title] = lambda beta=beta: vae_codes(  # type: ignore[misc]
            jax.random.clone(key), images, beta, steps
        )
    rows["principal components"] = lambda: components(images)
    rows["random codes"] = lambda: jax.random.normal(random_key, (len(images), CODES))
    return rows


def vae_codes(
    key: PRNGKeyArray, images: Float[Array, "N size size"], beta: float, steps: int
) -> Float[Array, "N d"]:
    """Train a VAE on all images, and return the means of their posteriors."""
    features, likelihood = Vae.encoder_size(CODES), Likelihood("bernoulli")
    networks = make_networks("plain", features, (SIZE, SIZE))
    model = Vae(networks, CODES, likelihood, beta=beta)
    options = BaselineOptions(ramp_steps=200)
    state_key, batch_key, fit_key = jax.random.split(key, 3)

    take, labels = make_step(model, options), jnp.zeros(BATCH, int)

    def step(state, number):
        own = jax.random.fold_in(batch_key, number)
        index = jax.random.randint(own, (BATCH,), 0, len(images))
        return take(state, fit_key, Batch(images[index], labels))[0], None

    state = init_state(state_key, images, model=model, options=options)
    train = jax.jit(lambda state: jax.lax.scan(step, state, jnp.arange(steps))[0])
    state = train(state)
    return TrainedBaseline(model, state.params).encode(images)


def components(images: Float[Array, "N size size"]) -> Codes:
    """Return the first principal components."""
    x = np.asarray(images, float).reshape(len(images), -1)
    u, s, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    return u[:, :CODES] * s[:CODES]


def score(key: PRNGKeyArray, codes: Codes, levels: Levels) -> Cell:
    """Return all measures; SAP and DCI take the factors as continuous ones."""
    dci_key, factor_key, beta_key = jax.random.split(key, 3)
    forest = dci(dci_key, codes, levels.astype(float))
    return {
        "MIG": mutual_information_gap(codes, levels),
        "SAP": sap(codes, levels.astype(float)),
        "DCI: D": forest.disentanglement,
        "DCI: C": forest.completeness,
        "DCI: I": forest.informativeness,
        "FactorVAE's": factor_vae_score(factor_key, codes, levels),
        "beta-VAE's": beta_vae_score(beta_key, codes, levels),
    }


def table(cells: dict[str, list[Cell]]) -> str:
    """Lay the scores out as Markdown: median (least to most)."""
    rows = [
        [name, *(spread([cell[column] for cell in seeds]) for column in COLUMNS)]
        for name, seeds in cells.items()
    ]
    return markdown(["", *COLUMNS], rows)


if __name__ == "__main__":
    tyro.cli(main, prog="python -m benchmarks.sprites")
