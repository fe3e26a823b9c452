import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaells_jax.data.arrays import from_arrays, load_npz, spread_anchors
from vaells_jax.data.batches import draw_anchors


def key(seed=0):
    return jax.random.key(seed)


def points(*shape, seed=0):
    return np.random.default_rng(seed).uniform(size=shape)


def test_splits_are_disjoint_and_have_every_class():
    inputs = points(1000, 5)
    labels = np.repeat(["ten", "many", "most"], [10, 100, 890])
    found = from_arrays(inputs, labels, key=key())
    assert found.class_names == ("many", "most", "ten")
    splits = (found.train, found.validation, found.test)
    assert sum(len(split.labels) for split in splits) == 1000
    together = np.concatenate([split.inputs for split in splits])
    np.testing.assert_allclose(
        np.sort(together.ravel()), np.sort(inputs.ravel()), rtol=1e-6
    )
    for split in splits:
        assert set(split.labels) == {0, 1, 2}
    lookup = {
        row.astype(np.float32).tobytes(): name
        for row, name in zip(inputs, labels, strict=True)
    }
    for split in splits:
        for row, label in zip(split.inputs, split.labels, strict=True):
            assert lookup[row.astype(np.float32).tobytes()] == found.class_names[label]


def test_the_key_decides_the_split():
    first, same, other = (
        from_arrays(points(50, 3), key=key(seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.test.inputs, same.test.inputs)
    assert not np.array_equal(first.test.inputs, other.test.inputs)


def test_images_have_a_channel_axis_and_test_data_may_be_given():
    grey = from_arrays(points(20, 4, 6), test=points(5, 4, 6), key=key())
    assert grey.train.inputs.shape == (18, 4, 6, 1)
    assert grey.test.inputs.shape == (5, 4, 6, 1)
    pair = (points(5, 4, 6), [7, 7, 3, 3, 3])
    found = from_arrays(points(20, 4, 6), [3, 7] * 10, test=pair, key=key())
    np.testing.assert_array_equal(found.test.labels, [1, 1, 0, 0, 0])


class Items:
    def __len__(self):
        return 12

    def __getitem__(self, index):
        return np.full((3,), index, np.float32), index % 2


def test_anything_with_a_length_and_items_is_taken():
    found = from_arrays(Items(), key=key())
    split = found.train
    np.testing.assert_array_equal(split.inputs[:, 0] % 2, split.labels)


class Tensor:
    """An array of another library."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        if self.values is None:
            raise RuntimeError("cannot leave its device")
        return np.asarray(self.values, dtype)


def test_arrays_of_other_libraries_are_taken():
    values, labels = points(20, 3), np.arange(20) % 2
    wanted = from_arrays(values, labels, key=key())
    for pair in (
        (Tensor(values), Tensor(labels)), (jnp.asarray(values), jnp.asarray(labels)),
        (list(zip(map(Tensor, values), map(Tensor, labels), strict=True)),),
    ):  # fmt: skip
        found = from_arrays(*pair, key=key())
        np.testing.assert_allclose(found.train.inputs, wanted.train.inputs, rtol=1e-6)
        np.testing.assert_array_equal(found.train.labels, wanted.train.labels)
    names = np.array(["b", "a"] * 10, dtype=object)  # as of a column of pandas
    assert from_arrays(values, names, key=key()).class_names == ("a", "b")
    with pytest.raises(ValueError, match="inputs must be arrays.*its device"):
        from_arrays(Tensor(None), key=key())


def test_validation_data_and_shares_may_be_given(unchecked):
    found = from_arrays(
        points(20, 3), validation=points(4, 3), test_fraction=0.5, key=key()
    )
    sizes = [len(split.inputs) for split in found[1:4]]
    assert sizes == [10, 4, 10]
    found = from_arrays(points(20, 3), test_fraction=0.0, key=key())
    assert [len(split.inputs) for split in found[1:4]] == [18, 2, 0]
    for share in (1.0, -0.1, np.nan, "0.1"):
        with pytest.raises(ValueError, match="test_fraction must be"):
            from_arrays(points(20, 3), test_fraction=share, key=key())


def test_classes_too_small_for_every_split_are_named(caplog):
    found = from_arrays(points(9, 3), list("aaaaaabbc"), key=key())
    classes = [set(split.labels.tolist()) for split in found[1:4]]
    assert classes == [{0, 1, 2}, {0}, {0, 1}]
    assert "the test split of: c" in caplog.text
    assert "the validation split of: b, c" in caplog.text


def test_examples_of_a_file_in_order_of_class_are_shuffled():
    found = from_arrays(points(500, 3), np.repeat(range(5), 100), key=key())
    for split in found[1:4]:
        assert len(np.unique(split.labels[:30])) == 5


@pytest.mark.parametrize(
    ("inputs", "labels", "words"),
    [
        (points(9, 3) > 0.5, None, "inputs must be floats"),
        (np.zeros((9, 8, 8), np.uint8), None, "divide images of bytes by 255"),
        (255.0 * points(9, 8, 8), None, r"values in \[0, 1\].*divide 0 to 255"),
        (2.0 * points(9, 8, 8) - 1.0, None, r"values in \[0, 1\].*\(x \+ 1\) / 2"),
        (points(9, 3).astype(object), None, "inputs must be floats"),
        (points(9, 3).astype(str), None, "inputs must be floats"),
        (points(9, 3) + 0j, None, "inputs must be floats"),
        (np.full((9, 3), np.longdouble("1e400")), None, "inputs must be finite"),
        (points(9, 3), np.eye(9), "take the argmax of one-hot labels"),
        (points(9, 3), ["a", "b"], "must be 9 integers or names"),
        (Items(), np.zeros(12, int), "labels must be None"),
        ("text", None, "have a length and items"),
        ({"x": points(9, 3)}, None, "have a length and items"),
        ([points(3), points(4)], None, "arrays of one shape"),
        ([], None, "must be floats of shape"),
        (points(9), None, r"\[N, n\]"),
        (points(0, 3), None, "must not be empty"),
        (
            np.where(np.eye(9) > 0, np.nan, 0.0),
            None,
            r"finite; got 9 values .* first at \[0, 0\]",
        ),
        (points(9, 3), np.zeros(8, int), "9 integers or names"),
        (points(9, 3), np.zeros(9), "integers or names"),
        (points(2, 3), None, "at least 3"),
        (iter(points(9, 3)), None, "have a length and items"),
    ],
)
def test_what_is_refused(inputs, labels, words):
    with pytest.raises(ValueError, match=words):
        from_arrays(inputs, labels, key=key())


def test_test_data_of_another_shape_or_class_are_refused():
    with pytest.raises(ValueError, match=r"test must be .*got \[4\]"):
        from_arrays(points(9, 3), test=points(9, 4), key=key())
    with pytest.raises(ValueError, match=r"new classes \[5\]"):
        from_arrays(points(9, 3), [0, 1, 2] * 3, test=(points(1, 3), [5]), key=key())
    with pytest.raises(ValueError, match="validation must be .*got .* no labels"):
        from_arrays(points(9, 3), [0, 1, 2] * 3, validation=points(2, 3), key=key())
    with pytest.raises(ValueError, match="test must be .* no labels.*got .* integer"):
        from_arrays(points(9, 3), test=(points(1, 3), [0]), key=key())


def test_files(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, inputs=points(9, 3), test_inputs=points(2, 3))
    inputs, labels, test = load_npz(path)
    assert inputs.shape == (9, 3)
    assert labels is None
    assert test[1] is None
    np.savez(path, x_train=points(9, 3), y_train=[1] * 9, x_test=points(2, 3))
    inputs, labels, (test, none) = load_npz(path)
    assert (len(inputs), sum(labels), len(test), none) == (9, 9, 2, None)
    for wrong in ({"points": points(9, 3)}, {"lables": [1] * 9}, {"test_labels": [1]}):
        inputs = {} if "points" in wrong else {"inputs": points(9, 3)}
        np.savez(path, **inputs, **wrong)
        with pytest.raises(ValueError, match=f"must hold inputs.*got .*{[*wrong][0]}"):
            load_npz(path)
    np.savez(path, inputs=points(9, 3).astype(object))
    with pytest.raises(ValueError, match="cannot be read"):
        load_npz(path)
    path.write_bytes(b"torn")
    with pytest.raises(ValueError, match="cannot be read"):
        load_npz(path)
    with pytest.raises(ValueError, match="cannot be read"):
        load_npz(tmp_path / "none.npz")
    (tmp_path / "mine.csv").write_text("0.5,1.0\n")
    with pytest.raises(ValueError, match="mine.csv cannot be read as one: numpy.savez"):
        load_npz(tmp_path / "mine.csv")


def test_spread_anchors_are_those_of_draw_anchors():
    inputs, labels = points(60, 2), np.arange(60) % 2
    anchors = spread_anchors(key(), inputs, labels, num_classes=2, per_class=5)
    wanted = draw_anchors(key(), inputs, labels, 5, method="spread")
    np.testing.assert_array_equal(anchors, wanted)


def test_small_classes_repeat_their_examples_and_empty_ones_are_named():
    inputs, labels = points(5, 2), np.array([0, 0, 0, 2, 2])
    with pytest.raises(ValueError, match="got none of class 1"):
        spread_anchors(key(), inputs, labels, num_classes=3, per_class=2)
    anchors = spread_anchors(key(), inputs[:3], labels[:3], num_classes=1, per_class=7)
    assert len(np.unique(anchors[0, :3], axis=0)) == 3
    np.testing.assert_array_equal(anchors[0, 3:6], anchors[0, :3])
