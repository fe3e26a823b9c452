"""A swiss-roll run that says what it does, for tests that kill it.

python -m tests.experiments.resumable FLAGS
"""

import os
import sys
import time

from experiments import swiss_roll
from experiments.records import MetricsLog
from experiments.runner import main
from vaells_jax.training.checkpoints import Checkpoints

TINY = {
    "schedule.steps": 96, "schedule.warm_up_steps": 10, "schedule.network_steps": 3,
    "schedule.operator_steps": 3, "log.log_every": 1, "log.save_every": 4,
    "data.batch_size": 8, "model.latent_scale": "none",
}  # fmt: skip


def say(*words):
    print("event", *words, flush=True)


def told(method, name):
    """Return a method that says when it begins and when it is done."""

    def wrapped(self, *args):
        say(name, "begins")
        found = method(self, *args)
        say(name, "done")
        return found

    return wrapped


if __name__ == "__main__":
    MetricsLog.write = told(MetricsLog.write, "step")
    Checkpoints.save = told(Checkpoints.save, "save")
    settings = [f"--set={name}={value}" for name, value in TINY.items()]
    start = time.process_time()
    status = main(swiss_roll.EXPERIMENT, ["--preset=tuned", *settings, *sys.argv[1:]])
    say("cpu", round(time.process_time(), 1), round(start, 1), os.getpid())
    raise SystemExit(status)
