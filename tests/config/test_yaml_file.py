import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron.config import ConfigError, yaml_file
from nemotron.config.located import plain
from nemotron.config.yaml_file import as_argument, dump_yaml, parse_plain, parse_value, read_yaml


def read(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return read_yaml(path, "run.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("3.0e-3", 0.003),
        ("-7", -7),
        ("5_000", 5000),
        ("010", 10),
        (".5", 0.5),
        (".inf", float("inf")),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", ""),
        ("no", "no"),
        ("04:00:00", "04:00:00"),
        ("2026-01-01", "2026-01-01"),
        ("*.jsonl", "*.jsonl"),
        ("a: b", "a: b"),
        ("50%", "50%"),
        ("'007'", "007"),
        ('"1"', "1"),
        ("[a, 1, 2.5, null]", ["a", 1, 2.5, None]),
        ("{average: token, start: 0}", {"average": "token", "start": 0}),
    ],
)
def test_a_value_on_the_command_line_is_typed_as_in_yaml_1_2(text, value):
    parsed = plain(parse_value(text, "command line"))
    assert parsed == value
    assert type(parsed) is type(value)


def test_a_broken_list_on_the_command_line_is_named():
    with pytest.raises(ConfigError, match=r"command line: \[a,") as caught:
        parse_value("[a,", "command line")
    assert "bracket" in caught.value.hint


def test_every_value_knows_its_line(tmp_path):
    tree = read(tmp_path, "a: 1\nb:\n  c: x\n  d: [1, 2]\n")
    assert tree.value["a"].origin == "run.yaml:1"
    assert tree.value["b"].value["c"].origin == "run.yaml:3"
    assert tree.value["b"].value["d"].value[1].origin == "run.yaml:4"


def test_a_number_keeps_the_text_it_was_written_as(tmp_path):
    assert read(tmp_path, "revision: 0123").value["revision"].text == "0123"


def test_anchors_and_merge_keys_work(tmp_path):
    tree = read(tmp_path, "base: &base {lr: 1, wd: 2}\nmine:\n  <<: *base\n  lr: 3\n")
    assert plain(tree)["mine"] == {"lr": 3, "wd": 2}
    twice = read(tmp_path, "a: &a {lr: 1}\nb: &b {wd: 2}\nmine:\n  <<: *a\n  <<: *b\n")
    assert plain(twice)["mine"] == {"lr": 1, "wd": 2}


def test_an_empty_file_is_an_empty_config(tmp_path):
    assert plain(read(tmp_path, "# nothing yet\n")) == {}
    assert plain(read(tmp_path, "null\n")) == {}


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("a: 1\nb: [1\n", "run.yaml:3: this is not valid YAML", "Correct that line"),
        ("a: 1\na: 2\n", 'run.yaml:2: this is not valid YAML: the key "a" is already set in line 1', "Remove one"),
        ("- a\n", "run.yaml:1: a config must be `key: value` lines", "Begin its lines with a key"),
        ("just text", "run.yaml:1: a config must be `key: value` lines", "Begin its lines with a key"),
        ("a: *nowhere", "run.yaml:1: this is not valid YAML", "Correct that line"),
        ("a: !!python/object:os.system x", "run.yaml:1: this is not valid YAML", "Correct that line"),
        ("a: 1\nb: \x01\n", "run.yaml:2: this is not valid YAML: the character #x0001", "Remove it"),
    ],
)
def test_broken_files_are_named_with_the_line(tmp_path, text, message, hint):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert message in caught.value.message
    assert (caught.value.hint or "").startswith(hint)


def test_a_value_of_the_command_line_has_no_line_number():
    with pytest.raises(ConfigError, match=r"^a: .*#x0001"):
        parse_value("[\x01]", "a")


def test_a_file_that_is_not_text(tmp_path):
    (tmp_path / "run.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_yaml(tmp_path / "run.yaml", "run.yaml")


keys = st.text(min_size=1, max_size=5)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)


@given(st.dictionaries(keys, values, max_size=3))
def test_what_is_dumped_is_read_back(tmp_path_factory, tree):
    path = tmp_path_factory.getbasetemp() / "dumped.yaml"
    path.write_text(dump_yaml(tree), encoding="utf-8")
    assert plain(read_yaml(path, "dumped.yaml")) == tree


ALIASES = "\n".join(["a0: &a0 [x, x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ALIASES, "more than 1,000 values"),  # 9**11 in twelve lines
        ("a: &a\n  b: *a", "100"),
        ("a: &a [*a]", "100"),
        (f"a: {'[' * 500}{']' * 500}", "too deeply"),
        (f"a: {'9' * 5000}", "5,000 digits"),
        ("? [a, b]\n: c", "a key is not text"),
        ("? {a: b}\n: c", "a key is not text"),
        ('a: "\\ud800"', "surrogate"),
        ("#" + "x" * 9_000, "9,000"),
    ],
)
def test_a_config_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch, text, said):
    monkeypatch.setattr(yaml_file, "MOST_VALUES", 1000)
    monkeypatch.setattr(yaml_file, "LARGEST_FILE", 9_000)
    with pytest.raises(ConfigError, match=said) as error:
        read(tmp_path, text)
    assert str(error.value).startswith("run.yaml")


@pytest.mark.parametrize("text", ["a: !include {file: b.yaml}", "a: !!python/tuple [1, 2]"])
def test_a_tag_that_would_be_lost_is_refused(tmp_path, text):
    with pytest.raises(ConfigError, match=r"run\.yaml:1: .* the tag .* is not known"):
        read(tmp_path, text)


