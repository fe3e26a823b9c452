"""The paper's experiments: `python -m experiments.NAME`."""

import os

# Of programs from its cache XLA logs as errors that they were tuned for this machine.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
