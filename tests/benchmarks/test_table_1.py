import json

from benchmarks import table_1


def write(folder, model, seed, seconds, **results):
    record = {
        "training_seconds": seconds,
        "results": {name: {"value": value} for name, value in results.items()},
    }
    path = folder / f"seed-{seed}" / model / "results.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(record))


def test_seeds_are_gathered_and_shown_beside_the_papers_words(tmp_path):
    for seed, error in ((0, 0.5), (1, 0.1), (2, 0.2)):
        write(tmp_path, "vae", seed, 3.0, path_error=error, class_separation=1.0)
    write(tmp_path, "manifold_autoencoder", 0, 7.0, path_error=0.25, other=9.0)
    found = table_1.gather(tmp_path)
    assert found == {
        "path_error": {"vae": [0.5, 0.1, 0.2], "manifold_autoencoder": [0.25]},
        "class_separation": {"vae": [1.0, 1.0, 1.0]},
        "training_seconds": {"vae": [3.0, 3.0, 3.0], "manifold_autoencoder": [7.0]},
    }
    heads, _, *rows = table_1.table(found).splitlines()
    assert heads.startswith(
        "|  | the paper: prior, paths, classes | own paths: error |"
    )
    assert rows[0].startswith("| VAE | no, linear, no | 0.2 (0.1 to 0.5) |")
    assert rows[1] == "| Manifold Autoencoder | not included | 0.25 |  | 7 |"
    titles = [axes.get_title() for axes in table_1.figure(found, "circles").axes]
    assert titles[:3] == [
        "own paths: error", "classes apart: latents", "training [s]",
    ]  # fmt: skip


def test_a_run_that_fails_ends_the_command(tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    status = table_1.main(file, seeds=0, experiments=("swiss_roll",))
    assert status == 2
    assert "--seeds: wanted at least 1; got 0." in capsys.readouterr().err
