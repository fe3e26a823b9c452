import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import sprites


def test_every_combination_is_an_image_of_its_factors(dtype):
    levels, images = sprites.all_sprites()
    assert images.shape == (864, 32, 32)
    assert images.dtype == dtype
    assert len(np.unique(levels, axis=0)) == len(levels)
    scale, x, y = (v[i] for v, i in zip(sprites.VALUES.values(), levels.T, strict=True))
    mass, middles = np.asarray(images, float), (np.arange(32) + 0.5) / 32
    total = mass.sum(axis=(1, 2))
    np.testing.assert_allclose(total, (32 * scale) ** 2, rtol=0.06)
    np.testing.assert_allclose(mass.sum(axis=1) @ middles / total, x, atol=0.005)
    np.testing.assert_allclose(mass.sum(axis=2) @ middles[::-1] / total, y, atol=0.005)


def test_the_factors_have_the_best_scores_and_random_codes_none():
    levels, images = sprites.all_sprites()
    rows = sprites.learners(jax.random.key(0), levels, images, 2, ())
    made = {name: np.asarray(make(), float) for name, make in rows.items()}
    scores = {
        name: sprites.score(jax.random.key(1), codes, levels)
        for name, codes in made.items()
    }
    perfect = scores["the factors"]
    assert list(perfect.values()) == pytest.approx([1.0] * len(perfect))
    random = scores["random codes"]
    assert max(random[name] for name in ("MIG", "SAP", "DCI: D", "DCI: C")) < 0.02
    assert random["DCI: I"] < 0.0
    assert random["beta-VAE's"] < 0.5
    turned = scores["the factors, turned at random"]
    assert turned["MIG"] < 0.7
    assert turned["DCI: I"] > 0.95


def test_a_weight_on_the_divergence_narrows_the_codes():
    _, images = sprites.all_sprites()
    spreads = [
        np.std(sprites.vae_codes(jax.random.key(2), images[::4], beta, 150))
        for beta in (0.0, 100.0)
    ]
    assert spreads[1] < 0.1 * spreads[0]


def test_a_run_writes_a_table_of_all_seeds(tmp_path, capsys, monkeypatch):
    cell = dict.fromkeys(sprites.COLUMNS, 0.5)
    monkeypatch.setattr(sprites, "score", lambda *_: cell)
    monkeypatch.setattr(sprites, "vae_codes", lambda *_: jnp.ones((864, 6)))
    sprites.main(tmp_path, seeds=2, betas=(1.0, 8.0))
    text = (tmp_path / "sprites.md").read_text()
    assert capsys.readouterr().out.strip().endswith(text.strip())
    rows = [line.split("|") for line in text.splitlines()[2:]]
    assert [row[1].strip() for row in rows] == [
        "the factors", "the factors, turned at random", "VAE", "beta-VAE, beta = 8",
        "principal components", "random codes",
    ]  # fmt: skip
    assert all(row[2].strip() == "0.5 (0.5 to 0.5)" for row in rows)
