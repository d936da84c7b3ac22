import io
import json
import os

import pytest

from nemotron.secrets import (
    MaskedStream,
    holds_secret,
    is_secret,
    mask_pieces,
    mask_text,
    mask_tree,
    mask_values,
    remember_secrets,
)


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch):
    """No test knows the secrets of another."""
    monkeypatch.setattr("nemotron.secrets._remembered", set())


@pytest.mark.parametrize(
    "key",
    [
        "hf_token",
        "logger.wandb_api_key",
        "HF_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "db.password",
        "key",
        "api-key",
        "apikey",
        "clientSecret",
        "storage.accountKey",
        "APIKey",
        "headers.Authorization",
    ],
)
def test_secrets(key):
    assert is_secret(key)


@pytest.mark.parametrize(
    "key",
    [
        "tokenizer",
        "tokenizer.model",
        "max_doc_tokens",
        "eos_token",
        "special_tokens_in_content",
        "text_key",
        "seed",
        "maxTokens",
        "TokenizerConfig",
        "",
    ],
)
def test_not_secrets(key):
    assert not is_secret(key)


def test_masking_replaces_text_under_a_secrets_key_and_nothing_else():
    tree = {"hf_token": "hf_x", "keys": {"api_key": ["a", "b"]}, "wandb_key": None, "secret": "", "lr": 1, "n": "x"}
    assert mask_tree(tree) == {
        "hf_token": "***",
        "keys": {"api_key": ["***", "***"]},
        "wandb_key": None,
        "secret": "",
        "lr": 1,
        "n": "x",
    }
    assert tree["hf_token"] == "hf_x"


_KEY = "-----BEGIN PRIVATE KEY-----***-----END PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://KEY:SECRET@bucket/path", "s3://***@bucket/path"),
        ("postgres://u:p@host/db and more", "postgres://***@host/db and more"),
        ("https://ghtoken@host/x", "https://***@host/x"),
        ("HTTPS://ghtoken@host/x", "HTTPS://***@host/x"),
        ("ssh://git@host/x", "ssh://git@host/x"),  # a name, as everybody has it
        ("main hf_abcdefghijklmnop", "main ***"),
        (f"/data_hf_{'a1' * 17}/x", "/data_***/x"),
        (f"xghp_{'a1' * 18}hf_{'b2' * 17}_", "x******_"),
        ("s3://KEY:SE/CR+ET@bucket/path", "s3://***@bucket/path"),
        ("https://me:p@ss@host/x", "https://***@host/x"),
        ("https:/me:pw@host/x", "https:/***@host/x"),  # as a path of Python writes it
        (r"https:\/\/me:pw@host\/x", r"https:\/\/***@host\/x"),  # as JSON may write it
        ("s3://KEY%2F:SEC%40RET@bucket", "s3://***@bucket"),
        ("https://b/x?v=4&X-Amz-Signature=0a1b&n=1", "https://b/x?v=4&X-Amz-Signature=***&n=1"),
        ("https://b/x?sv=2&sig=a%2Bb%3D and more", "https://b/x?sv=2&sig=*** and more"),
        ("https://b/x?n=1&amp;accessToken=abc#top", "https://b/x?n=1&amp;accessToken=***#top"),
        ("https://b/x?eos_token=</s>&max_tokens=5", "https://b/x?eos_token=</s>&max_tokens=5"),
        ("?key=a", "?key=***"),  # short texts, too
        ("ab:/:c@", "ab:/***@"),
        ("Protocol=https;AccountKey=ab==;End=x", "Protocol=https;AccountKey=***;End=x"),
        ('"Authorization": "Basic bWU6cGFzc3dvcmQx"', '"Authorization": "Basic ***"'),
        ("a bearer 0123456789abcdef", "a bearer ***"),
        ("their basic responsibilities", "their basic responsibilities"),
        ("authorization is required, bearers are unwelcome", "authorization is required, bearers are unwelcome"),
        ("--export=MY_API_KEY=abcdefgh,N=1", "--export=MY_API_KEY=***,N=1"),
        ("export MY_API_KEY=$OTHER_KEY", "export MY_API_KEY=$OTHER_KEY"),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl!", "***!"),
        ("-----BEGIN PRIVATE KEY-----\nMIIC\nAAKB\n-----END PRIVATE KEY-----", _KEY),
    ],
)
def test_credentials_are_found_in_any_text(text: str, shown: str):
    assert mask_text(text) == shown
    assert mask_tree({"revision": [text]}) == {"revision": [shown]}


@pytest.mark.parametrize("name", ["MY_LOGIN", "PGUSER", "SERVICE_URL", "A"])
def test_a_variable_that_nobody_knows_may_be_a_secret(name: str):
    assert is_secret(f"env_vars.{name}")
    assert mask_tree({"env_vars": {name: "x"}}) == {"env_vars": {name: "***"}}


@pytest.mark.parametrize("name", ["NCCL_DEBUG", "CUDA_VISIBLE_DEVICES", "HF_HOME", "OMP_NUM_THREADS", "WANDB_MODE"])
def test_variables_known_to_be_public_are_shown(name: str):
    assert not is_secret(f"env_vars.{name}")


