"""A user's mistakes: one reads as a sentence and its fix, several as a list."""

import httpx
import pytest
from huggingface_hub import errors

from nemotron.errors import Problem, UserError, as_problem, did_you_mean, explain_hub_errors, first_line, refuse


def test_without_a_problem_nothing_is_refused():
    refuse([])


def test_one_problem_reads_as_if_it_had_been_raised_itself():
    with pytest.raises(UserError) as error:
        refuse([Problem("a is 1.", "Use 2.")])
    assert (error.value.message, error.value.hint) == ("a is 1.", "Use 2.")


def test_several_are_listed_each_with_its_fix_and_none_twice():
    with pytest.raises(UserError) as error:
        refuse([Problem("a is 1.", "Use 2."), Problem("b is 3.", "Use 4."), Problem("a is 1.", "Use 2.")])
    assert error.value.message.splitlines()[1:] == ["  1. a is 1. Use 2.", "  2. b is 3. Use 4."]
    assert error.value.hint


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("trian.train_iters", ["train.train_iters", "train.eval_iters"], "train.train_iters"),
        ("train.train_itres", ["train.eval_iters", "train.train_iters"], "train.train_iters"),
        ("train_itres", ["train.train_iters"], "train.train_iters"),
        ("optimizer.foo", ["optimizer.lr", "optimizer.min_lr"], None),
        ("/data/projects/sft/chat/x.jsonl", ["/data/projects/sft/chat/tools.jsonl"], None),
        ("/data/projects/sft/chat/tolos.jsonl", ["/data/projects/sft/chat/tools.jsonl"], "tools.jsonl"),
        ("/data/projects/sft/chatt/tools.jsonl", ["/data/projects/sft/chat/tools.jsonl"], "chat/tools.jsonl"),
        ("logger.wandb_name", ["logger.wandb_entity", "logger.wandb_project"], None),
        ("Data-sft:v12", ["Data-sft:v1", "Data-sft:tiny"], "Data-sft:v1"),
        ("anything", [], None),
    ],
)
def test_only_what_is_close_where_it_differs_is_suggested(word, known, meant):
    guess = did_you_mean(word, known)
    assert guess is None if meant is None else f'{meant}"?' in str(guess)


def test_an_error_reads_as_what_is_wrong_and_what_to_do():
    assert str(UserError("a is 1.", "Use 2.")) == "a is 1. Use 2."
    assert str(UserError("a is 1.")) == "a is 1."
    assert as_problem(UserError("a is 1.", "Use 2.")) == Problem("a is 1.", "Use 2.")
    assert as_problem(UserError("a is 1.")) == Problem("a is 1.", "")


def test_without_a_fix_there_is_no_hint():
    with pytest.raises(UserError) as error:
        refuse([Problem("a is 1.", "")])
    assert error.value.hint is None


ANSWER = httpx.Response(404, request=httpx.Request("GET", "https://huggingface.co"))


@pytest.mark.parametrize(
    ("error", "message", "hint"),
    [
        (errors.GatedRepoError("no", response=ANSWER), "is gated", "huggingface.co/datasets/org/chat,"),
        (errors.RevisionNotFoundError("no", response=ANSWER), "has no revision v2", "branch"),
        (errors.RepositoryNotFoundError("no", response=ANSWER), "does not exist on the hub", "private dataset"),
        (httpx.ConnectError("refused.\nThen more"), "cannot be read from the hub: refused.", "HF_ENDPOINT"),
        (OSError("refused"), "cannot be read from the hub: refused.", "download the dataset"),
    ],
)
def test_an_error_of_the_hub_is_said_in_a_sentence(error: Exception, message: str, hint: str):
    with pytest.raises(UserError) as caught, explain_hub_errors("The data", "dataset", "org/chat", "v2"):
        raise error
    assert caught.value.message.startswith(f"The data {message}")
    assert hint in str(caught.value.hint)


def test_a_full_disk_is_no_error_of_the_hub():
    full = OSError(28, "No space left on device", "/cache/x")
    with pytest.raises(OSError, match="No space left"), explain_hub_errors("The data", "dataset", "org/chat", None):
        raise full


@pytest.mark.parametrize(
    ("error", "line"),
    [(ValueError("One.\nTwo."), "One"), (ValueError(" \n one"), "one"), (ValueError(""), "ValueError")],
)
def test_of_an_error_its_first_line_is_shown(error: Exception, line: str):
    assert first_line(error) == line
