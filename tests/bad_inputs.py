"""Invalid inputs and the errors that they raise: the list behind the table of the docs.

`python -m tests.bad_inputs` prints docs/bad_inputs.md.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import vaells_jax as vj
from vaells_jax.baselines import iwae
from vaells_jax.baselines import training as baseline_training
from vaells_jax.baselines.base import BaselineParams
from vaells_jax.baselines.delta_vae import DeltaVae
from vaells_jax.baselines.hyperspherical import Hyperspherical
from vaells_jax.baselines.lie_vae import LieVae
from vaells_jax.baselines.likelihoods import Likelihood
from vaells_jax.baselines.manifold_autoencoder import ManifoldAutoencoder
from vaells_jax.baselines.r_vae import RVae
from vaells_jax.baselines.training import BaselineOptions
from vaells_jax.baselines.vae import Vae
from vaells_jax.baselines.vamp_prior import VampPrior
from vaells_jax.baselines.vdae import Vdae
from vaells_jax.data.batches import batch_indices, draw_anchors
from vaells_jax.data.flows import FLOWS
from vaells_jax.data.images import load_images
from vaells_jax.data.sprites import SpriteFactors, draw_sprites, render_sprites
from vaells_jax.data.symmetries import SYMMETRIES, bent, lifted, rotation_generators
from vaells_jax.data.synthetic import concentric_circles, swiss_roll
from vaells_jax.evaluation import figures, structure, turning
from vaells_jax.evaluation.alignment import affine_error
from vaells_jax.evaluation.classifier import (
    ClassifierOptions,
    classify,
    train_classifier,
)
from vaells_jax.evaluation.disentanglement import dci, mutual_information_gap, sap
from vaells_jax.evaluation.images import identity_preservation, sample_diversity
from vaells_jax.evaluation.importance import (
    ImportanceOptions,
    log_marginal_likelihood,
)
from vaells_jax.evaluation.interventions import beta_vae_score, factor_vae_score
from vaells_jax.evaluation.ranks import spearman
from vaells_jax.evaluation.reconstruction import reconstruction_errors
from vaells_jax.evaluation.spans import (
    algebra_score,
    circular_wasserstein,
    count_generators,
    extrapolation_error,
    span_angles,
    turned_angles,
)
from vaells_jax.evaluation.symmetry import coefficient_disagreement, lsbd
from vaells_jax.operators.matrix_exponential import expm_action
from vaells_jax.operators.structures import Basis, Blocks, Commuting, LowRank
from vaells_jax.runs import config as run_config
from vaells_jax.sharding import make_mesh
from vaells_jax.training.checkpoints import Checkpoints
from vaells_jax.training.optimizers import OptimizerOptions
from vaells_jax.training.schedule import Schedule

clone = jax.random.clone


class Case(NamedTuple):
    """A call that has to be refused.

    Attributes:
        where: The public function, class or flag.
        argument: What is bad about the call; the error has to name it.
        came: What is passed.
        call: Makes the call.
    """

    where: str
    argument: str
    came: str
    call: Callable[[], Any]


# Arrays of every kind that no function of numbers takes.
KINDS = {
    "None": lambda x: None,
    "text": lambda x: "abc",
    "a list": lambda x: np.asarray(x).tolist(),
    "int32": lambda x: jnp.asarray(x).astype(jnp.int32),
    "complex64": lambda x: jnp.asarray(x).astype(jnp.complex64),
    "float16": lambda x: jnp.asarray(x).astype(jnp.float16),
    "bool": lambda x: jnp.asarray(x) > 0,
}
SHAPES = {
    "an axis more": lambda x: x[None],
    "an axis less": lambda x: x[0],
    "a last axis one shorter": lambda x: x[..., :-1],
    "an empty last axis": lambda x: x[..., :0],
    "an empty first axis": lambda x: x[:0],
}


def spoilt(x, *without):
    """List what no function of such an array takes, but for some."""
    ways = {**KINDS, **SHAPES}
    return {came: ways[came](x) for came in ways if came not in without}


@functools.cache
def parts() -> dict[str, Any]:
    """Build the smallest good arguments."""
    draw = lambda i, *shape: jax.random.normal(jax.random.key(i), shape)
    networks = vj.dense_networks(3, 5, hidden=4)
    batch = vj.Batch(draw(1, 4, 5), jnp.array([0, 1, 1, 0]))
    model = vj.Model(networks)
    state = vj.init_state(
        jax.random.key(2), model=model, num_operators=2, inputs=batch.inputs,
        anchors=draw(3, 2, 3, 5),
    )  # fmt: skip
    return {
        "operators": draw(4, 2, 3, 3), "z": draw(5, 3), "pairs": draw(6, 4, 3),
        "coefficients": draw(7, 2), "times": draw(8, 4), "components": draw(9, 4),
        "networks": networks, "batch": batch, "model": model, "params": state.params,
        "A": draw(10, 3, 3),
        "vaells": vj.TrainedVaells(model, state.params, vj.LossWeights()),
        "vae": vj.TrainedBaseline(
            Vae(vj.dense_networks(6, 5, hidden=4), 3),
            BaselineParams(state.params.encoder, state.params.decoder, None),
        ),
    }  # fmt: skip


def of_arrays() -> dict[str, tuple[Callable, dict[str, Any], dict[str, tuple]]]:
    """List functions of arrays: the call, good arguments, and shapes that are fine."""
    p = parts()
    weights = {"residual_weight": 1.0, "l1_weight": 1.0}
    key = jax.random.key(0)
    numbers = {"coefficient_rate": 1.0, "noise_std": 0.1}
    posterior = functools.partial(vj.sample_posterior, **numbers)
    start = functools.partial(vj.init_state, model=p["model"], num_operators=2)
    longer = ("an axis more", "an axis less", "an empty first axis")
    return {
        "generator": (
            vj.generator,
            {"operators": p["operators"], "coefficients": p["coefficients"]},
            {"operators": ()},
        ),
        "transport": (
            vj.transport,
            {"operators": p["operators"], "coefficients": p["coefficients"],
             "z": p["z"]},
            {},
        ),
        "transport_path": (
            vj.transport_path,
            {"operators": p["operators"], "coefficients": p["coefficients"],
             "z": p["z"], "times": p["times"]},
            {"times": ("a last axis one shorter", "an empty last axis",
                       "an empty first axis")},
        ),
        "expm_action": (expm_action, {"A": p["A"], "z": p["z"]}, {}),
        "sample_posterior": (
            lambda **k: posterior(key, **k),
            {"operators": p["operators"], "latent_mean": p["z"]},
            {},
        ),
        "log_posterior": (
            functools.partial(vj.log_posterior, **weights),
            {"z": p["z"], "latent_mean": p["z"], "operators": p["operators"],
             "coefficients": p["coefficients"]},
            {},
        ),
        "log_posterior_integral": (
            functools.partial(vj.log_posterior_integral, **weights),
            {"z": p["z"], "latent_mean": p["z"], "operators": p["operators"]},
            {},
        ),
        "log_prior": (
            vj.log_prior, {"components": p["components"]},
            {"components": ("a last axis one shorter",)},
        ),
        "log_prior_closest": (
            vj.log_prior_closest, {"components": p["components"]},
            {"components": ("a last axis one shorter",)},
        ),
        "infer_coefficients": (
            lambda **k: vj.infer_coefficients(key, **k),
            {"operators": p["operators"], "start": p["pairs"], "end": p["pairs"]},
            {"start": (*longer, ""), "end": longer},
        ),
        "describe_operators": (
            vj.describe_operators,
            {"operators": p["params"].operators, "latents": p["pairs"]},
            dict.fromkeys(("operators", "latents"), ("an empty first axis",)),
        ),
        "fit_operators": (
            functools.partial(vj.fit_operators, key, num_operators=2),
            {"start": p["pairs"], "end": p["pairs"]},
            {},
        ),
        "encode": (
            functools.partial(vj.encode, p["params"], model=p["model"]),
            {"inputs": p["batch"].inputs},
            {"inputs": ("an empty first axis",)},
        ),
        "decode": (
            functools.partial(vj.decode, p["params"], model=p["model"]),
            {"latents": p["pairs"]},
            {"latents": longer},
        ),
        "init_state": (
            lambda **k: start(key, **k),
            {"inputs": p["batch"].inputs, "anchors": p["params"].anchors},
            {"inputs": ("an axis more", "a last axis one shorter")},
        ),
        "loss": (loss_of, {
            "inputs": p["batch"].inputs, "operators": p["params"].operators,
            "anchors": p["params"].anchors,
        }, {}),
    }  # fmt: skip


def loss_of(*, inputs=None, labels=None, key=0, **more):
    """Evaluate the loss with one part of its arguments changed."""
    p = parts()
    batch = p["batch"]._replace(inputs=inputs) if inputs is not None else p["batch"]
    batch = batch if labels is None else batch._replace(labels=labels)
    changed = {k: more.pop(k) for k in vj.Params._fields if k in more}
    changed = {k: v for k, v in changed.items() if v is not None}
    params = p["params"]._replace(**changed)
    given = {"model": p["model"], "weights": vj.LossWeights(), **more}
    key = jax.random.key(0) if isinstance(key, int) and key == 0 else key
    return vj.loss(params, key, batch, **given)


def array_cases():
    for where, (call, good, fine) in of_arrays().items():
        for argument, value in good.items():
            for came, spoil in {**KINDS, **SHAPES}.items():
                optional = argument == "anchors" or where == "loss"
                if came in fine.get(argument, ()) or (came == "None" and optional):
                    continue
                yield Case(
                    where, argument, came,
                    functools.partial(call, **{**good, argument: spoil(value)}),
                )  # fmt: skip


def label_cases():
    for came, labels in {
        "float32": jnp.zeros(4), "too few": jnp.zeros(3, int), "text": "abc",
        "a class that is not there": jnp.array([0, 1, 2, 0]),
        "a negative class": jnp.array([0, -1, 1, 0]),
        "an axis more": jnp.zeros((4, 1), int), "a list": [0, 1, 1, 0],
    }.items():  # fmt: skip
        yield Case("loss", "label", came, functools.partial(loss_of, labels=labels))


def key_cases():
    p = parts()
    keys = {
        "None": None, "a seed": 7, "text": "key",
        "two keys": jax.random.split(jax.random.key(0)),
        "a raw key": jax.random.PRNGKey(0), "a float": 0.5,
    }  # fmt: skip
    calls = {
        "sample_posterior": lambda key: vj.sample_posterior(
            key, p["operators"], p["z"], coefficient_rate=1.0, noise_std=0.1
        ),
        "infer_coefficients": lambda key: vj.infer_coefficients(
            key, p["operators"], p["z"], p["z"]
        ),
        "fit_operators": lambda key: vj.fit_operators(
            key, p["pairs"], p["pairs"], num_operators=2
        ),
        "init_state": lambda key: vj.init_state(
            key, model=p["model"], num_operators=2, inputs=p["batch"].inputs,
            anchors=None,
        ),
        "loss": lambda key: loss_of(key=key),
    }  # fmt: skip
    for where, call in calls.items():
        for came, key in keys.items():
            yield Case(where, "key", came, functools.partial(call, key))


NAN, INF = math.nan, math.inf
NUMBERS = {"weight": (-1.0, NAN, INF, "1", None), "rate": (0.0, -1.0, NAN, INF, "1")}
COUNTS = (0, -1, 1.5, "2", None, True)


def settings() -> dict[str, tuple[Callable, dict[str, tuple]]]:
    """List constructors and the values of each field that have no meaning."""
    p = parts()
    sample = functools.partial(
        vj.sample_posterior, jax.random.key(0), p["operators"], p["z"]
    )
    density = functools.partial(
        vj.log_posterior, p["z"], p["z"], p["operators"], p["coefficients"]
    )
    integral = functools.partial(
        vj.log_posterior_integral, p["z"], p["z"], p["operators"]
    )
    start = functools.partial(
        vj.init_state, jax.random.key(0), inputs=p["batch"].inputs, anchors=None
    )
    step = functools.partial(vj.make_train_step, optimizer=OptimizerOptions())
    given = {"model": p["model"], "weights": vj.LossWeights(), "schedule": Schedule(9)}
    weight, rate = NUMBERS["weight"], NUMBERS["rate"]
    weights = vj.LossWeights.__dataclass_fields__
    key, rngs = jax.random.key(0), nnx.Rngs(0)
    return {
        "sample_posterior": (
            lambda **k: sample(**{"coefficient_rate": 1.0, "noise_std": 0.1, **k}),
            {"coefficient_rate": (*rate, np.float32(-1)), "noise_std": weight},
        ),
        "log_posterior": (
            lambda **k: density(**{"residual_weight": 1.0, "l1_weight": 1.0, **k}),
            {"residual_weight": weight, "l1_weight": weight},
        ),
        "log_posterior_integral": (
            lambda **k: integral(**{"residual_weight": 1.0, "l1_weight": 1.0, **k}),
            {"residual_weight": rate, "l1_weight": rate},
        ),
        "InferenceOptions": (vj.InferenceOptions, {
            "solver": ("newton", None, 1, ["lbfgs"]), "search": ("wide", None),
            "l1_weight": (*weight, True), "restarts": COUNTS, "max_iterations": COUNTS,
            "initial_range": ((1.0, 0.0), (0.0,), (0.0, INF), 1.0, None, "ab"),
            "restart_shift": (NAN, INF, "1", None), "differentiable": ("yes", 1, None),
        }),
        "LossWeights": (
            vj.LossWeights,
            {**dict.fromkeys(weights, weight), "posterior_l1": (*weight, 0.0)},
        ),
        "Model": (functools.partial(vj.Model, p["networks"]), {
            "num_samples": COUNTS, "noise_std": weight, "closest_anchor": ("yes", None),
            "posterior_search": (None, "global"), "prior_search": (None, {}),
            "density": ("sum", None, "integral"),  # of operators that are not planes
        }),
        "dense_networks": (
            lambda **k: vj.dense_networks(**{"latent_size": 2, "input_size": 3, **k}),
            dict.fromkeys(("latent_size", "input_size", "hidden"), COUNTS),
        ),
        "convolutional_networks": (
            lambda **k: vj.convolutional_networks(**{"latent_size": 2, **k}),
            {"latent_size": COUNTS,
             "shape": ((7, 28), (28,), (28, 28, 0), (28, 28, 3, 1), 28, [28, 28])},
        ),
        "make_networks": (
            lambda **k: vj.make_networks(
                **{"name": "convolutional", "features": 2, "shape": (28, 28), **k}
            ),
            {"name": ("conv", None, 3), "features": COUNTS,
             "shape": ((5,), (0, 28), [28, 28], None)},
        ),
        "standardised": (
            lambda **k: vj.standardised(
                **{"networks": p["networks"], "mean": 0.0, "scale": 1.0, **k}
            ),
            {"networks": (None, (1, 2)), "mean": (NAN, INF, "1", None, ((0.0,),), ()),
             "scale": (0.0, *weight, (1.0, 0.0))},
        ),
        "from_nnx": (vj.from_nnx, {"make": (None, 3, nnx.Linear(2, 3, rngs=rngs))}),
        "from_equinox": (vj.from_equinox, {"make": (None, 3, eqx.nn.Identity())}),
        "init_state": (
            lambda **k: start(**{"model": p["model"], "num_operators": 2, **k}),
            {"num_operators": COUNTS, "operator_std": weight, "model": (None, "m"),
             "optimizer": (None, 1e-3), "latent_scale": rate},
        ),
        "make_train_step": (
            lambda **k: step(**{**given, "phase": "joint", **k}),
            {"phase": ("training", None, 3), "model": (None, p["networks"]),
             "weights": (None, {"prior_l1": 1.0}), "schedule": (None, 100),
             "optimizer": (None, "adam"), "network_transform": (1e-3, "adam"),
             "anchor_transform": (1e-3, "adam")},
        ),
        "loss": (loss_of, {
            "model": (p["networks"], "m"), "weights": (1.0, {}),
            "latent_scale": (*rate, jnp.float32(0), jnp.ones(3, jnp.float32)),
        }),
        "Schedule": (
            lambda **k: Schedule(**{"steps": 10, **k}),
            {"steps": (-1, 1.5, "9", None, NAN), "warm_up_steps": (-1, 11, 0.5),
             "network_steps": (-1, 0, 2.0), "operator_steps": (-1, 0, "2"),
             "network_prior_factor": weight,
             "operator_reconstruction_factor": weight},
        ),
        "OptimizerOptions": (OptimizerOptions, {
            **dict.fromkeys(OptimizerOptions.__dataclass_fields__, weight),
            "beta1": (1.0, -0.1, NAN, "0.5"), "beta2": (1.0, 2.0, INF, None),
            "operator_rate": (*weight, 0.1),
        }),
        "PairOptions": (vj.PairOptions, {
            **dict.fromkeys(("steps", "batch_size", "restarts"), COUNTS),
            **dict.fromkeys(("l1_weight", "norm_weight", "operator_std"), weight),
            "rate": (*weight, 11.0), "max_rate": (*weight, 0.1),
        }),
        "fit_operators, settings": (
            lambda **k: vj.fit_operators(
                jax.random.key(0), p["pairs"], p["pairs"], **{"num_operators": 2, **k}
            ),
            {"num_operators": COUNTS, "options": (None, {}, vj.InferenceOptions())},
        ),
        "ImportanceOptions": (
            lambda **k: ImportanceOptions(
                **{"noise_std": 0.1, "coefficient_rate": 1.0, **k}
            ),
            {"noise_std": rate, "coefficient_rate": rate, "pixel_std": rate,
             "num_samples": COUNTS, "restarts": COUNTS, "label": ("unknown", None)},
        ),
        "log_likelihood": (
            lambda **k: vj.log_likelihood(
                p["params"], key, p["batch"], model=p["model"], **k
            ),
            {"anchors": ("near", None)},
        ),
        "swiss_roll": (
            functools.partial(swiss_roll, key),
            dict.fromkeys(("num_train", "num_test", "num_anchors"), COUNTS),
        ),
        "concentric_circles": (
            functools.partial(concentric_circles, key), {"num_anchors": COUNTS}
        ),
        "batch_indices": (
            lambda **k: batch_indices(
                key, 0, **{"num_examples": 10, "batch_size": 2, **k}
            ),
            {"batch_size": (0, -1, 11, 1.5, "2", None)},
        ),
        "draw_anchors": (
            lambda **k: draw_anchors(
                key, np.zeros((6, 2)), np.array([0, 1] * 3),
                **{"num_classes": 2, "per_class": 2, **k},
            ),
            {"per_class": (0, -1, 1.5, None), "num_classes": (0, -1, "2")},
        ),
        "load_images": (
            lambda **k: load_images(**k), {"name": ("minst", "", "MNIST")}
        ),
        "Checkpoints": (
            lambda **k: Checkpoints("unused", **k), {"keep": (0, -1, 1.5, None)}
        ),
        "make_mesh": (make_mesh, {"devices": ([], jax.devices()[:1] * 2)}),
    }  # fmt: skip


def trained() -> dict[str, tuple[Callable, dict[str, Any]]]:
    """List methods of trained models, and what is trained and read by one call."""
    p, key = parts(), jax.random.key(0)
    x, z = p["batch"].inputs, p["pairs"]
    inputs, points = spoilt(x), spoilt(z)
    wide = ("an axis more", "an axis less", "an empty first axis")
    keys = {"None": None, "a seed": 7, "two keys": jax.random.split(key)}
    listed, found = {}, {}
    for name in ("vaells", "vae"):
        of, kind = p[name], type(p[name]).__name__
        samples = {"num_samples": COUNTS, "key": {k: keys[k] for k in list(keys)[1:]}}
        listed |= {
            f"{kind}.encode": (lambda of=of, **k: of.encode(**k), {"inputs": inputs}),
            f"{kind}.reconstruct": (
                lambda of=of, **k: of.reconstruct(**k), {"inputs": inputs}
            ),
            f"{kind}.decode": (
                lambda of=of, **k: of.decode(**k), {"latents": spoilt(z, *wide)}
            ),
            f"{kind}.sample_posterior": (
                lambda of=of, **k: of.sample_posterior(
                    **{"key": key, "inputs": x, **k}
                ),
                {"key": keys, "inputs": inputs, "num_samples": COUNTS},
            ),
            f"{kind}.sample_prior": (
                lambda of=of, **k: of.sample_prior(**{"key": key, "count": 2, **k}),
                {"key": keys, "count": COUNTS, "label": (-1, 2, 0.5, "a", True)},
            ),
            f"{kind}.join": (
                lambda of=of, **k: of.join(
                    **{"starts": z, "ends": z, "times": jnp.ones(2), **k}
                ),
                {"starts": points, "ends": points, "times": (None, "ab", 0.5)},
            ),
            f"{kind}.interpolate": (
                lambda of=of, **k: of.interpolate(**{"first": x, "last": x, **k}),
                {"first": inputs, "last": inputs, "steps": (1, *COUNTS)},
            ),
            f"{kind}.log_marginal_likelihood": (
                lambda of=of, **k: of.log_marginal_likelihood(**{"inputs": x, **k}),
                {"inputs": inputs, **samples},
            ),
            f"{kind}.export": (lambda of=of, **k: of.export(**k), {"path": (None, 3)}),
        }  # fmt: skip
    of, factor = p["vaells"], NUMBERS["weight"]
    found["TrainedVaells"] = (
        lambda **k: vj.TrainedVaells(
            **{"model": p["model"], "params": p["params"],
               "weights": vj.LossWeights(), **k}
        ),
        {"model": (None, "m"), "params": (None, {}), "weights": (None, 1.0),
         "rate_factor": (0.0, *factor), "noise_factor": factor},
    )  # fmt: skip
    found["TrainedBaseline"] = (
        lambda **k: vj.TrainedBaseline(
            **{"model": p["vae"].model, "params": p["vae"].params, **k}
        ),
        {"model": (None, "m"), "params": (None, {}), "spread": (0.0, *factor)},
    )
    found["TrainedVaells.search"] = (
        lambda **k: of.search(**{"starts": z, "ends": z, **k}),
        {"starts": points, "ends": points, "operator": (-1, 2, 0.5, "a", True)},
    )
    found["TrainedVaells.path"] = (
        lambda **k: of.path(
            **{"inputs": x, "operator": 0, "coefficients": np.ones(2), **k}
        ),
        {"inputs": inputs, "operator": (-1, 2, 0.5, "a", True, None),
         "coefficients": (None, "ab", 0.5)},
    )  # fmt: skip
    labels = {
        "float32": jnp.zeros(4), "too few": jnp.zeros(3, int),
        "a class that is not there": jnp.array([0, 1, 2, 0]),
        "a negative class": jnp.array([0, -1, 1, 0]),
    }  # fmt: skip
    found["TrainedVaells.log_likelihood"] = (
        lambda **k: of.log_likelihood(**{"inputs": x, **k}),
        {"inputs": inputs, "labels": labels, "num_samples": COUNTS},
    )
    found["augment"] = (
        lambda **k: vj.augment(**{
            "run": of, "key": clone(key), "inputs": x, "n": 6,
            "labels": p["batch"].labels,
            **k,
        }),
        {"run": (None, 3, p["model"]), "key": keys, "inputs": inputs, "n": COUNTS,
         "labels": {"None": None, "a list": [0, 1, 1, 0], "float32": jnp.zeros(4),
                    "too few": jnp.zeros(3, int), "one-hot": jnp.eye(4, dtype=int)},
         "scale": factor, "steps": COUNTS,
         "classify": {"an array": np.zeros(6), "a function of too few classes":
                      lambda found: np.zeros(5, int)}},
    )  # fmt: skip
    data = np.random.default_rng(0).random((9, 3))
    fitted = lambda **k: vj.fit(
        **{"key": key, "state": vj.TrainState(0, None, None),
           "next_batch": lambda step: None, "schedule": Schedule(0),
           "make_step": lambda phase: None, **k}
    )  # fmt: skip
    found |= {
        "fit": (fitted, {
            "key": keys, "state": (None, {}), "next_batch": (None, [1]),
            "schedule": (None, 100), "make_step": (None, "step"), "save_every": COUNTS,
        }),
        "choose_scale": (
            lambda **k: vj.choose_scale(
                **{"next_batch": lambda step: None, "model": p["model"], **k}
            ),
            {"next_batch": (None, 3), "model": (None, "m")},
        ),
        "train": (
            lambda **k: vj.train(**{"inputs": data, "workdir": "unused", **k}),
            {"inputs": {
                "None": None, "text": "abc", "integers": data.astype(int),
                "one axis": data[0], "none": data[:0], "NaN": data * NAN,
                "images of 0..255": np.full((9, 8, 8), 255.0), "words": ["a", "b"],
             },
             "labels": {"too few": [0, 1], "floats": np.zeros(9), "one": 3},
             "workdir": (None, 3), "networks": (3, "dense"),
             "anchors": {"text": "abc", "one axis": np.ones(3), "none": []},
             "model": ("vea", "", None, 3), "seed": (-1, 0.5, None, 2**31, True),
             "settings": ([1], "steps", {"modle.latent_size": 3}, {"seed.x": 1}),
            },
        ),
        "train, settings": (
            lambda latent_size: vj.train(
                data, workdir="unused", settings={"model.latent_size": latent_size}
            ),
            {"latent_size": COUNTS},
        ),
        "load_run": (
            lambda **k: vj.load_run(**{"path": "nowhere", **k}),
            {"path": (None, 3), "networks": (3, "dense")},
        ),
        "load_published": (
            lambda **k: vj.load_published(**{"path": "nowhere.pt", **k}),
            {"path": (None, 3), "num_classes": COUNTS[:4] + (True,)},
        ),
        "from_arrays": (
            lambda **k: vj.from_arrays(**{"inputs": data, "key": clone(key), **k}),
            {"inputs": {"None": None, "text": "abc", "integers": data.astype(int),
                        "NaN": data * NAN},
             "labels": {"too few": [0, 1], "floats": np.zeros(9)},
             "key": keys, "test_fraction": (1.0, -0.1, NAN, "1")},
        ),
        "spread_anchors": (
            lambda **k: vj.spread_anchors(
                key, data, np.arange(9) % 3,
                **{"num_classes": 3, "per_class": 2, **k},
            ),
            {"num_classes": (0, 1.5, True, "3"), "per_class": COUNTS},
        ),
    }  # fmt: skip
    return {**listed, **found}


def measures() -> dict[str, tuple[Callable, dict[str, Any]]]:
    """List baselines, measures and figures."""
    p, key = parts(), jax.random.key(0)
    keys = {"None": None, "a seed": 7, "two keys": jax.random.split(key)}
    weight, rate = NUMBERS["weight"], NUMBERS["rate"]
    networks, x = p["vae"].model.networks, p["batch"].inputs
    bernoulli = Vae(networks, 3, Likelihood("bernoulli"))
    rates = dict.fromkeys(BaselineOptions.__dataclass_fields__, weight)
    images, ones = np.full((4, 8, 8), 0.5, np.float32), np.ones
    curve, same = ones((1, 9, 2)).cumsum(1), lambda *a: a[0]
    four = {"encode": same, "decode": same, "path": same, "turn": same}
    functions = dict.fromkeys(four, (None, 3))
    flat = {"None": None, "text": "abc", "one axis": ones(3), "none": ones((0, 2))}
    score = lambda **k: structure.path_score(**{
        "starts": ones((3, 2)), "ends": ones((3, 2)), "labels": np.zeros(3, int),
        "encode": same, "decode": same, "path": same, "curves": curve, **k,
    })  # fmt: skip
    learn = lambda **k: train_classifier(
        **{"key": key, "images": images, "labels": np.arange(4), **k}
    )
    pictures = {
        "None": None, "text": "abc", "none": images[:0], "bytes": np.uint8(images),
        "0..255": 255 * images, "-1..1": 2 * images - 2, "NaN": images * NAN,
        "an axis less": images[0], "an axis more": images[None],
    }  # fmt: skip
    start = lambda **k: baseline_training.init_state(
        **{"key": clone(key), "inputs": x, "model": p["vae"].model, **k}
    )
    narrow = vj.Networks(networks.encoder, vj.dense_networks(3, 1, hidden=4).decoder)
    weigh = lambda **k: iwae.log_likelihood(
        **{"params": p["vae"].params, "key": key, "inputs": x, "num_samples": 2,
           "model": p["vae"].model, **k}
    )  # fmt: skip
    return {
        "Likelihood": (Likelihood, {"kind": ("poisson", None), "std": rate}),
        "Likelihood.log_prob": (
            lambda **k: Likelihood("bernoulli").log_prob(
                **{"inputs": ones(3), "outputs": ones(3), **k}
            ),
            {"inputs": {"0..255": 255.0 * ones(3), "-1..1": -ones(3),
                        "NaN": NAN * ones(3), "another shape": ones((3, 1)),
                        "one number": ones(1)}},
        ),
        "Vae": (
            lambda **k: Vae(**{"networks": networks, "latent_size": 3, **k}),
            {"networks": (None, "dense"), "latent_size": COUNTS,
             "likelihood": (None, "bernoulli"), "beta": weight},
        ),
        "Hyperspherical": (
            lambda **k: Hyperspherical(networks, **k), {"latent_size": (1, *COUNTS)}
        ),
        "DeltaVae": (
            lambda **k: DeltaVae(networks, **{"latent_size": 3, **k}),
            {"latent_size": (1, *COUNTS), "manifold": ("bottle", None),
             "steps": COUNTS},
        ),
        "DeltaVae, torus": (
            lambda **k: DeltaVae(networks, **k, manifold="torus"), {"latent_size": (3,)}
        ),
        "DeltaVae, rotations": (
            lambda **k: DeltaVae(networks, **k, manifold="rotations"),
            {"latent_size": (9,)},
        ),
        "LieVae": (
            lambda **k: LieVae(networks, **{"latent_size": 3, **k}),
            {"latent_size": (1, *COUNTS), "group": ("SE3", None), "degrees": COUNTS},
        ),
        "LieVae, rotations": (
            lambda **k: LieVae(networks, **k, group="SO3"), {"latent_size": (5,)}
        ),
        "ManifoldAutoencoder": (
            functools.partial(ManifoldAutoencoder, networks, 3),
            {"num_operators": COUNTS, "neighbours": COUNTS, "num_examples": COUNTS,
             "l1_weight": (-1.0, NAN), "norm_weight": (-1.0, "1"),
             "transport_weight": (INF, None)},
        ),
        "Blocks": (Blocks, {"size": (4, *COUNTS), "latent_size": (3, *COUNTS)}),
        "Commuting": (
            Commuting, {"scaling": (1, "yes"), "learned_basis": (None, 0)}
        ),
        "LowRank": (LowRank, {"rank": COUNTS}),
        "Basis": (
            Basis, {"generators": ((), [[1.0]], [[[1.0, NAN], [0.0, 1.0]]], [[[1, 2]]])}
        ),
        "RVae": (
            lambda **k: RVae(networks, **{"latent_size": 3, **k}),
            {"latent_size": COUNTS, "num_centres": COUNTS,
             "likelihood": (Likelihood("bernoulli"), None)},
        ),
        "Vdae": (
            lambda **k: Vdae(networks, **{"latent_size": 3, **k}),
            {"latent_size": COUNTS, "num_examples": (4, *COUNTS),
             "neighbours": (1_001, *COUNTS), "steps": COUNTS},
        ),
        "VampPrior": (
            lambda **k: VampPrior(networks, 3, **k),
            {"num_components": COUNTS, "pseudo_inputs": ("noise", None)},
        ),
        "BaselineOptions": (BaselineOptions, {
            **rates, "beta1": (1.0, -0.1, NAN, "0.5"),
            "ramp_steps": (-1, 0.5, "1", None, True),
            "normalise_gradients": (1, "yes", None),
        }),
        "baselines' init_state": (start, {
            "key": keys, "model": {"None": None, "a Model": p["model"]},
            "inputs": spoilt(x), "options": (None, 1e-3),
        }),
        "baselines' init_state, networks": (lambda **k: start(model=[*k.values()][0]), {
            "encoder": {"of other features": Vae(networks, 2)},
            "decoder": {"of one feature": Vae(narrow, 3)},
            "inputs": {"outside a Bernoulli's [0, 1]": bernoulli},
        }),
        "baselines' make_step": (
            lambda **k: baseline_training.make_step(
                **{"model": p["vae"].model, "options": BaselineOptions(), **k}
            ),
            {"model": (None, "vae"), "options": (None, 1e-3)},
        ),
        "baselines' log_likelihood": (weigh, {
            "params": (None, {}), "key": keys, "num_samples": COUNTS,
            "inputs": spoilt(x), "model": (None, "vae"),
        }),
        "log_marginal_likelihood": (
            lambda **k: log_marginal_likelihood(**{
                "params": p["params"], "key": key, "batch": p["batch"],
                "model": p["model"], "options": ImportanceOptions(1.0, 1.0), **k,
            }),
            {"params": (None, {}), "key": keys, "batch": (None, {}),
             "model": (None, "m"), "options": (None, {})},
        ),
        "reconstruction_errors": (
            lambda **k: reconstruction_errors(**{
                "key": key, "params": p["params"], "inputs": x, "model": p["model"],
                "weights": vj.LossWeights(), **k,
            }),
            {"key": keys, "params": (None, {}), "model": (None, "m"),
             "inputs": spoilt(x), "weights": (None, {})},
        ),
        "ClassifierOptions": (
            ClassifierOptions, {"steps": COUNTS, "batch_size": COUNTS, "rate": weight}
        ),
        "train_classifier": (learn, {
            "key": keys, "images": pictures, "options": (None, 3), "labels": {
                "None": None, "a list": [0, 1, 2, 3], "floats": ones(4),
                "too few": np.arange(3), "one-hot": np.eye(4, dtype=int),
                "a negative class": np.arange(4) - 1,
                "a class that is not there": np.arange(4) + 9,
            },
        }),
        "classify": (functools.partial(classify, None), {"images": pictures}),
        "identity_preservation": (
            lambda **k: identity_preservation(**{
                "views": ones((2, 3, 4, 4)), "labels": np.arange(2), "classify": same,
                **k,
            }),
            {"views": flat, "labels": (None, 3, [1]), "classify": (None, 3)},
        ),
        "sample_diversity": (sample_diversity, {"views": flat}),
        "spectrum": (structure.spectrum, {"operators": {
            **flat, "not square": ones((2, 3, 4)),
        }}),
        "relative_residuals": (
            lambda **k: structure.relative_residuals(
                **{"targets": ones((3, 2)), "reached": ones((3, 4, 2)), **k}
            ),
            {"targets": flat, "reached": {**flat, "another size": ones((3, 4, 1))}},
        ),
        "locate": (
            lambda **k: structure.locate(
                **{"points": ones((3, 2)), "curves": curve, **k}
            ),
            {"points": flat, "curves": {**flat, "another size": curve[..., :1]}},
        ),
        "path_score": (score, {
            "starts": flat, "ends": {**flat, "too few": ones((1, 2))},
            "labels": {"too few": [0], "a class that is not there": [0, 0, 1]},
            "curves": flat, "encode": (None,), "decode": (None,), "path": (None,),
            "num_points": (1, *COUNTS),
        }),
        "prior_score": (
            lambda **k: structure.prior_score(
                **{"samples": ones((3, 2)), "curves": curve, "tolerance": 0.1, **k}
            ),
            {"curves": flat, "tolerance": weight, "arcs": COUNTS},
        ),
        "class_separation": (
            lambda **k: structure.class_separation(**{
                "train": ones((3, 2)), "train_labels": np.arange(3),
                "test": ones((2, 2)), "test_labels": np.arange(2), **k,
            }),
            {"train": flat, "train_labels": (None, [1]), "test": flat,
             "test_labels": (None, [1])},
        ),
        "radius_spread": (structure.radius_spread, {
            "latents": {**flat, "no plane": ones((4, 3))},
        }),
        "affine_error": (
            lambda **k: affine_error(
                **{"latents": ones((3, 2)), "truth": ones((3, 2)), **k}
            ),
            {"latents": flat, "truth": {**flat, "too few": ones((1, 2))}},
        ),
        "spearman": (
            lambda **k: spearman(**{"first": ones(3), "second": ones(3), **k}),
            {"first": (None, "abc", [1.0]), "second": (None, "abc", [1.0])},
        ),
        "frequency_ratios": (turning.frequency_ratios, {
            "operator": {**flat, "not square": ones((2, 3))},
        }),
        "quarter_turn": (
            lambda **k: turning.quarter_turn(
                **{"images": images, "longest": 1.0, **four, **k}
            ),
            {"images": flat, "longest": rate, **functions, "num_candidates": COUNTS},
        ),
        "turn_score": (
            lambda **k: turning.turn_score(
                **{"images": images, "quarter": 1.0, **four, **k}
            ),
            {"images": flat, "quarter": (NAN, INF, "1"), **functions,
             "num_points": COUNTS},
        ),
        **{
            f"{kind.__name__}": (
                functools.partial(kind, **given), {name: COUNTS for name in counts},
            )
            for kind, counts, given in (
                (run_config.DataConfig, ("batch_size", "anchors_per_class"), {}),
                (run_config.ModelConfig, ("latent_size", "num_operators"), {}),
                (run_config.LogConfig, ("log_every", "save_every"), {}),
                (run_config.EvaluationConfig, ("samples", "surrogate_samples"), {}),
            )
        },
        **drawn(),
        **disentangled(),
        **spanned(),
    }  # fmt: skip


def disentangled() -> dict[str, tuple[Callable, dict[str, Any]]]:
    """List measures of disentanglement."""
    key = jax.random.key(0)
    keys = {"None": None, "a seed": 7, "two keys": jax.random.split(key)}
    factors = np.stack(np.meshgrid(range(3), range(4), range(2)), -1).reshape(-1, 3)
    good = {"codes": factors.astype(float), "factors": factors}
    angles = 2.0 * np.pi * factors[::2, :2] / [3.0, 4.0]
    arrays = lambda x: {
        "None": None, "text": "abc", "a list": x.tolist(), "complex64": x + 0j,
        "bool": x > 0, "one axis": x[:, 0], "an axis more": x[None], "none": x[:0],
        "too few": x[:-1], "NaN": x * NAN, "infinite": x + INF,
    }  # fmt: skip
    constant = {"a factor of one value": 0 * factors}
    codes = arrays(good["codes"])
    values = {**arrays(factors), **constant}
    floats = {**values, "floats": good["codes"]}
    alone = {
        "no value twice": np.arange(24)[:, None] + factors, "one": factors[:, :1],
    }  # fmt: skip
    still = {"no code that varies": np.ones((24, 2))}
    one = {"one": good["codes"][:, :1]}
    keyed = lambda function: lambda **k: function(**{"key": clone(key), **good, **k})
    fixing = {"codes": {**codes, **still}, "factors": {**floats, **alone}, "key": keys}
    return {
        "mutual_information_gap": (
            lambda **k: mutual_information_gap(**{**good, **k}),
            {"codes": {**codes, **one}, "factors": floats, "bins": (1, *COUNTS)},
        ),
        "sap": (
            lambda **k: sap(**{**good, **k}),
            {"codes": {**codes, **one}, "factors": values},
        ),
        "dci": (keyed(dci), {
            "key": keys, "codes": {**codes, **one}, "num_trees": COUNTS,
            "factors": {**values, "one": factors[:, :1]},
            "test_share": (0.0, 1.0, 0.01, 0.99, -0.5, NAN, INF, "1", None),
        }),
        "factor_vae_score": (
            keyed(factor_vae_score),
            {**fixing, "num_votes": (2, *COUNTS), "batch_size": (1, *COUNTS)},
        ),
        "beta_vae_score": (
            keyed(beta_vae_score),
            {**fixing, "num_points": (2, *COUNTS), "num_pairs": COUNTS},
        ),
        "coefficient_disagreement": (
            lambda **k: coefficient_disagreement(**{
                "starts": np.ones((3, 2)), "ends": np.ones((3, 4, 2)),
                "operators": np.ones((1, 2, 2)), "search": lambda *_: None, **k,
            }),
            {"starts": {**arrays(np.ones((3, 2))), "few": np.ones((2, 2))},
             "ends": {**arrays(np.ones((3, 4, 2))), "one turn": np.ones((3, 1, 2))},
             "operators": arrays(np.ones((1, 2, 2))), "search": (None, 1)},
        ),
        "lsbd": (
            lambda **k: lsbd(**{"codes": angles, "angles": angles, **k}),
            {"codes": arrays(angles), "max_frequency": COUNTS, "angles": {
                **arrays(angles), "no grid": np.arange(24.0).reshape(12, 2),
                "two values": np.pi * factors[:12, 2:],
            }},
        ),
    }  # fmt: skip


def spanned() -> dict[str, tuple[Callable, dict[str, Any]]]:
    """List known symmetries, flows and sprites, and scores of learned operators."""
    key = jax.random.key(0)
    A, angles = np.eye(3)[:2, :, None] * np.ones(3), np.arange(4.0)
    so2, flow, points = SYMMETRIES["so2"], FLOWS["pendulum"], np.ones((4, 2))
    arrays = lambda x: {
        "None": None, "text": "abc", "a list": x.tolist(), "complex64": x + 0j,
        "bool": x > 0, "an axis less": x[0], "an axis more": x[None], "none": x[:0],
        "NaN": x * NAN,
    }  # fmt: skip
    paths = {
        "operators": A, "coefficients": np.ones((5, 2)), "start": np.ones((5, 3)),
        "truth": np.ones((5, 3)),
    }  # fmt: skip
    sprites = SpriteFactors(np.zeros(4, int), *np.full((4, 4), 0.5))
    spans = (0.1, (0.1,), (0.2, 0.1), (0.1, INF), ("a", 1.0), None)
    return {
        "render_sprites": (
            lambda **k: render_sprites(
                k.pop("factors", sprites._replace(**{
                    name: k.pop(name) for name in sprites._fields if name in k
                })), **{"size": 8, **k},
            ),
            {"factors": {"None": None, "a plain tuple": tuple(sprites)},
             "size": (3, *COUNTS),
             "shape": {**arrays(sprites.shape), "floats": sprites.scale,
                       "too few": sprites.shape[:3], "none such": sprites.shape + 4,
                       "negative": sprites.shape - 1},
             "scale": {**arrays(sprites.scale), "zeros": 0.0 * sprites.scale,
                       "too few": sprites.scale[:3]},
             **{name: {**arrays(sprites.scale), "too few": sprites.scale[:3]}
                for name in ("angle", "x", "y")}},
        ),
        "draw_sprites": (
            lambda **k: draw_sprites(**{"key": clone(key), "count": 3, **k}),
            {"key": {
                "None": None, "a seed": 7, "two keys": jax.random.split(clone(key)),
             }, "count": COUNTS, "size": (3, *COUNTS), "angle": spans, "place": spans,
             "shapes": ((), ("disc",), "heart", None), "scale": ((0.0, 1.0), *spans)},
        ),
        "Symmetry.pairs": (
            lambda **k: so2.pairs(**{"key": clone(key), "count": 3, **k}),
            {"key": {"None": None, "a seed": 7, "two keys": jax.random.split(key)},
             "count": COUNTS, "noise_std": NUMBERS["weight"],
             "stretch": NUMBERS["rate"]},
        ),
        "Flow.energy": (
            lambda **k: flow.energy(**{"points": points, **k}),
            {"points": arrays(points)},
        ),
        "Flow.move": (
            lambda **k: flow.move(**{"points": points, "times": angles, **k}),
            {"points": {**arrays(points), "an odd size": A[0]},
             "times": {**arrays(angles), "too few": angles[:3]}},
        ),
        "Flow.pairs": (
            lambda **k: flow.pairs(**{"key": clone(key), "count": 3, **k}),
            {"count": COUNTS, "key": {
                "None": None, "a seed": 7, "two keys": jax.random.split(clone(key)),
            }},
        ),
        "lifted": (
            lambda **k: lifted(**{"symmetry": so2, **k}),
            {"symmetry": {"None": None, "lifted": SYMMETRIES["so2_lifted"]},
             "size": (1, *COUNTS), "seed": (-1, 1.5, None)},
        ),
        "bent": (
            lambda **k: bent(**{"symmetry": SYMMETRIES["so2_lifted"], **k}),
            {"symmetry": {"None": None, "odd": SYMMETRIES["so3"]},
             "layers": COUNTS, "seed": (-1, 1.5, None)},
        ),
        "rotation_generators": (rotation_generators, {"size": (1, *COUNTS)}),
        "span_angles": (
            lambda **k: span_angles(**{"operators": A, "generators": A, **k}),
            {"operators": {**arrays(A), "too few": A[:1]},
             "generators": {**arrays(A), "dependent": np.stack([A[0], A[0]])}},
        ),
        "count_generators": (
            lambda **k: count_generators(**{"operators": A, **k}),
            {"operators": arrays(A), "share": (1.0, *NUMBERS["rate"])},
        ),
        "algebra_score": (
            lambda **k: algebra_score(**{"operators": A, "latents": A[0], **k}),
            {"operators": {**arrays(A), "zeros": 0 * A}, "latents": arrays(A[0])},
        ),
        "circular_wasserstein": (
            lambda **k: circular_wasserstein(
                **{"first": angles, "second": angles, **k}
            ),
            {"first": arrays(angles), "second": arrays(angles)},
        ),
        "turned_angles": (
            turned_angles,
            {"moves": {**arrays(np.ones((4, 2, 2))), "of space": np.ones((4, 3, 3))}},
        ),
        "extrapolation_error": (
            lambda **k: extrapolation_error(**{**paths, **k}),
            {**{name: arrays(value) for name, value in paths.items()},
             "truth": {**arrays(paths["truth"]), "zeros": np.zeros((5, 3))},
             "stretch": NUMBERS["rate"]},
        ),
    }  # fmt: skip


def drawn() -> dict[str, tuple[Callable, dict[str, Any]]]:
    """List figures."""
    ones, title = np.ones, "title"
    shapes = {"no axis": ones(()), "none": ones((0, 4, 4)), "another": ones((3, 5, 4))}
    return {
        "training_curves": (
            lambda **k: figures.training_curves(ones(3), title=title, **k),
            {"series": ({}, {"loss": [1.0]})},
        ),
        "latent_map": (
            lambda **k: figures.latent_map(
                **{"latents": np.ones((3, 4)), **k}, title=title
            ),
            {"latents": (np.ones((3, 0)), np.ones(3)), "labels": (np.zeros(2, int),),
             "anchors": (np.ones((2, 3)),)},
        ),
        "compared_curves": (
            functools.partial(figures.compared_curves, title=title), {"curves": ({},)}
        ),
        "operator_magnitudes": (
            lambda **k: figures.operator_magnitudes(
                **{"steps": ones(3), "norms": ones((3, 2)), "title": title, **k}
            ),
            {"steps": (3, [1.0]), "norms": (3, [1.0])},
        ),
        "operator_algebra": (
            functools.partial(figures.operator_algebra, title=title),
            {"found": (None, "algebra")},
        ),
        "operator_eigenvalues": (
            functools.partial(figures.operator_eigenvalues, title=title),
            {"operators": {"no matrices": ones(3), "not square": ones((2, 3, 4))}},
        ),
        "reconstruction_grid": (
            lambda **k: figures.reconstruction_grid(
                **{"inputs": ones((3, 4, 4)), "outputs": ones((3, 4, 4)), **k},
                title=title,
            ),
            {"inputs": shapes, "outputs": shapes},
        ),
        "posterior_sample_grids": (
            lambda **k: figures.posterior_sample_grids(
                **{"centres": ones((3, 4, 4)), "samples": ones((3, 8, 4, 4)), **k},
                title=title,
            ),
            {"centres": shapes, "samples": {**shapes, "seven": ones((3, 7, 4, 4))}},
        ),
        "compared_sample_grids": (
            functools.partial(figures.compared_sample_grids, title=title),
            {"models": ({},)},
        ),
        "image_rows": (
            functools.partial(figures.image_rows, title=title),
            {"rows": {"none": {}, "as many in each": {
                "a": ones((3, 4, 4)), "b": ones((2, 4, 4)),
            }}},
        ),
        "operator_path_rows": (
            lambda **k: figures.operator_path_rows(
                **{"images": ones((2, 1, 3, 4, 4)), "coefficients": np.arange(3) - 1.0,
                   **k},
                title=title,
            ),
            {"images": shapes, "coefficients": {
                "another number": ones(2), "no zero": ones(3),
            }},
        ),
        "save_figure": (
            lambda **k: figures.save_figure(
                **{"figure": figures.compared_curves(
                    {"a": (ones(1), ones(1))}, title=title
                ), "path": "unused.png", **k},
            ),
            {"figure": (None, "figure"), "path": (None, 3)},
        ),
    }  # fmt: skip


def setting_cases():
    for where, (call, fields) in {**settings(), **trained(), **measures()}.items():
        for argument, values in fields.items():
            if not isinstance(values, dict):
                short = lambda x: repr(x) if len(repr(x)) < 40 else type(x).__name__
                values = {short(value): value for value in values}
            for came, value in values.items():
                yield Case(
                    where, argument, came,
                    functools.partial(call, **{argument: value}),
                )  # fmt: skip


FLAGS = {
    "--preset": ("huge", ""),
    "--model": ("", "3", "vea", "all,vae"),
    "--only": ("", "eat", "train,,figures", "train;evaluate"),
    "--seed": ("", "-1", "1.5", "x", "99999999999999999999", str(2**31)),
    "--seeds": ("0", "-3", "x", "1.5"),
    "--dataset": ("mnist", "", "../../etc/passwd"),
    "--devices": ("0", "-1", "x", "2.5", "100000"),
    "--hosts": ("2",),
    "--host-index": ("0",),
    "--coordinator": ("localhost:1234",),
    "--unknown": ("1",),
    "--set": ("model.latent_size=3",),
    "--published": ("weights.pt",),
    "--table": ("yes",),
    "--experiment": ("other",),
    "--latent-size": ("3",),
    "--modle.latent-size": ("3",),
    "--model.latnt-size": ("3",),
    "--model.latent-size": ("", "x", "0", "-2", "2.5", "[2]", "true1", "1e9", "None"),
    "--model.num-operators": ("0",),
    "--model.num-samples": ("0",),
    "--model.noise-std": ("-1", "nan"),
    "--model.latent-scale": ("0", "-1", "x"),
    "--model.linear-start": ("0",),
    "--model.closest-anchor": ("perhaps",),
    "--model.operator-std": ("-1",),
    "--model.networks": ("deep",),
    "--data.batch-size": ("0", "-1", "100000", "1e9"),
    "--data.anchors-per-class": ("0", "x"),
    "--data.anchors": ("many",),
    "--data.dataset": ("mnist",),
    "--schedule.steps": ("-1", "x", "1.5"),
    "--schedule.warm-up-steps": ("99999",),
    "--schedule.network-steps": ("0",),
    "--log.log-every": ("0",),
    "--log.save-every": ("0", "-5"),
    "--optimizer.network-rate": ("-1", "nan"),
    "--optimizer.beta1": ("1",),
    "--weights.prior-l1": ("-1", "inf"),
    "--weights.posterior-l1": ("0",),
    "--prior-search.solver": ("newton",),
    "--prior-search.restarts": ("0",),
    "--prior-search.initial-range": ("1", "[1,0]"),
    "--prior-search.max-iterations": ("0",),
    "--evaluation.points": ("-1",),
    "--evaluation.samples": ("0",),
    "--evaluation.label": ("some",),
    "--evaluation.noise-std": ("0",),
    "--evaluation.coefficient-rate": ("0",),
    "--evaluation.surrogate-points": ("0",),
    "--evaluation.surrogate-samples": ("0",),
    "--evaluation.surrogate-anchors": ("some",),
}  # fmt: skip
COMBINED = {
    "--coordinator": (
        ["--hosts=2", "--host-index=0", "--coordinator=nowhere"],
        ["--hosts=2", "--host-index=0", "--coordinator=:80"],
        ["--hosts=2", "--host-index=0", "--coordinator=localhost:99999"],
    ),
    "--host-index": (
        ["--hosts=2", "--host-index=2", "--coordinator=localhost:1234"],
        ["--hosts=2", "--host-index=-1", "--coordinator=localhost:1234"],
    ),
    "--hosts": (["--hosts=0", "--host-index=0", "--coordinator=localhost:1234"],),
    "--prior-search.initial-range": (
        ["--prior-search.initial-range", "1", "0"],
        ["--prior-search.initial-range", "0", "inf"],
    ),
    "--schedule.steps": (
        ["--schedule.steps"], ["--schedule.steps=3", "--schedule.steps", "4"],
    ),
    "--seed": (["--seed=4", "--seed=3"],),
    "--weights.prior-l1": (["--weights.prior-l1=1", "--weights.prior_l1=2"],),
    "--options": (["--model=vae", "--options", "rate"],),
    "--model.latent-size": (["--model=vae", "--model.latent-size=3"],),
    "--latent-size": (["--model=vae", "--latent-size=0"],),
    "--likelihood.std": (["--model=vae", "--likelihood.std=0"],),
    "--optimizer.rate": (["--model=vae", "--optimizer.rate=-1"],),
    "steps=3": (["schedule.steps=3"],),
}  # fmt: skip


def command_lines() -> list[tuple[str, list[str]]]:
    """List command lines that have to be refused, with the flag that is at fault."""
    single = [(flag, [f"{flag}={value}"]) for flag in FLAGS for value in FLAGS[flag]]
    return single + [(flag, line) for flag in COMBINED for line in COMBINED[flag]]


def cases() -> list[Case]:
    """List every bad call."""
    return [*array_cases(), *label_cases(), *key_cases(), *setting_cases()]


RECORDS = {
    "Batch", "CoefficientFit", "LossTerms", "Network", "Networks", "PairFit",
    "Params", "TrainState", "TrainedModel",
}  # fmt: skip
"""Public names that are no functions and check nothing: what takes them does."""


HEAD = """# What is refused, and how