TAGGED = "a: !!python/object:os.system {}"
NOT_YAML = [ALIASES, TAGGED, "a: &a [*a]", "a: " + "[" * 500, "a: 1\na: 2", "a: \0", b"a: \xff", "", b""]


@pytest.mark.parametrize("text", NOT_YAML, ids=range(len(NOT_YAML)))
def test_yaml_of_other_programs_that_is_not_valid_is_none(monkeypatch, text):
    monkeypatch.setattr(yaml_file, "MOST_VALUES", 1000)
    assert parse_plain(text) is None


@pytest.mark.parametrize("text", ["a: [1, no]\nb: &b {c: 1.0e-05}\nd: *b\n", b"{a: [1, 'no'], b: &b {c: 1e-5}, d: *b}"])
def test_yaml_of_other_programs_is_read_as_plain_values(text):
    assert parse_plain(text) == {"a": [1, "no"], "b": {"c": 1e-5}, "d": {"c": 1e-5}}


def test_a_set_in_the_saved_config_of_adapters_is_read():
    assert parse_plain("params_to_save: !!set\n  a: null\n") == {"params_to_save": {"a": None}}


def test_aliases_as_people_use_them_are_fine(tmp_path):
    root = read(tmp_path, "base: &base {lr: 1, wd: 2}\none: *base\ntwo: {<<: *base, lr: 3}\n")
    assert plain(root) == {"base": {"lr": 1, "wd": 2}, "one": {"lr": 1, "wd": 2}, "two": {"wd": 2, "lr": 3}}


def test_a_number_of_thousands_of_digits_is_refused_on_the_command_line():
    with pytest.raises(ConfigError, match="5,000 digits"):
        parse_value("9" * 5000, "command line")


SHIPPED = Path(__file__).parents[2] / "config"
BROKEN = [
    "a: [1,\nb: 2",
    "a: é\x01",
    "a:\n\t- b",
    "a: 'x",
    "a: b: c",
    "a: *nowhere",
    "a: 1\n--- 2",
    "- a",
    "%YAML 3.0\n--- {}",
]


@pytest.mark.parametrize("text", [*BROKEN, *(path.read_text("utf-8") for path in sorted(SHIPPED.rglob("*.yaml")))])
def test_with_and_without_libyaml_the_same_is_read_and_said(tmp_path, monkeypatch, text):
    def read_or_refuse():
        try:
            return read(tmp_path, text)
        except ConfigError as error:
            return str(error)

    with_libyaml = read_or_refuse()
    monkeypatch.setattr(yaml_file, "CParser", None)
    assert read_or_refuse() == with_libyaml
    assert isinstance(with_libyaml, str) == (text in BROKEN)


def test_a_config_may_have_as_many_bytes_as_the_limit(tmp_path, monkeypatch):
    (tmp_path / "run.yaml").write_text("a: 1")
    monkeypatch.setattr(yaml_file, "LARGEST_FILE", 4)
    assert plain(read_yaml(tmp_path / "run.yaml", "run.yaml")) == {"a": 1}
    monkeypatch.setattr(yaml_file, "LARGEST_FILE", 3)
    with pytest.raises(ConfigError, match="4 bytes"):
        read_yaml(tmp_path / "run.yaml", "run.yaml")


def test_bytes_of_an_argument_that_are_no_text_are_refused():
    with pytest.raises(ConfigError, match=r"caf\\udce9"):
        parse_value(os.fsdecode(b"caf\xe9"), "command line")


@pytest.mark.parametrize(
    ("text", "fits"),
    [("a: [1, 2, 3]", True), ("a: [1, 2, 3, 4]", False), ("a: {b: {c: 1}}", True), ("a: {b: {c: {d: 1}}}", False)],
)
def test_as_many_values_and_levels_as_are_allowed_are_read(tmp_path, monkeypatch, text, fits):
    monkeypatch.setattr(yaml_file, "MOST_VALUES", 5)
    monkeypatch.setattr(yaml_file, "DEEPEST", 3)
    if fits:
        assert plain(read(tmp_path, text))
    else:
        with pytest.raises(ConfigError):
            read(tmp_path, text)


texts = st.text("1aä: #'\"\\\n[{-\x7f\x9b\u202e", max_size=6)


@given(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just("a\n\x7f")
    | st.lists(texts, max_size=3)
    | st.dictionaries(texts, texts, max_size=2)
)
def test_a_value_shown_as_an_argument_is_read_back(value):
    assert plain(parse_value(as_argument(value), "key")) == value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", '""'),
        ("größe", "größe"),
        (["ä", 1], '["ä", 1]'),
        (None, "null"),
        ("a\x7f", r'"a\u007f"'),
        (["\x9b\u202e"], r'["\u009b\u202e"]'),
        ("a\nb", r'"a\nb"'),
    ],
)
def test_a_value_is_shown_as_it_would_be_written(value, shown):
    assert as_argument(value) == shown


def test_values_are_dumped_in_their_order_on_long_lines():
    text = " ".join(["word"] * 23)  # 114 characters
    assert dump_yaml({"b": text, "a": None}) == f"b: {text}\na: null\n"


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path, monkeypatch):
    def fail(path):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "mine.yaml").touch()
    monkeypatch.setattr(yaml_file, "read_text", fail)
    with pytest.raises(ConfigError, match=r"mine\.yaml: cannot be read: Permission denied\."):
        read_yaml(tmp_path / "mine.yaml", "mine.yaml")
