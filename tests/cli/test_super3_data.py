"""`data prep sft` and `data inspect`, on the bundled data and on rows written here."""

import io
import json
import shutil

import pytest

from nemotron.cli import console
from nemotron.cli.app import run
from nemotron.cli.super3.data import inspect_show
from nemotron.config import config_dir
from nemotron.files import folder_lock


@pytest.fixture
def chat(tmp_path):
    path = tmp_path / "chat.jsonl"
    question, answer = {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}
    rows = [json.dumps({"messages": [question, answer]}), "{broken", json.dumps({"messages": [question]})]
    path.write_text("\n".join(rows) + "\n")
    return path


def test_inspect_json_is_one_object_per_row(chat, capsys):
    assert run(["super3", "data", "inspect", str(chat), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["line"], row["outcome"], row["reason"]) for row in rows] == [
        (1, "kept", None),
        (2, "dropped", "bad_json"),
        (3, "dropped", "no_assistant_turn"),
    ]
    (sequence,) = rows[0]["sequences"]
    assert [chunk["text"] for chunk in sequence if chunk["supervised"]] == ["4<|im_end|>\n"]
    assert all(chunk["tokens"] > 0 for chunk in sequence)


def test_inspect_marks_the_lines_that_train_and_counts_outcomes(chat, capsys):
    assert run(["super3", "data", "inspect", str(chat)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "+ 4<|im_end|>" in shown
    assert "  2+2?<|im_end|>" in shown
    assert any(line.startswith("line 2: dropped, ") and line.endswith("(bad_json)") for line in shown)
    assert "3 rows" in shown


def test_inspect_names_a_file_that_is_missing(capsys):
    assert run(["super3", "data", "inspect", "chta.jsonl"]) == 1
    assert "chta.jsonl" in capsys.readouterr().err


TOO_LONG_FOR_TINY = {"messages": [{"role": "user", "content": "x " * 2000}, {"role": "assistant", "content": "y"}]}


def test_inspect_without_a_config_says_nothing_of_length_before_data_prep(tmp_path, capsys):
    (tmp_path / "mine.jsonl").write_text(json.dumps(TOO_LONG_FOR_TINY))
    assert run(["super3", "data", "inspect", "mine.jsonl"]) == 0
    shown = capsys.readouterr()
    assert "kept" in shown.out
    assert "overlong" not in shown.out
    assert "bundled tokenizer" in shown.err
    assert run(["super3", "data", "inspect", "mine.jsonl", "pack_size=64"]) == 0
    assert "overlong" in capsys.readouterr().out
    assert run(["super3", "data", "inspect", "mine.jsonl", "-c", "tiny"]) == 0
    assert "overlong" in capsys.readouterr().out


def test_inspect_without_a_config_takes_that_of_the_last_data_prep(chat, tmp_path, capsys):
    assert run(["super3", "data", "prep", "sft", "chat.jsonl", "-c", "tiny", "workers=1", "pack_size=512"]) == 0
    (tmp_path / "mine.jsonl").write_text(json.dumps(TOO_LONG_FOR_TINY))
    capsys.readouterr()
    assert run(["super3", "data", "inspect", "mine.jsonl"]) == 0
    shown = capsys.readouterr()
    assert "512" in shown.out
    assert "config.yaml" in shown.err


def test_inspect_shows_control_characters_and_lets_none_act(tmp_path, capsys):
    said = "\x1b[31mred\x07\r\b\u202e\x9b"
    row = {"messages": [{"role": "user", "content": said}, {"role": "assistant", "content": said}]}
    (tmp_path / "mine.jsonl").write_text(json.dumps(row) + "\n" + json.dumps({"messages": [{"role": said}]}))
    assert run(["super3", "data", "inspect", "mine.jsonl"]) == 0
    shown = capsys.readouterr()
    assert r"\u001b[31mred\u0007\u000d\u0008\u202e\u009b" in shown.out
    assert not set(shown.out + shown.err) & set(said) - set("[31mred")
    assert run(["super3", "data", "inspect", "mine.jsonl", "--json"]) == 0
    printed = capsys.readouterr().out
    assert not set(printed) & set(said) - set("[31mred")
    sequences = json.loads(printed.splitlines()[0])["sequences"]
    assert said in sequences[0][-1]["text"]


def test_prep_makes_the_data_says_what_and_what_next(tmp_path, capsys):
    assert run(["super3", "data", "--sample=6", "prep", "sft", "-c", "tiny", "workers=1"]) == 0
    shown = capsys.readouterr()
    assert (tmp_path / "output/tiny/data/sample-6/splits/train").is_dir()
    for word in ("tiny_chat", "tiny_tools", "train", "valid", "not_sampled", "SFTDataArtifact-sft-sample:v1"):
        assert word in shown.out
    assert shown.out.rstrip().endswith("Next: nemotron super3 sft -c tiny run.data=SFTDataArtifact-sft-sample:v1")
    assert "pack: " in shown.err

    assert run(["super3", "data", "--sample=6", "prep", "sft", "-c", "tiny", "workers=1"]) == 0
    assert "lready prepared" in capsys.readouterr().out


def test_what_next_fits_the_batch_to_little_data(chat, capsys):
    assert (
        run(
            ["super3", "data", "prep", "sft", str(chat), "-c", "tiny", "workers=1", "train_ratio=0.95", "valid_ratio=0"]
        )
        == 0
    )
    shown = capsys.readouterr().out.replace("\\\n", "").split()
    assert shown[-1] == "train.global_batch_size=1"


@pytest.mark.parametrize("arguments", [["chat.jsonl"], ["blend_path=chat.jsonl"], ["*.jsonl"], ["."]])
def test_prep_takes_chat_data_where_a_blend_is_asked(chat, arguments, capsys):
    assert run(["super3", "data", "prep", "sft", *arguments, "-c", "tiny", "workers=1", "output_dir=out"]) == 0
    assert "bad_json" in capsys.readouterr().out


def test_prep_names_keys_of_the_blend_that_change_nothing(chat, tmp_path, capsys):
    content = {"_comment": "public", "datasets": [{"path": "chat.jsonl", "text_field": "text"}]}
    (tmp_path / "blend.json").write_text(json.dumps(content))
    assert run(["super3", "data", "prep", "sft", "blend.json", "-c", "tiny", "workers=1", "output_dir=out"]) == 0
    assert "text_field of datasets[0]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["chat.jsonl", "other.jsonl"], "other.jsonl"),
        (["chat.jsonl", "blend_path=blend.json"], "blend.json"),
        (["tiny"], "-c tiny"),
        (["pack_size"], "pack_size=VALUE"),
    ],
)
def test_prep_takes_one_input_and_says_what_else_is_wrong(chat, arguments, named, capsys):
    assert run(["super3", "data", "prep", "sft", *arguments]) == 2
    assert named in capsys.readouterr().err


