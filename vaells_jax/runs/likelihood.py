"""The likelihood of test data under any trained run, as figures of merit."""

import contextlib
import dataclasses
import math
import warnings
from collections.abc import Callable, Iterator

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.evaluation.importance import ImportanceOptions, objective_options
from vaells_jax.progress import progress_bar
from vaells_jax.runs.config import BaselineConfig, VaellsConfig
from vaells_jax.runs.experiment import Merits
from vaells_jax.runs.records import merit
from vaells_jax.runs.run import Run
from vaells_jax.trained.vaells import TrainedVaells


@contextlib.contextmanager
def progress(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar with the time left, once an evaluation has taken a few seconds."""
    with progress_bar(total, desc=f"  {name}", unit="example", delay=5) as bar:
        yield lambda count: bar.update(count) and None


def marginal_likelihood(
    run: Run,
    inputs: Float[Array | np.ndarray, "n ..."],
    labels: Int[Array | np.ndarray, " n"] | None = None,
) -> Merits:
    """Estimate log p(x) of the first test points, in the model's own convention.

    Args:
        run: A trained run; its configuration has the numbers of points and samples.
        inputs: Test points.
        labels: Their classes, where log p(x | label) is asked for.

    Returns:
        `log_marginal_likelihood`, or nothing where no points are asked for or there is
        no p(x): of a model without densities, or where anchors are the examples' own.
    """
    config, asked = run.config, run.config.evaluation
    without = run.is_vaells and run.data.anchors is None
    if asked.points == 0 or without or not run.trained.has_density:
        return {}
    inputs = inputs[: asked.points]
    labels = None if labels is None else labels[: asked.points]
    key = jax.random.fold_in(run.key, 3 if run.is_vaells else 5)
    with (
        warnings.catch_warnings(record=True) as caught,
        progress(f"log p(x), {run.model}", len(inputs)) as on_done,
    ):
        warnings.simplefilter("always")
        if isinstance(config, VaellsConfig):
            assert isinstance(run.trained, TrainedVaells)
            options = importance_options(config)
            found = run.trained.log_marginal_likelihood(
                inputs, labels, options=options, key=key, on_done=on_done, mesh=run.mesh
            )
            settings = dataclasses.asdict(options)
            what = "log p(x)" if options.label == "marginal" else "log p(x | label)"
            pixels = Likelihood("gaussian", options.pixel_std)
        else:
            assert isinstance(config, BaselineConfig)
            found = run.trained.log_marginal_likelihood(
                inputs, num_samples=asked.samples, key=key, on_done=on_done
            )
            settings, what, pixels = {}, "log p(x)", config.likelihood
    for warning in caught:
        print(f"  log p(x): {warning.message}")
    values = found.log_likelihood
    return {
        "log_marginal_likelihood": merit(
            float(np.mean(values)),
            f"{what}, latents integrated [nats]: a lower bound in expectation, which "
            f"grows with the samples; {asked.samples:,} of each of {len(values):,} "
            f"test points; {pixels.describe()}",
            standard_error=float(np.std(values) / np.sqrt(len(values))),
            median_effective_samples=float(np.median(found.effective_samples)),
            median_sampling_error=float(np.median(found.standard_error)),
            constant=pixels.constant(math.prod(inputs.shape[1:])),
            settings=settings,
        )
    }


def importance_options(config: VaellsConfig) -> ImportanceOptions:
    """Return a configuration's generative densities and number of samples."""
    asked = config.evaluation
    given = {"noise_std": asked.noise_std, "coefficient_rate": asked.coefficient_rate}
    return objective_options(
        config.weights,
        label=asked.label,
        num_samples=asked.samples,
        **{name: value for name, value in given.items() if value is not None},
    )