Each of these raises a `ValueError` that names the argument, what came and what is
wanted, before the argument reaches JAX; the command line names the flag and ends with
status 2. The table is made of the tests' own list (`python -m tests.bad_inputs`), and
`tests/test_bad_inputs.py` tries every entry: {calls} calls and {lines} command lines.

What goes wrong in a computation is shown by its result: searches of pairs that are not
finite, or start at zero, return `converged=False` and finite numbers, transports out of
range are NaN, and a run whose loss or gradient is not finite stops and leaves `failed/`
([Runs that break](reproduction.md#runs-that-break)). Checkpoints and
published files are read without running anything in them; an error names a damaged one.

| function | argument | refused |
| --- | --- | --- |
"""


def table() -> str:
    """Write docs/bad_inputs.md."""
    every, lines = cases(), command_lines()
    text = HEAD.format(calls=len(every), lines=len(lines))
    rows: dict[tuple[str, str], list[str]] = {}
    for case in every:
        rows.setdefault((case.where, case.argument), []).append(case.came)
    for flag, line in lines:
        alone = len(line) == 1 and line[0].startswith(f"{flag}=")
        shown = (line[0].partition("=")[2] or "''") if alone else " ".join(line)
        rows.setdefault(("command line", flag), []).append(f"`{shown}`")
    for (where, argument), came in rows.items():
        text += f"| `{where}` | `{argument}` | {'; '.join(came)} |\n"
    return text


if __name__ == "__main__":
    print(table(), end="")
