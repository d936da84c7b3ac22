import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron.config import ConfigError, config_dir, interpolate
from nemotron.config.interpolate import _NotSimpleError, _resolve_simply, drop_open, escape, is_open, resolve
from nemotron.config.located import attach_origin, plain


def resolved(tree):
    return plain(resolve(attach_origin(tree, "run.yaml:3"), "mine"))


def test_interpolations_name_keys_the_environment_and_the_shipped_folder(monkeypatch):
    monkeypatch.setenv("TEAM_DIR", "/team")
    monkeypatch.delenv("NOT_SET", raising=False)
    tree = {
        "root": "${oc.env:TEAM_DIR}/runs",
        "output": "${root}/x",
        "fallback": "${oc.env:NOT_SET,here}",
        "tokenizer": "${config_dir:data_prep/tiny/tokenizer}",
        "name": "${config_name:}",
        "copy": "${nested}",
        "nested": {"a": [1, "${root}"]},
        "plain": "no $ here, and \\${root} is text",
    }
    assert resolved(tree) == {
        "root": "/team/runs",
        "output": "/team/runs/x",
        "fallback": "here",
        "tokenizer": str(config_dir() / "data_prep/tiny/tokenizer"),
        "name": "mine",
        "copy": {"a": [1, "/team/runs"]},
        "nested": {"a": [1, "/team/runs"]},
        "plain": "no $ here, and ${root} is text",
    }


PIECES = (
    *("${config_name:}", "${config_dir:data_prep/tiny}", "${unless_default:${config_name}}", "${config_name}"),
    *("${oc.env:TEAM_DIR}", "${oc.env:TEAM_DIR,here}", "${oc.env:NOT_SET,here/x-1.y}", "${oc.env:NOT_SET,null}"),
    *("${oc.env:NOT_SET,True}", "${oc.env:NOT_SET,3}", "$", "\\", "a b", "???", "\n", "{", "}", "é"),
)
TEXTS = st.lists(st.sampled_from(PIECES), max_size=3).map("".join)
KEYS = st.sampled_from(
    ["${rate}", "${section.a}", "${section.b}", "${section.flag}", "${rate.a}", "${none}", "${section}"]
)


@given(
    name=st.sampled_from(["default", "mine", "${config_name:}", "${oc.env:TEAM_DIR}", 7, None]),
    values=st.lists(st.one_of(TEXTS, KEYS, st.integers(), st.none(), st.booleans(), st.lists(TEXTS)), max_size=3),
)
def test_what_is_resolved_without_omegaconf_is_what_it_resolves(name, values):
    section = {"flag": True, **dict(zip("abc", values, strict=False))}
    tree = attach_origin({"config_name": name, "rate": 0.1, "section": section}, "run.yaml:3")

    def result():
        try:
            return plain(resolve(tree, "mine"))
        except ConfigError as error:
            return str(error)

    def leave_it(tree, config_name):
        raise interpolate._NotSimpleError

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("TEAM_DIR", "/team")
        monkeypatch.delenv("NOT_SET", raising=False)
        mine = result()
        monkeypatch.setattr(interpolate, "_resolve_simply", leave_it)
        assert mine == result()


def test_shipped_configs_are_loaded_without_omegaconf():
    code = "import sys; from nemotron.cli.configs import load_prep, load_sft; "
    code += "[load(name, []) for load in (load_prep, load_sft) for name in ('default', 'tiny')]; "
    code += "print('omegaconf' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout == "False\n"


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        ("${rot}", " rot", 'Did you mean "root"?'),
        ("${oc.env:NOT_SET}", " NOT_SET ", "export NOT_SET=..."),
        ("${zzz}", " zzz", "${run.artifacts}"),
        ("${nope:1}", " nope", "${KEY}, ${oc.env:"),
        ("${root", "", r"\${"),
        ("${a}", "itself", ""),
        ("${a.b}", "itself", ""),
    ],
)
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: ["x", value]], ids=["scalar", "in a list"])
def test_what_cannot_be_resolved_is_named_with_key_and_origin(monkeypatch, wrap, value, message, hint):
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(ConfigError) as caught:
        resolved({"root": "/", "a": {"b": wrap(value)}})
    assert caught.value.message.startswith("run.yaml:3: a.b: ")
    assert message in caught.value.message.split("resolved: ")[1]
    assert str(wrap(value)) in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("reference", ["{a.v%d}", "{.v%d}"])
def test_values_that_multiply_are_refused(reference):
    """Ten lines, each of which names the one before ten times."""
    named = {f"v{n}": ("$" + reference % (n - 1)) * 10 for n in range(1, 11)}
    with pytest.raises(ConfigError, match=r"a\.v\d+"):
        resolved({"a": {"v0": "x", **named}})


@pytest.mark.parametrize(
    ("first", "reference"),
    [(["x", "y"], "a.v%d[1]"), (["x", "y"], ".v%d.1"), (["x", {"b": "y"}], "a.v%d[1].b")],
)
def test_elements_of_lists_that_multiply_are_refused(monkeypatch, first, reference):
    monkeypatch.setattr(interpolate, "LARGEST_TEXT", 1000)
    named = {}
    for n in range(1, 12):
        twice = ("${" + reference % (n - 1) + "}") * 2
        named[f"v{n}"] = ["x", twice if isinstance(first[1], str) else {"b": twice}]
    with pytest.raises(ConfigError, match=r"a\.v\d+(\.1\.b)? becomes longer"):
        resolved({"a": {"v0": first, **named}})


