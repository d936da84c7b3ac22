"""`nemotron profiles`: the list, and a check of each."""

from nemotron.cli.app import run


def test_every_profile_is_listed_and_each_mistake_is_named(tmp_path, capsys):
    (tmp_path / "env.toml").write_text('[good]\nexecutor = "slurm"\nnodes = 2\n[bad]\nexecutor = "slrm"\n')
    assert run(["profiles"]) == 1
    shown = capsys.readouterr()
    assert ["good", "slurm", "here", "2", "1", "the", "config's"] in [line.split() for line in shown.out.splitlines()]
    assert "env.toml:5" in shown.err
    (tmp_path / "env.toml").write_text('[good]\nexecutor = "local"\n')
    assert run(["profiles"]) == 0


def test_without_a_file_it_says_how_to_have_one(capsys):
    assert run(["profiles"]) == 0
    assert "env.toml.example" in capsys.readouterr().out
