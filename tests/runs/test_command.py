"""Flags, and the configuration's fields as flags."""

import dataclasses

import pytest

from experiments import binarised_mnist, natural_mnist, swiss_roll
from vaells_jax.runs.command import configure, parse
from vaells_jax.runs.config import baseline_config
from vaells_jax.runs.main import main
from vaells_jax.training.schedule import Schedule

CONFIG = swiss_roll.PAPER


def read(*line, config=CONFIG):
    """Read a line as `main` does; returns flags and configuration."""
    flags, rest = parse(swiss_roll.EXPERIMENT, list(line), "command")
    return flags, configure(config, rest, "command")


def test_nothing_asked_for_is_the_default():
    flags, config = read()
    assert config == CONFIG
    assert (flags.preset, flags.model, flags.workdir) == ("paper", "vaells", None)
    assert flags.parts() is None
    assert flags.debug_nans is flags.table is False


def test_fields_and_flags_stand_in_any_order():
    flags, config = read(
        "--schedule.warm_up_steps", "150", "--seeds", "2", "--schedule.steps=200",
        "--model.latent-scale", "None", "--only", "train, figures",
        "--model.skew-start", "True", "--prior_search.initial_range", "-1", "1",
        "--preset=tuned",
        "--model.no-closest-anchor", "--debug-nans", "--data.dataset", "kmnist",
    )  # fmt: skip
    assert (flags.preset, flags.seeds, flags.debug_nans) == ("tuned", 2, True)
    assert flags.parts() == ("train", "figures")
    schedule = dataclasses.replace(CONFIG.schedule, steps=200, warm_up_steps=150)
    assert config.schedule == schedule
    model = config.model
    assert (model.latent_scale, model.skew_start, model.closest_anchor) == (
        None, True, False,
    )  # fmt: skip
    assert config.prior_search.initial_range == (-1.0, 1.0)
    assert config.data.dataset == "kmnist"
    untouched = dataclasses.replace(
        config, schedule=CONFIG.schedule, model=CONFIG.model, data=CONFIG.data,
        prior_search=CONFIG.prior_search,
    )  # fmt: skip
    assert untouched == CONFIG


def test_a_baselines_own_options_are_flags():
    config = baseline_config("vae", CONFIG, 30)
    _, found = read("--options", "rate", "2.0", "width", "3", config=config)
    assert found.options == {"rate": 2.0, "width": 3}
    prior = dataclasses.replace(config, options={"num_components": 100})
    _, found = read("--options.num-components", "7", config=prior)
    assert found.options == {"num_components": 7}
    assert found.schedule == Schedule(steps=30, network_steps=0, operator_steps=0)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["--model.latnt_size=3"], "--model.latent-size"),
        (["--modle.latent_size=3"], "--modle.latent_size"),
        (["--latent_size=3"], "--latent_size"),
        (["--model.latent_size"], "--model.latent-size"),
        (["--model.latent_size=x"], "'x'"),
        (["--prior_search.solver=newton"], "--prior-search.solver"),
        (["--weights.prior_l1=-1"], "prior_l1 must be finite and at least 0; got -1.0"),
        (["--prior_search.restarts=0"], "restarts"),
        (["--schedule.warm_up_steps=3001"], "at most steps = 3000; got 3001"),
        (["--optimizer.network_rate=nan"], "network_rate"),
        (["--experiment=other"], "--experiment"),
    ],
)
def test_a_wrong_field_or_value_is_named(line, words, capsys):
    with pytest.raises(SystemExit) as stopped:
        read(*line)
    assert stopped.value.code == 2
    said = capsys.readouterr()
    assert words in " ".join(said.err.split())
    assert said.out == ""


@pytest.mark.parametrize("parts", ["dance", "train,,figures", ""])
def test_unknown_parts_are_named(parts, capsys):
    assert main(swiss_roll.EXPERIMENT, [f"--only={parts}"]) == 2
    assert "choose from train, evaluate, figures" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("experiment", "more"),
    [
        (natural_mnist.EXPERIMENT, {"--table", "--published", "--model"}),
        (binarised_mnist.EXPERIMENT, {"--model"}),
    ],
)
def test_help_lists_what_an_experiment_has(experiment, more, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(experiment, ["--help"])
    assert not stopped.value.code
    text = capsys.readouterr().out
    for word in {"--preset", "--workdir", "--only", "--dataset", "--seed", *more}:
        assert word in text
    for word in {"--table", "--published"} - more:
        assert word not in text
    assert "--help-fields" in text
    assert len(text.splitlines()) < 50


def test_help_lists_the_fields_of_the_models_configuration(capsys):
    for line, field in (
        ([], "--weights.prior-l1"), (["--model=vae"], "--likelihood.std"),
    ):  # fmt: skip
        with pytest.raises(SystemExit):
            main(swiss_roll.EXPERIMENT, ["--help-fields", *line])
        text = capsys.readouterr().out
        assert field in text
        assert "--experiment" not in text


def test_models_that_an_experiment_has_not_are_refused(capsys):
    with pytest.raises(SystemExit):  # its likelihood is of grey values
        main(binarised_mnist.EXPERIMENT, ["--model", "vaells"])
    with pytest.raises(SystemExit):
        main(swiss_roll.EXPERIMENT, ["--model", "vea"])
    assert "'vae', 'hyperspherical'" in " ".join(capsys.readouterr().err.split())
