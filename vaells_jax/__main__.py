"""The command `vaells-jax`: train on your own data, and open a run."""

import json
import pathlib
import sys

import jax
import numpy as np
import tyro

from vaells_jax.data.arrays import load_npz
from vaells_jax.evaluation.figures import save_figure
from vaells_jax.evaluation.overview import prior_figure
from vaells_jax.runs.load import load_run
from vaells_jax.runs.main import main as run_main
from vaells_jax.runs.own import own_experiment
from vaells_jax.runs.results import shown

HELP = """usage: vaells-jax COMMAND ...

  vaells-jax train FILE.npz --workdir runs/mine
      Train on the arrays of a file: `inputs` [N, ...] and, if there are any, `labels`
      [N], `test_inputs` and `test_labels`. Writes configuration, checkpoints, metrics,
      results.json and figures to the folder; if interrupted, the same command resumes.
      `vaells-jax train FILE.npz --help` lists the flags.

  vaells-jax show FOLDER
      Open a run: print its data and results, and draw samples of its prior into
      FOLDER/samples. `vaells-jax show --help` lists the flags.
"""


def main(argv: list[str] | None = None) -> int:
    """Run a command line; return the exit status."""
    command, *rest = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if command in ("-h", "--help"):
        print(HELP, end="")
        return 0
    try:
        if command == "show":
            tyro.cli(show, args=rest, prog="vaells-jax show")
            return 0
        if command == "train":
            return _train(rest)
    except (ValueError, OSError) as error:
        print(f"vaells-jax {command}: {error}", file=sys.stderr)
        return 2
    print(
        f"vaells-jax: unknown command {command!r}; choose train or show.",
        file=sys.stderr,
    )
    return 2


def show(
    folder: tyro.conf.Positional[pathlib.Path],
    /,
    samples: int = 40,
    seed: int = 0,
    export: pathlib.Path | None = None,
) -> None:
    """Open a run: print what it is, and draw samples of its prior.

    Args:
        folder: The run's folder, or a file that was exported.
        samples: Samples to draw; 0 for none.
        seed: Their random seed.
        export: Write all arrays and the configuration to this .npz file.
    """
    trained = load_run(folder)
    record = trained.record
    print(json.dumps(record, indent=2))
    results = folder / "results.json"
    if results.exists():
        for name, found in json.loads(results.read_text())["results"].items():
            print(f"  {name} = {shown(found['value'])}")
    if samples:
        points = trained.decode(trained.sample_prior(jax.random.key(seed), samples))
        stem = (folder if folder.is_dir() else folder.parent) / "samples"
        np.savez(stem.with_suffix(".npz"), samples=np.asarray(points))
        save_figure(prior_figure(points), stem.with_suffix(".png"))
        print(f"  {stem}.npz, {stem}.png")
    if export is not None:
        trained.export(export)
        print(f"  {export.with_suffix('.npz')}, {export.with_suffix('.json')}")


def _train(rest: list[str]) -> int:
    """Train on the arrays of a file."""
    file = pathlib.Path(rest[0]) if rest and not rest[0].startswith("-") else None
    if file is None:
        if not {"-h", "--help"} & set(rest):
            raise ValueError("give the file first: vaells-jax train FILE.npz ...")
        experiment = own_experiment(np.zeros((64, 8)), name="FILE")
    else:
        inputs, labels, test = load_npz(file)
        command = f"vaells-jax train {file}"
        experiment = own_experiment(
            inputs, labels, test=test, name=file.stem, command=command
        )
        rest = rest[1:]
    return run_main(experiment, rest)


if __name__ == "__main__":
    raise SystemExit(main())
