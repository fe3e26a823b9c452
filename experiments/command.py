"""The flags of every experiment's command line."""

import argparse
import pathlib

from experiments.devices import add_flags
from experiments.models import MODELS
from experiments.problem import Experiment

PARTS = ("train", "evaluate", "figures")


def make_parser(experiment: Experiment) -> argparse.ArgumentParser:
    """Build the parser of an experiment's flags."""
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.{experiment.name}",
        description=f"{experiment.summary} Run again, it goes on where it stopped.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--preset", choices=list(experiment.presets),
        default=next(iter(experiment.presets)),
        help="'paper' is the paper's table to the letter, 'quick' a first picture",
    )  # fmt: skip
    parser.add_argument(
        "--workdir", type=pathlib.Path, default=None,
        help="folder of config, checkpoints, metrics, results and figures "
        f"(default: runs/{experiment.name}-PRESET)",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="GROUP.FIELD=VALUE",
        help="change one field of the configuration, e.g. model.num_operators=8; "
        "may be given several times; config.json in a workdir lists all fields",
    )  # fmt: skip
    parser.add_argument("--dataset", default=None, help="name of the data set")
    parser.add_argument("--seed", type=int, default=None, help="random seed")
    parser.add_argument(
        "--seeds", type=_count, default=None, metavar="N",
        help="run N seeds, from --seed on, each in a folder of its own in the workdir, "
        "and report their median and spread",
    )  # fmt: skip
    parser.set_defaults(table=False, published=None, only=None, model="vaells")
    if experiment.compare is not None:
        own = [] if experiment.evaluate is None else ["vaells"]
        parser.add_argument(
            "--model", choices=[*MODELS, *own, "all"], default=[*own, "all"][0],
            help="train a model that VAELLS is compared with, or all side by side "
            "(default workdir then: runs/NAME-PRESET-compared)",
        )  # fmt: skip
    if experiment.published is not None:
        parser.add_argument(
            "--published", type=pathlib.Path, default=argparse.SUPPRESS, metavar="FILE",
            help="evaluate and draw weights that the paper's authors published instead "
            "of training (default workdir: runs/NAME-published)",
        )  # fmt: skip
    if experiment.table is not None:
        parser.add_argument(
            "--table", action="store_true",
            help="do every row of the paper's table instead, all from one warm-up, in "
            "a working folder of its own (default: runs/NAME-PRESET-table)",
        )  # fmt: skip
    parser.add_argument(
        "--only", type=_parts, default=argparse.SUPPRESS, metavar="PART[,PART]",
        help="do only these parts: train, evaluate, figures (default: all)",
    )  # fmt: skip
    add_flags(parser)
    return parser


def _parts(text):
    parts = tuple(part.strip() for part in text.split(","))
    for part in parts:
        if part not in PARTS:
            raise argparse.ArgumentTypeError(
                f"{part!r} is no part; choose from {', '.join(PARTS)}"
            )
    return parts


def _count(text):
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"wanted at least 1; got {count}")
    return count
