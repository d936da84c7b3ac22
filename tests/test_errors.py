"""A user's mistakes: one reads as a sentence and its fix, several as a list."""

import pytest

from nemotron.errors import Problem, UserError, did_you_mean, refuse


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
