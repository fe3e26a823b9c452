"""Checkpoints by Orbax: the whole training state, whole or absent.

The one owner of Orbax. Batches and random numbers are functions of the step, so that
the state is all there is to save. Orbax writes into a temporary folder and renames it
when it is done; the digests of its files are written last, with a record of the run
that they belong to. A folder without digests was never finished, one that disagrees
with them was damaged since, and either is passed over for the one before it. Only the
writer of a run tidies its folder: readers change nothing.
"""

import contextlib
import hashlib
import json
import logging
import pathlib
import shutil
from typing import Any

import jax
import orbax.checkpoint as ocp

from vaells_jax.checks import as_count
from vaells_jax.training.step import TrainState

_logger = logging.getLogger(__name__)
_DIGEST = "digest.json"


class DamagedCheckpointError(ValueError):
    """A checkpoint is not what was written; names it."""


class Checkpoints:
    """The checkpoints of one run, in a folder of their own.

    Processes that share a mesh share the folder, and call every method together.

    Args:
        directory: Where they lie.
        keep: How many of the newest to keep.
        record: What is written beside each, as JSON knows it.
        writer: Whether this is the run that writes them. It clears away what a killed
            run left; a reader leaves everything as it is.

    Raises:
        ValueError: If `keep` is not positive.
    """

    def __init__(
        self,
        directory: str | pathlib.Path,
        *,
        keep: int = 2,
        record: Any = None,
        writer: bool = True,
    ) -> None:
        keep = as_count("keep", keep)
        self.directory = pathlib.Path(directory).resolve()
        self._keep, self._record, self._writer = keep, record, writer
        self._orbax = ocp.Checkpointer(ocp.StandardCheckpointHandler())
        if writer and _is_first():
            self._tidy()
        _meet("opened")

    def latest_step(self) -> int | None:
        """Return the step of the newest checkpoint, or None."""
        return max(self._steps(), default=None)

    def record(self) -> Any:
        """Return the record of the newest checkpoint that has one, or None."""
        for step in sorted(self._steps(), reverse=True):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                return json.loads((self._folder(step) / _DIGEST).read_text())["record"]
        return None

    def save(self, state: TrainState) -> None:
        """Write a checkpoint under the state's step, unless it is there."""
        step = int(state.step)
        if step in self._steps():
            return
        folder = self._folder(step)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._orbax.save(folder, args=ocp.args.StandardSave(state))
        if _is_first():
            about = {
                "leaves": _leaves(state),
                "sha256": {name: _digest(folder / name) for name in _files(folder)},
                "record": self._record,
            }
            partial = folder / f"{_DIGEST}.partial"
            partial.write_text(json.dumps(about))
            partial.replace(folder / _DIGEST)
            others = sorted(self._steps() - {step})
            for old in others[: max(len(others) + 1 - self._keep, 0)]:
                # Not half gone under its own name, should the run be killed here.
                doomed = self.directory / f"removed-{old}"
                self._folder(old).rename(doomed)
                shutil.rmtree(doomed)
        _meet(f"saved {step}")

    def restore(self, template: TrainState | None) -> Any:
        """Read the newest checkpoint that is whole.

        Others are named in the log; a writer moves them aside, so that the run can
        write them again.

        Args:
            template: A state of the same structure, shapes and types; what is read
                lies where it lies, on one device or on many. None reads nested
                dictionaries of arrays, whatever they are.

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
            if self._writer and _is_first():
                self._set_aside(damaged)
            _meet("set aside")
            return state
        if not self._writer and set(steps) != self._steps():
            return self.restore(template)  # the run wrote a newer one meanwhile
        raise ValueError(f"{' '.join(damaged.values())} There is no older one.")

    def close(self) -> None:
        """Release Orbax's threads."""
        self._orbax.close()

    def _folder(self, step):
        return self.directory / str(step)

    def _steps(self) -> set[int]:
        """Return the steps that have a folder; of a reader, those that are finished."""
        return {
            int(path.name)
            for path in self.directory.glob("*")
            if path.name.isdecimal() and (self._writer or (path / _DIGEST).exists())
        }

    def _read(self, step, template):
        """Compare one checkpoint with its digests, and read it."""
        folder = self._folder(step)
        found = _verify(folder)
        if template is not None:
            wanted = _leaves(template)
            if found != wanted:  # Orbax would convert types in silence
                raise ValueError(
                    f"the checkpoint {folder} belongs to another configuration: "
                    f"{_difference(found, wanted)}."
                )
        try:
            return self._restored(folder, template)
        except Exception as error:
            reason = (str(error).splitlines() or ["no reason given"])[0]
            raise DamagedCheckpointError(
                f"the checkpoint {folder} cannot be read; it is damaged or belongs to "
                f"another configuration ({type(error).__name__}: {reason})."
            ) from error

    def _restored(self, folder, template):
        """Read a checkpoint with Orbax.

        The state of an older version may lack fields that are empty in this one. Its
        arrays are then found by their names.
        """
        plain = lambda: self._orbax.restore(folder, args=ocp.args.StandardRestore())
        if template is None:
            return plain()
        shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, template)
        try:
            restore = ocp.args.StandardRestore(shapes)
            return self._orbax.restore(folder, args=restore)
        except ValueError:
            name = lambda path: jax.tree_util.keystr(path, simple=True, separator="/")
            found = {name(path): x for path, x in jax.tree.leaves_with_path(plain())}
            return jax.tree.map_with_path(
                lambda path, x: jax.device_put(found[name(path)], x.sharding), template
            )

    def _tidy(self):
        """Clear away what a killed run was writing or removing."""
        for pattern in ("*.orbax-checkpoint-tmp*", "removed-*"):
            for left in self.directory.glob(pattern):
                shutil.rmtree(left)
        for step in self._steps():
            if not (self._folder(step) / _DIGEST).exists():
                _logger.warning(
                    "The checkpoint %s was never finished.", self._folder(step)
                )
                self._set_aside([step])

    def _set_aside(self, steps):
        """Rename folders so that they are no checkpoints any more."""
        for step in steps:
            target, number = self.directory / f"damaged-{step}", 1
            while target.exists():
                number += 1
                target = self.directory / f"damaged-{step}-{number}"
            self._folder(step).rename(target)


def _is_first() -> bool:
    """Say whether this process is the one that writes what is written once."""
    return jax.process_index() == 0


def _meet(name: str) -> None:
    """Wait for the other processes, where there are any."""
    ocp.multihost.sync_global_processes(f"vaells_jax.checkpoints: {name}")


def _verify(folder: pathlib.Path) -> list[list[Any]]:
    """Compare a folder's files with their digests; return arrays' types and shapes.

    Files that the run did not write are not looked at.

    Raises:
        DamagedCheckpointError: If one is missing or differs; names it.
    """
    name = f"the checkpoint {folder} cannot be read;"
    try:
        about = json.loads((folder / _DIGEST).read_text())
        digests, leaves = about["sha256"].items(), about["leaves"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedCheckpointError(f"{name} its {_DIGEST} is damaged.") from error
    for file, digest in digests:
        if not (folder / file).is_file():
            raise DamagedCheckpointError(f"{name} its file {file} is missing.")
        if _digest(folder / file) != digest:
            raise DamagedCheckpointError(
                f"{name} its file {file} is not what was written: the digest differs."
            )
    return leaves


def _files(folder: pathlib.Path) -> list[str]:
    """List a folder's files by their names in it."""
    return [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]


def _digest(path: pathlib.Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