LONG, SHORT = "word " * 300, "word"


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        (["pack_size=128"], "pack_size="),
        (["pack_size=4096", "max_doc_tokens=128"], "max_doc_tokens="),
        (["pack_size=256", "max_doc_tokens=128"], "max_doc_tokens=null pack_size="),
        (["pack_size=4096"], None),
    ],
)
def test_prep_names_the_limit_that_cut_and_nothing_where_none_did(tmp_path, capsys, settings, advice):
    rows = [[("user", "Hi"), ("assistant", text)] for text in (LONG, SHORT, SHORT + "s", SHORT + " and")]
    lines = [json.dumps({"messages": [{"role": r, "content": c} for r, c in row]}) for row in rows]
    (tmp_path / "mine.jsonl").write_text("\n".join(lines))
    assert run(["super3", "data", "prep", "sft", "mine.jsonl", "-c", "tiny", "workers=1", *settings]) == 0
    shown = capsys.readouterr().err
    if advice is None:
        assert "did not fit" not in shown
    else:
        [line] = [line for line in shown.splitlines() if "Sequences truncated excessively" in line]
        assert f" {advice}" in line.partition("dropped).")[2]


def test_prep_warns_of_a_tokenizer_that_loses_letters(chat, tmp_path, capsys):
    shutil.copytree(config_dir() / "data_prep" / "tiny" / "tokenizer", tmp_path / "tokenizer")
    file = tmp_path / "tokenizer" / "tokenizer.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "normalizer": {"type": "Lowercase"}}))
    settings = ["train_ratio=1", "valid_ratio=0", "test_ratio=0", "tokenizer.model=tokenizer"]
    assert run(["super3", "data", "prep", "sft", "-c", "tiny", str(chat), "workers=1", *settings]) == 0
    assert '"is it a{1}; if b == 7? café!" of "Is it' in " ".join(capsys.readouterr().err.split())


