"""Swiss-roll runs that say what they do, for tests that kill them.

`python -m tests.runs.resumable` takes a list of flags a line, in JSON, and forks
a run for each: to import everything takes longer than many a run.
"""

import json
import os
import sys
import traceback

import numpy as np

from experiments import swiss_roll
from tests.runs.conftest import flags as as_flags
from vaells_jax.runs.load import load_run
from vaells_jax.runs.main import main
from vaells_jax.runs.records import MetricsLog
from vaells_jax.training.checkpoints import Checkpoints

KILLS = int(os.environ.get("KILLS", "6"))
"""How often the test kills a run: `KILLS=20 python -m pytest` for more."""

SOAK = int(os.environ.get("SOAK", "0"))
"""Seconds for which two trainings and their readers are killed: `SOAK=300` for more."""

TINY = {
    "schedule.steps": 16 + 4 * KILLS, "schedule.warm_up_steps": 10,
    "schedule.network_steps": 3, "schedule.operator_steps": 3, "log.log_every": 1,
    "log.save_every": 4, "data.batch_size": 8, "model.latent_scale": None,
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


def run(flags):
    """Run the swiss roll in this process, which ends with it."""
    say("pid", os.getpid())
    status = 1
    try:
        if flags[0] == "read":
            load_run(flags[1]).encode(np.zeros((3, 20)))
            status = 0
        else:
            own = {flag.partition("=")[0] for flag in flags}
            tiny = [f for f in as_flags(TINY) if f.partition("=")[0] not in own]
            command = ["--preset=tuned", "--only=train", *tiny, *flags]
            status = main(swiss_roll.EXPERIMENT, command)
    except ValueError as error:  # a reader of nothing yet
        print(f"refused: {error}", file=sys.stderr)
        status = 2
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    MetricsLog.write = told(MetricsLog.write, "step")
    Checkpoints.save = told(Checkpoints.save, "save")
    for line in sys.stdin:
        child = os.fork()  # before JAX has threads
        if child == 0:
            run(json.loads(line))
        _, status = os.waitpid(child, 0)
        say("exited", os.waitstatus_to_exitcode(status))
