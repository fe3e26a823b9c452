"""Checkpoints by Orbax: the whole training state, whole or absent.

The one owner of Orbax. Batches and random numbers are functions of the step, so that
the state is all there is to save. Orbax writes into a temporary folder and renames it
when it is done; the digest of its files is written last. A folder without its digest
was never finished, one that disagrees with it was damaged since, and either is passed
over for the one before it.
"""

import hashlib
import json
import logging
import pathlib
import shutil
from typing import Any

import jax
import orbax.checkpoint as ocp

from vaells_jax.checks import check_count
from vaells_jax.training.step import TrainState

_logger = logging.getLogger(__name__)
_DIGEST = "digest.json"
_MANAGED = "default"  # where version 0.1.0's first checkpoints, without digests, lie


class DamagedCheckpointError(ValueError):
    """A checkpoint is not what was written; names it."""


class Checkpoints:
    """The checkpoints of one run, in a folder of their own.

    Processes that share a mesh share the folder, and call every method together.

    Args:
        directory: Where they lie; made if missing.
        keep: How many of the newest to keep.

    Raises:
        ValueError: If `keep` is not positive.
    """

    def __init__(self, directory: str | pathlib.Path, *, keep: int = 2) -> None:
        check_count("keep", keep)
        self.directory = pathlib.Path(directory).resolve()
        self._keep = keep
        self._orbax = ocp.Checkpointer(ocp.StandardCheckpointHandler())
        if _is_first():
            self.directory.mkdir(parents=True, exist_ok=True)
            self._tidy()
        _meet("opened")

    def latest_step(self) -> int | None:
        """Return the step of the newest checkpoint, or None."""
        return max(self._steps(), default=None)

    def save(self, state: TrainState) -> None:
        """Write a checkpoint under the state's step, unless it is there."""
        step = int(state.step)
        if step in self._steps():
            return
        folder = self.directory / str(step)
        self._orbax.save(folder, args=ocp.args.StandardSave(state))
        if _is_first():
            about = {"leaves": _leaves(state), "sha256": _digest(folder)}
            partial = folder / f"{_DIGEST}.partial"
            partial.write_text(json.dumps(about))
            partial.replace(folder / _DIGEST)
            for old in sorted(self._steps())[: -self._keep]:
                # Not half gone under its own name, should the run be killed here.
                doomed = self.directory / f"removed-{old}"
                (self.directory / str(old)).rename(doomed)
                shutil.rmtree(doomed)
        _meet(f"saved {step}")

    def restore(self, template: TrainState) -> TrainState:
        """Read the newest checkpoint that is whole.

        Others are named in the log and moved aside, so that the run can write them
        again.

        Args:
            template: A state of the same structure, shapes and types; what is read
                lies where it lies, on one device or on many.

        Returns:
            The saved state, to the bit.

        Raises:
            ValueError: If there is no checkpoint, none is whole, or the newest belongs
                to a state of other shapes or types.
        """
        steps = sorted(self._steps(), reverse=True)
        if not steps:
            raise ValueError(f"no checkpoint in {self.directory}.")
        damaged: dict[int, str] = {}
        for step in steps:
            try:
                state = self._read(step, template)
            except DamagedCheckpointError as error:
                damaged[step] = str(error)
                continue
            for words in damaged.values():
                _logger.warning("%s Using that of step %d.", words, step)
            _meet("compared")
            if _is_first():
                self._set_aside(damaged)
            _meet("set aside")
            return state
        raise ValueError(f"{' '.join(damaged.values())} There is no older one.")

    def close(self) -> None:
        """Release Orbax's threads."""
        self._orbax.close()

    def _steps(self) -> set[int]:
        """Return the steps that have a folder, whole or not."""
        names = [path.name for path in self.directory.glob("*") if path.is_dir()]
        return {int(name) for name in names if name.isdecimal()}

    def _read(self, step, template):
        """Compare one checkpoint with its digest, and read it."""
        folder = self.directory / str(step)
        if (folder / _MANAGED).exists():
            _logger.warning("The checkpoint %s has no digest to check it by.", folder)
            folder = folder / _MANAGED
        else:
            found, wanted = _verify(folder), _leaves(template)
            if found != wanted:  # Orbax would convert types in silence
                raise ValueError(
                    f"the checkpoint {folder} belongs to another configuration: "
                    f"{_difference(found, wanted)}."
                )
        shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, template)
        try:
            return self._orbax.restore(folder, args=ocp.args.StandardRestore(shapes))
        except Exception as error:
            reason = (str(error).splitlines() or ["no reason given"])[0]
            raise DamagedCheckpointError(
                f"the checkpoint {folder} cannot be read; it is damaged or belongs to "
                f"another configuration ({type(error).__name__}: {reason})."
            ) from error

    def _tidy(self):
        """Clear away what a killed run was writing or removing."""
        for pattern in ("*.orbax-checkpoint-tmp*", "removed-*"):
            for left in self.directory.glob(pattern):
                shutil.rmtree(left)
        for step in self._steps():
            folder = self.directory / str(step)
            if not (folder / _DIGEST).exists() and not (folder / _MANAGED).exists():
                _logger.warning("The checkpoint %s was never finished.", folder)
                self._set_aside([step])

    def _set_aside(self, steps):
        """Rename folders so that they are no checkpoints any more."""
        for step in steps:
            target, number = self.directory / f"damaged-{step}", 1
            while target.exists():
                number += 1
                target = self.directory / f"damaged-{step}-{number}"
            (self.directory / str(step)).rename(target)


def _is_first() -> bool:
    """Say whether this process is the one that writes what is written once."""
    return jax.process_index() == 0


def _meet(name: str) -> None:
    """Wait for the other processes, where there are any."""
    ocp.multihost.sync_global_processes(f"vaells_jax.checkpoints: {name}")


def _verify(folder: pathlib.Path) -> list[list[Any]]:
    """Compare a folder's files with its digest; returns its arrays' types and shapes.

    Raises:
        DamagedCheckpointError: If they differ.
    """
    name = f"the checkpoint {folder} cannot be read;"
    try:
        about = json.loads((folder / _DIGEST).read_text())
        found, leaves = about["sha256"], about["leaves"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedCheckpointError(f"{name} its {_DIGEST} is damaged.") from error
    if found != _digest(folder):
        raise DamagedCheckpointError(
            f"{name} its files are not those that were written: their digest differs."
        )
    return leaves


def _digest(folder: pathlib.Path) -> str:
    """Return the SHA-256 of the names and contents of a folder's files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if not name.startswith(_DIGEST):
            content = path.read_bytes()
            digest.update(f"{name}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()


def _leaves(state: Any) -> list[list[Any]]:
    """List type and shape of every array."""
    return [[str(x.dtype), list(x.shape)] for x in jax.tree.leaves(state)]


def _difference(found, wanted):
    """Say where two lists of types and shapes differ first."""
    if len(found) != len(wanted):
        return f"it holds {len(found)} arrays, wanted {len(wanted)}"
    first = next(pair for pair in zip(found, wanted, strict=True) if pair[0] != pair[1])
    words = [f"{dtype} {shape}" for dtype, shape in first]
    return f"it holds an array {words[0]}, wanted {words[1]}"
