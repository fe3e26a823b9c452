"""Checks that parameters and batches have compatible shapes."""

from typing import Any

from jaxtyping import Array

from vaells_jax.checks import check_classes, check_integers, check_kind, check_numbers
from vaells_jax.model.types import Batch, Params
from vaells_jax.operators.transport import check_operators


def check_arguments(params: Any, batch: Any) -> None:
    """Raise a ValueError where a batch does not fit the parameters."""
    check_kind(params=(params, Params), batch=(batch, Batch))
    check_operators(params.operators)
    check_numbers(inputs=batch.inputs)
    check_integers(labels=batch.labels)
    examples = batch.inputs.shape[0] if batch.inputs.ndim else 0
    if examples == 0 or batch.labels.shape != (examples,):
        raise ValueError(
            "a batch must hold at least one example and one label for each; got "
            f"inputs {list(batch.inputs.shape)} and labels {list(batch.labels.shape)}."
        )
    check_anchors(
        params.anchors if batch.anchors is None else batch.anchors, batch.inputs
    )
    if batch.anchors is None:
        check_classes("labels", batch.labels, params.anchors.shape[0])
    elif batch.anchors.shape[0] != examples:
        raise ValueError(
            f"a batch's anchors must be those of its {examples} examples; got "
            f"{list(batch.anchors.shape)}."
        )


def check_anchors(anchors: Any, inputs: Array) -> None:
    """Raise a ValueError unless there are anchors of the inputs' shape."""
    if anchors is None:
        raise ValueError("anchors: neither Params nor Batch holds any.")
    check_numbers(anchors=anchors)
    wanted = inputs.shape[1:]
    if anchors.shape[2:] != wanted or 0 in anchors.shape[:2]:
        raise ValueError(
            "anchors must have shape [classes or examples, anchors of each, *x], none "
            f"of them 0, with *x = {list(wanted)} as of the inputs; got "
            f"{list(anchors.shape)}."
        )