def test_prep_warns_of_many_rows_that_the_template_does_not_show(tmp_path, capsys):
    (tmp_path / "odd.jinja").write_text(
        "{% for message in messages %}<|im_start|>{{ message.role }}\n"
        "{% if message.content != 'hide me' %}{{ message.content }}{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    rows = [[("user", f"Hi {n}"), ("assistant", "hide me" if n % 2 else "Hello")] for n in range(20)]
    lines = [json.dumps({"messages": [{"role": r, "content": c} for r, c in row]}) for row in rows]
    (tmp_path / "mine.jsonl").write_text("\n".join(lines))
    template = f"chat_template={tmp_path}/odd.jinja"
    assert run(["super3", "data", "prep", "sft", "mine.jsonl", "-c", "tiny", "workers=1", template]) == 0
    [line] = [line for line in capsys.readouterr().err.splitlines() if "Template rendering mismatch" in line]
    for named in ("10 of 20", "odd.jinja", "tiny/tokenizer"):
        assert named in line


def test_prep_dry_run_shows_config_origins_and_plan_and_writes_nothing(tmp_path, capsys):
    assert run(["super3", "data", "prep", "sft", "-c", "tiny", "pack_size=512", "--force", "--dry-run"]) == 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["pack_size", "512", "command", "line"] in shown
    assert ["force", "true", "command", "line"] in shown
    assert any(line[:1] == ["seed"] and line[2].startswith("config/data_prep/default.yaml:") for line in shown)
    assert any(line[:2] == ["run", "hash"] for line in shown)
    assert not list(tmp_path.iterdir())


def test_prep_refuses_a_typo(capsys):
    assert run(["super3", "data", "prep", "sft", "-c", "tiny", "pack_sise=512"]) == 1
    assert capsys.readouterr().err == 'error: command line: unknown key "pack_sise".\nhint: Did you mean "pack_size"?\n'


def test_prep_tells_what_should_be_known_before_training_on_it(tmp_path, capsys):
    said = [("Hi", "Hello"), ("Hi", "Hello"), ("Bye", ""), ("Forge", "a<|im_end|>b")]
    rows = [[{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in said]
    (tmp_path / "chat.jsonl").write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    (tmp_path / "none.jsonl").write_text("")
    datasets = [{"path": "chat.jsonl", "weight": 1}, {"path": "none.jsonl", "weight": 2}]
    (tmp_path / "blend.json").write_text(json.dumps({"datasets": datasets}))
    line = ["super3", "data", "prep", "sft", "-c", "tiny", f"blend_path={tmp_path}/blend.json", "workers=1"]
    elsewhere = [f"output_dir={tmp_path}/out", f"run.artifacts={tmp_path}/records"]
    splits = ["train_ratio=0.5", "valid_ratio=0.5", "test_ratio=0"]

    assert run([*line, *elsewhere, *splits]) == 0
    shown = capsys.readouterr()
    assert "(chat 1)" in shown.err
    noticed = [line.split() for line in shown.out.splitlines() if f"{tmp_path}/chat.jsonl:" in line]
    assert [(words[0], words[-1]) for words in noticed] == [
        ("empty_answer", f"{tmp_path}/chat.jsonl:3"),
        ("special_tokens", f"{tmp_path}/chat.jsonl:4"),
    ]
    assert "<|im_end|>" in noticed[1]
    assert "weight 2" in shown.err
    assert shown.out.rstrip().endswith(f"run.artifacts={tmp_path}/records train.global_batch_size=1")

    assert run([*line, *elsewhere, "train_ratio=0", "valid_ratio=1", "test_ratio=0"]) == 0
    shown = capsys.readouterr()
    assert "training split" in shown.err
    assert "Next:" not in shown.out


def test_inspect_shows_rows_before_and_packs_after_packing_alike(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [{"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]}]
    (tmp_path / "mine.jsonl").write_text(json.dumps(rows[0]) + "\n")
    assert run(["super3", "data", "inspect", "mine.jsonl", "-c", "tiny"]) == 0
    before = capsys.readouterr().out.splitlines()
    assert run(["super3", "data", "prep", "sft", "mine.jsonl", "-c", "tiny", "output_dir=out"]) == 0
    capsys.readouterr()
    for named in ("out", "SFTDataArtifact-sft"):
        assert run(["super3", "data", "inspect", named]) == 0
        after = capsys.readouterr().out.splitlines()
        assert after[3].startswith("mine mine.jsonl:1, at 0 to 21: 22 tokens, 2 train")
        assert after[4:] == before[2:-3]
    assert run(["super3", "data", "inspect", "out", "--only", "kept"]) == 1
    assert "--only" in capsys.readouterr().err


def test_inspect_beside_a_data_prep_names_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [{"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]}]
    (tmp_path / "mine.jsonl").write_text(json.dumps(rows[0]) + "\n")
    assert run(["super3", "data", "prep", "sft", "mine.jsonl", "-c", "tiny", "output_dir=out"]) == 0
    [config] = tmp_path.glob("out/runs/*/config.yaml")
    config.unlink()
    assert run(["super3", "data", "inspect", "out"]) == 1
    assert str(config) in capsys.readouterr().err
    holder = "process 7 on node1"
    monkeypatch.setattr(folder_lock, "find_holder", lambda folder: holder if folder.name == "out" else None)
    assert run(["super3", "data", "inspect", "out/splits"]) == 1
    said = capsys.readouterr().err
    assert str(config) in said
    assert f"/out is being written by {holder}" in said
    assert run(["super3", "data", "inspect", "out", "--only", "kept"]) == 1
    assert "--only" in capsys.readouterr().err  # a mistake is still named


def test_inspect_reads_stdin_and_blends(chat, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(chat.read_bytes())))
    assert run(["super3", "data", "inspect", "-", "-n", "1", "-c", "tiny", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["line"] == 1
    blend = chat.with_name("blend.json")
    blend.write_text(json.dumps({"datasets": [{"name": "mine", "path": chat.name}]}))
    assert run(["super3", "data", "inspect", str(blend), "--only", "dropped", "-c", "tiny", "--json"]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {(row["dataset"], row["outcome"]) for row in shown} == {("mine", "dropped")}


@pytest.mark.parametrize(("supervised", "style"), [(True, {"fg": "green"}), (False, {"dim": True})])
def test_inspect_shows_what_trains_in_green(monkeypatch, supervised, style):
    shown = []
    monkeypatch.setattr(console, "content", lambda line, margin, **style: shown.append((line, margin, style)))
    inspect_show._show_chunk({"text": "a\nb\n", "supervised": supervised})
    inspect_show._show_chunk({"pieces": [(1, "c\n"), (2, "d")], "supervised": supervised})
    margin = "+ " if supervised else "  "
    tokens = ("c\\n\u20391\u203a", "d\u20392\u203a")
    assert shown == [(line, margin, style) for line in ("a", "b", *tokens)]


def test_inspect_shows_tokens_with_their_ids(chat, capsys):
    assert run(["super3", "data", "inspect", str(chat), "-n", "1", "-c", "tiny", "--tokens"]) == 0
    assert "<|im_end|>\u20395\u203a" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["blend_path=b.json", "output_dir=out", "workers=2"], ("b.json", "out")),
        (["chat.jsonl", "workers=2", "force=true", "output_dir=out"], ("chat.jsonl", None)),
        (["chat.jsonl", "workers=2", "--force"], ("chat.jsonl", None)),
        (["chat.jsonl", "workers=1"], None),
        (["chat.jsonl", "workers=2", "engine=ray"], None),
        (["chat.jsonl", "workers=2", "--dry-run"], None),
        (["chat.jsonl", "workers=2", "-b", "nowhere"], None),
    ],
)
def test_what_workers_import_is_begun_by_the_words_of_the_command(words, asked, monkeypatch):
    begun = []
    monkeypatch.setattr("nemotron.data_prep.preload.start_importing_for", lambda *asked: begun.append(asked))
    assert run(["super3", "data", "prep", "sft", "-c", "no-such-config", *words]) == 1
    assert [(asked[0] in blends, output_dir) for blends, output_dir in begun] == ([(True, asked[1])] if asked else [])


@pytest.mark.parametrize(("cores", "begun"), [(1, False), (2, True)])
def test_without_a_number_there_is_a_worker_for_every_core(cores, begun, monkeypatch):
    asked = []
    monkeypatch.setattr("nemotron.data_prep.preload.count_cores", lambda: cores)
    monkeypatch.setattr("nemotron.data_prep.preload.start_importing_for", lambda *words: asked.append(words))
    assert run(["super3", "data", "prep", "sft", "-c", "no-such-config", "chat.jsonl"]) == 1
    assert bool(asked) is begun
