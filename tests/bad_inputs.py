"""Inputs that cannot be meant, and what answers them: the list behind the docs' table.

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
from vaells_jax.data.batches import batch_indices, draw_anchors
from vaells_jax.data.images import load_images
from vaells_jax.data.synthetic import concentric_circles, swiss_roll
from vaells_jax.evaluation.importance import ImportanceOptions
from vaells_jax.evaluation.likelihood import estimate
from vaells_jax.operators.matrix_exponential import expm_action
from vaells_jax.sharding import make_mesh
from vaells_jax.training.checkpoints import Checkpoints
from vaells_jax.training.optimizers import OptimizerOptions
from vaells_jax.training.schedule import Schedule


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
             "optimizer": (None, "adam")},
        ),
        "loss": (loss_of, {
            "model": (p["networks"], "m"), "weights": (1.0, {}),
            "latent_scale": (*rate, jnp.zeros(()), jnp.ones(3)),
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
        "ImportanceOptions": (
            lambda **k: ImportanceOptions(
                **{"noise_std": 0.1, "coefficient_rate": 1.0, **k}
            ),
            {"noise_std": rate, "coefficient_rate": rate, "pixel_std": rate,
             "num_samples": COUNTS, "restarts": COUNTS, "label": ("unknown", None)},
        ),
        "estimate": (
            lambda **k: estimate(p["params"], key, p["batch"], model=p["model"], **k),
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
            {"per_class": (0, -1, 4, 1.5, None), "num_classes": (0, -1, "2")},
        ),
        "load_images": (
            lambda **k: load_images(**k), {"name": ("minst", "", "MNIST")}
        ),
        "Checkpoints": (
            lambda **k: Checkpoints("unused", **k), {"keep": (0, -1, 1.5, None)}
        ),
        "make_mesh": (make_mesh, {"devices": ([], jax.devices()[:1] * 2)}),
    }  # fmt: skip


def setting_cases():
    for where, (call, fields) in settings().items():
        for argument, values in fields.items():
            for value in values:
                came = repr(value) if len(repr(value)) < 40 else type(value).__name__
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
    "--schedule.steps": (["--schedule.steps"],),
    "--options": (["--model=vae", "--options", "rate"],),
    "--model.latent-size": (["--model=vae", "--model.latent-size=3"],),
    "--latent-size": (["--model=vae", "--latent-size=0"],),
    "--likelihood.std": (["--model=vae", "--likelihood.std=0"],),
    "--optimizer.rate": (["--model=vae", "--optimizer.rate=-1"],),
    "steps=3": (["schedule.steps=3"],),
}


def command_lines() -> list[tuple[str, list[str]]]:
    """List command lines that have to be refused, with the flag that is at fault."""
    single = [(flag, [f"{flag}={value}"]) for flag in FLAGS for value in FLAGS[flag]]
    return single + [(flag, line) for flag in COMBINED for line in COMBINED[flag]]


def cases() -> list[Case]:
    """List every bad call."""
    return [*array_cases(), *label_cases(), *key_cases(), *setting_cases()]


HEAD = """# What is refused, and how

Each of these is answered by a `ValueError` that names the argument, what came and what
is wanted, raised by this library before JAX meets the argument; the command line names
the flag and ends with status 2. The table is made of the tests' own list
(`python -m tests.bad_inputs`), and `tests/test_bad_inputs.py` tries every entry:
{calls} calls and {lines} command lines.

What is no mistake in form is answered in the result: searches of pairs that are not
finite, or start at zero, return `converged=False` and finite numbers, transports out of
range are NaN, and a run whose loss or gradient is not finite stops and leaves `failed/`
(see the README). Checkpoints and published files are read without running anything in
them; damaged ones are named.

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
