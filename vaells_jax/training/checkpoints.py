"""Checkpoints by Orbax: the whole training state, whole or absent.

The one owner of Orbax. Batches and random numbers are functions of the step, so that
the state is all there is to save.
"""

import pathlib

import jax
import orbax.checkpoint as ocp

from vaells_jax.training.step import TrainState


class Checkpoints:
    """The checkpoints of one run, in a folder of their own.

    Args:
        directory: Where they lie; made if missing.
        keep: How many of the newest to keep.
    """

    def __init__(self, directory: str | pathlib.Path, *, keep: int = 2) -> None:
        self.directory = pathlib.Path(directory).resolve()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, create=True, enable_async_checkpointing=False
        )
        self._manager = ocp.CheckpointManager(self.directory, options=options)

    def latest_step(self) -> int | None:
        """Return the step of the newest checkpoint, or None."""
        return self._manager.latest_step()

    def save(self, state: TrainState) -> None:
        """Write a checkpoint under the state's step, unless it is there."""
        step = int(state.step)
        if step not in self._manager.all_steps():
            self._manager.save(step, args=ocp.args.StandardSave(state), force=True)

    def restore(self, template: TrainState) -> TrainState:
        """Read the newest checkpoint.

        Args:
            template: A state of the same structure, shapes and types.

        Returns:
            The saved state, to the bit.

        Raises:
            ValueError: If there is no checkpoint, or the newest cannot be read.
        """
        step = self.latest_step()
        if step is None:
            raise ValueError(f"no checkpoint in {self.directory}.")
        shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, template)
        try:
            return self._manager.restore(step, args=ocp.args.StandardRestore(shapes))
        except Exception as error:
            raise ValueError(
                f"the checkpoint {self.directory / str(step)} cannot be read; it is "
                "damaged or belongs to another configuration. Remove that folder to go "
                f"on from the one before it. ({type(error).__name__}: {error})"
            ) from error

    def close(self) -> None:
        """Release Orbax's threads."""
        self._manager.close()