def test_what_a_secret_variable_holds_is_a_secret_under_any_key(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOME_API_TOKEN", "correct-horse")
    assert mask_tree({"name": "run-correct-horse-7"}) == {"name": "run-***-7"}
    for place in ("/home/me/token", "~/my/token", "./my/token", "${oc.env:MY_TOKEN}"):  # where it is, not what it is
        monkeypatch.setenv("SOME_API_TOKEN", place)
        assert mask_text(place) == place


def test_a_secret_that_is_part_of_another_leaves_no_end_of_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOME_API_TOKEN", "correct-horse-battery")
    monkeypatch.setenv("OTHER_API_TOKEN", "horse-ba")
    assert mask_text("a correct-horse-battery staple") == "a *** staple"
    monkeypatch.setenv("OTHER_API_TOKEN", "battery staple")
    assert mask_text("a correct-horse-battery staple") == "a ***"


def test_a_known_secret_is_found_in_the_forms_that_it_is_printed_in(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOME_API_TOKEN", 'correct/"horse"')
    assert (
        mask_text('{"a": "correct/\\"horse\\""} https://h/?t=correct%2F%22horse%22') == '{"a": "***"} https://h/?t=***'
    )
    monkeypatch.setenv("SOME_API_TOKEN", "-----BEGIN KEY-----\nMIICXAIBAAKBgQ\n-----END KEY-----\n")
    assert mask_text("> MIICXAIBAAKBgQ") == "> ***"


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        (["key ", "hf_", "abcdefgh", "ijklmnop", " end"], ["key ", "***", None, None, " end"]),
        (["my hf_abcdefgh", "ijklmnop. No"], ["my ***", ". No"]),
        (["x s3://A:B@bucket sk-abcdefgh", "ijklmnopqr"], ["x s3://***@bucket ***", None]),
        (["", "nothing", ""], ["", "nothing", ""]),
        (["a ", "s3://A:B@b hf_abcdefghijklmnop c"], ["a ", "s3://***@b *** c"]),
        (["a hf_abcdefgh", "ijklmnop s3://A:B@b", "c"], ["a ***", " s3://***@b", "c"]),
        ([], []),
    ],
)
def test_a_secret_is_masked_however_a_text_is_cut(pieces: list[str], shown: list[str | None]):
    assert mask_pieces(pieces) == shown
    assert "".join(piece or "" for piece in shown) == mask_text("".join(pieces))


@pytest.mark.parametrize("text", ["a.", "xx://a:", "sk-", "https://a", "xx:/a:b@@", "hf_A"])
def test_no_text_takes_time_that_grows_with_its_square(text: str):
    """A megabyte of any of these took hours."""
    assert mask_text(text * 200_000).startswith((text[:2], "***"))


def test_what_a_config_holds_as_a_secret_is_found_in_other_texts():
    remember_secrets({"db": {"password": "battery-staple"}, "source": "postgres://me:gulf-stream@host/db"})
    assert mask_text("cannot log in with battery-staple") == "cannot log in with ***"
    assert mask_text("gulf-stream") == "***"
    assert mask_values({"a": ["battery-staple", 3]}) == {"a": ["***", 3]}


def test_a_variable_that_vanishes_meanwhile_is_no_error(monkeypatch: pytest.MonkeyPatch):
    """Threads of libraries set and remove variables, as MLflow's telemetry does."""
    monkeypatch.setenv("VANISHING_TOKEN", "correct-horse")
    get = os.environ.get

    def get_and_remove(name: str, default: str | None = None) -> str | None:
        os.environ.pop("VANISHING_TOKEN", None)
        return get(name, default)

    monkeypatch.setattr(os.environ, "get", get_and_remove)
    assert mask_text("a text") == "a text"


def test_a_stream_masks_what_others_print(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOME_API_TOKEN", "correct-horse")
    written = io.StringIO()
    print("with correct-horse", file=MaskedStream(written))
    MaskedStream(written).writelines(["a correct-horse", "\n"])
    assert written.getvalue() == "with ***\na ***\n"
    assert MaskedStream(written).getvalue() == written.getvalue()
    assert MaskedStream(written).write("correct-horse") == len("correct-horse")  # what was given, as of any stream


@pytest.mark.parametrize(
    "text",
    [
        "ssh://me@host/x",
        "http://host:80/a@b",
        "hf_home",
        "a:b@c",
        "/data/x@y:z",
        "hf_tokenizer",
        "docker://h:5000/a@sha256:b",
        "",
    ],
)
def test_what_only_looks_like_credentials_is_left(text: str):
    assert not holds_secret(text)


@pytest.mark.parametrize(
    "word", ["secret", "secrets", "password", "passwd", "passphrase", "credential", "credentials", "apikey"]
)
def test_a_word_for_a_secret_counts_wherever_it_stands_in_a_key(word):
    assert is_secret(f"db.{word}")
    assert is_secret(f"{word}_of_mine")
    assert is_secret(f"my-{word.upper()}")
    assert not is_secret(f"{word}.name")
    assert not is_secret(f"my{word}x")


@pytest.mark.parametrize("before", ["pad", "eos", "bos", "unk", "mask", "stop", "text", "prompt", "label", "messages"])
def test_a_token_or_a_key_of_texts_is_no_secret(before):
    for last in ("token", "key"):
        assert not is_secret(f"{before}_{last}")
        assert is_secret(f"my_{last}")
        assert is_secret(f"{before}_api_{last}")


def test_a_secret_with_letters_of_another_alphabet_is_found_in_either_form_of_json():
    secret = 'pässw"ört-1234'
    remember_secrets({"env_vars": {"MY_PASSWORD": secret}})
    for as_ascii in (True, False):
        assert mask_text(json.dumps({"a": f"x {secret} y"}, ensure_ascii=as_ascii)) == '{"a": "x *** y"}'
