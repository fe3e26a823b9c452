import os

import numpy as np
import pytest

from vaells_jax.data import cache


@pytest.fixture
def source(monkeypatch, tmp_path):
    """Return a file, and what decodes it and counts how often it did."""
    monkeypatch.setattr(cache, "_folder", lambda kind: tmp_path / "kept")
    path = tmp_path / "numbers"
    path.write_bytes(bytes(range(10)))
    calls = []

    def decode():
        calls.append(1)
        return {"numbers": np.frombuffer(path.read_bytes(), np.uint8)}

    return path, decode, calls


def test_the_second_time_nothing_is_decoded(source):
    path, decode, calls = source
    for _ in range(2):
        found = cache.decode_once([path], decode)
        np.testing.assert_array_equal(found["numbers"], np.arange(10))
        assert found["numbers"].dtype == np.uint8
    assert len(calls) == 1


def test_a_changed_file_is_decoded_again(source):
    path, decode, calls = source
    cache.decode_once([path], decode)
    path.write_bytes(bytes(range(1, 11)))
    os.utime(path, ns=(1, 1))
    found = cache.decode_once([path], decode)
    np.testing.assert_array_equal(found["numbers"], np.arange(1, 11))
    assert len(calls) == 2


@pytest.mark.parametrize("damage", ["half", "flipped", "empty"])
def test_a_damaged_cache_is_decoded_again(source, damage, tmp_path):
    path, decode, calls = source
    cache.decode_once([path], decode)
    (kept,) = (tmp_path / "kept").iterdir()
    raw = bytearray(kept.read_bytes())
    if damage == "half":
        raw = raw[: len(raw) // 2]
    elif damage == "flipped":
        raw[raw.index(bytes(range(10)))] ^= 1
    else:
        raw = b""
    kept.write_bytes(raw)
    found = cache.decode_once([path], decode)
    np.testing.assert_array_equal(found["numbers"], np.arange(10))
    assert len(calls) == 2


def test_without_a_cache_everything_works(source, tmp_path):
    path, decode, calls = source
    (tmp_path / "kept").write_text("a file where the folder should be")
    for _ in range(2):
        cache.decode_once([path], decode)
    assert len(calls) == 2


def test_what_fails_to_decode_leaves_nothing(source, tmp_path):
    path, _, _ = source

    def fail():
        raise ValueError("no PNG")

    with pytest.raises(ValueError, match="no PNG"):
        cache.decode_once([path], fail)
    assert not (tmp_path / "kept").exists()