def test_a_section_that_multiplies_is_refused():
    with pytest.raises(ConfigError, match="copies"):
        resolved({"long": {"text": "x" * 10_000}, "copies": "${long}" * 200})


def test_a_value_may_be_as_long_as_the_limit(monkeypatch):
    """Its own text counts, and what it names."""
    tree = {"a": "abc", "b": "${a}"}
    monkeypatch.setattr(interpolate, "LARGEST_TEXT", len("${a}abc"))
    assert resolved(tree)["b"] == "abc"
    monkeypatch.setattr(interpolate, "LARGEST_TEXT", len("${a}abc") - 1)
    with pytest.raises(ConfigError, match="b becomes longer"):
        resolved(tree)


def test_a_value_is_open_if_anything_in_it_is():
    open_one = "${art:data,path}"
    assert [is_open(value) for value in (["a", open_one], {"a": 1, "b": [open_one]})] == [True, True]
    assert not any(is_open(value) for value in ([], {}, ["a", 1], {"a": None}))


def test_open_values_are_none_until_an_artifact_is_looked_up():
    open_one = "${art:data,path}/x"
    tree = {"a": open_one, "b": [1, open_one, {"c": open_one}], "d": "${run.data}"}
    assert drop_open(tree) == {"a": None, "b": [1, None, {"c": None}], "d": "${run.data}"}


def test_a_resolved_text_that_looks_like_an_interpolation_is_kept_as_text():
    for text in ("$5", "a ${b} and ${c}", "no", "${oc.env:HOME}"):
        assert resolved({"text": escape(text)}) == {"text": text}
    assert escape("${art:data,path} ${b}") == r"${art:data,path} \${b}"  # a later load looks the first one up


def test_artifacts_may_be_left_open():
    tree = attach_origin({"path": "${art:data,path}", "name": "${config_name:}"}, "run.yaml:3")
    assert plain(resolve(tree, "mine", leave_artifacts=True)) == {"path": "${art:data,path}", "name": "mine"}


@pytest.mark.parametrize(("name", "suffix"), [("default", ""), ("mine", "-mine")])
def test_a_config_other_than_the_default_adds_its_name(name, suffix):
    tree = {"folder": "out${unless_default:${config_name:}}", "dollar": "${oc.env:NOT_SET,1}"}
    assert plain(resolve(attach_origin(tree, "run.yaml:3"), name))["folder"] == f"out{suffix}"


def test_long_texts_and_many_names_are_fine():
    tree = {"root": "/a/" + "b" * 1000, **{f"key{n}": "${root}/x" for n in range(500)}}
    assert len(resolved(tree)["key7"]) == 1005


@pytest.mark.parametrize(
    ("value", "resolved_to"),
    [
        ({"b": ["${rate}", "${section.size}", None, True, 3]}, {"b": [0.1, 5, None, True, 3]}),
        ("a ${config_name:} b", "a mine b"),
        ("${config_dir:tiny}", str(config_dir() / "tiny")),
        ("x${unless_default:${config_name}}", "x-mine"),
        ("${oc.env:TEAM_DIR}/${oc.env:NOT_SET,here}", "/team/here"),
    ],
)
def test_what_the_shipped_configs_use_needs_no_omegaconf(monkeypatch, value, resolved_to):
    monkeypatch.setenv("TEAM_DIR", "/team")
    monkeypatch.delenv("NOT_SET", raising=False)
    tree = {"rate": 0.1, "section": {"size": 5}, "config_name": "${config_name:}", "value": value}
    assert _resolve_simply(tree, "mine")["value"] == resolved_to


@pytest.mark.parametrize(
    "value", [b"bytes", [{"a": b"bytes"}], "???", "${section}", "${other}", "a\\b${config_name:}", "${oc.env:NOT_SET}",
              "${oc.env:NOT_SET,null}", "${unless_default:${config_name}}"],
)  # fmt: skip
def test_anything_else_is_left_to_omegaconf(monkeypatch, value):
    monkeypatch.delenv("NOT_SET", raising=False)
    for name in (5, "${unless_default:x}"):
        with pytest.raises(_NotSimpleError):
            _resolve_simply({"section": {"size": 5}, "config_name": name, "value": value}, "mine")


def test_the_default_config_adds_no_name():
    tree = {"config_name": "default", "value": "x${unless_default:${config_name}}"}
    assert _resolve_simply(tree, "mine")["value"] == "x"


def test_an_artifact_is_looked_up_as_the_section_run_says(monkeypatch):
    monkeypatch.setattr("nemotron.lineage.config_values.look_up", lambda run, name, field: run.get(name, "none"))
    assert resolved({"run": {"data": "Mine"}, "a": "${art:data,path}"})["a"] == "Mine"
    assert resolved({"run": None, "a": "${art:data,path}"})["a"] == "none"


@pytest.mark.parametrize("leave_artifacts", [True, False])
@pytest.mark.parametrize("value", ["${art:data}", "${art:}"])
def test_an_artifact_without_a_field_is_refused(value, leave_artifacts):
    tree = attach_origin({"a": value}, "run.yaml:3")
    with pytest.raises(ConfigError, match=r"run.yaml:3: a: .* names no field of the artifact") as error:
        resolve(tree, "mine", leave_artifacts=leave_artifacts)
    assert "${art:data,path}" in error.value.hint
