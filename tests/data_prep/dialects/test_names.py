"""Every name under which other tools store something is read as what it means, or costs its row.

The lists are written out again: a name that is lost here is somebody's data that is lost there.
"""

import pytest

from nemotron.data_prep.dialects.row import parse_row
from nemotron.data_prep.drop_reasons import DropReason, RowError

USER = {"role": "user", "content": "Hi"}
ASSISTANT = {"role": "assistant", "content": "Hello"}


def messages_of(row):
    return parse_row(row).messages


def answer(**fields):
    """The assistant's message of a conversation whose answer has these fields."""
    return messages_of({"messages": [USER, {**ASSISTANT, **fields}]})[-1]


@pytest.mark.parametrize(
    ("role", "names"),
    [
        ("system", "system developer"),
        ("user", "user human"),
        ("assistant", "assistant gpt chatgpt bot model ai"),
        ("tool", "tool function observation function_response tool_response ipython"),
    ],
)
def test_speakers_have_many_names(role, names):
    for name in names.split():
        for speaker, text in (("role", "content"), ("from", "value")):
            said = [{speaker: name, text: "a"}, {speaker: "user", text: "b"}, {speaker: "assistant", text: "c"}]
            assert messages_of({"messages": said})[0]["role"] == role, name


@pytest.mark.parametrize("name", ["function_call", "tool_call"])
def test_some_speakers_only_call(name):
    said = [{"from": "human", "value": "a"}, {"from": name, "value": '{"name": "f", "arguments": {}}'}]
    assert messages_of({"messages": [*said, {"from": "gpt", "value": "c"}]})[1]["tool_calls"]


@pytest.mark.parametrize(
    ("kind", "role"),
    [("human", "user"), ("ai", "assistant"), ("system", "system"), ("tool", "tool"), ("function", "tool")],
)
def test_langchain_calls_a_speaker_a_type(kind, role):
    said = [{"type": kind, "content": "a"}, {"type": "human", "content": "b"}, {"type": "ai", "content": "c"}]
    assert messages_of({"messages": said})[0]["role"] == role
    wrapped = [{"type": message["type"], "data": {"content": message["content"]}} for message in said]
    assert messages_of({"messages": wrapped}) == messages_of({"messages": said})


THOUGHTS = (
    *("reasoning_content", "reasoning", "thinking", "reasoning_text", "thinking_content", "thought"),
    *("reasoning_details", "thinking_blocks"),
)


@pytest.mark.parametrize("name", THOUGHTS)
def test_a_thought_has_many_names(name):
    assert answer(**{name: "Hm."})["reasoning_content"] == "Hm."
    assert answer(**{name: [{"type": "thinking", "thinking": "Hm."}]})["reasoning_content"] == "Hm."


@pytest.mark.parametrize("kind", ["thinking", "reasoning", "reasoning_content", "reasoning_text", "thought"])
@pytest.mark.parametrize("key", ["thinking", "reasoning", "reasoning_content", "text", "summary", "content"])
def test_a_part_that_is_a_thought_has_many_names(kind, key):
    parts = [{"type": kind, key: "Hm."}, {"type": "text", "text": "Hello"}]
    assert answer(content=parts) == {**ASSISTANT, "reasoning_content": "Hm."}


@pytest.mark.parametrize("kind", ["text", "input_text", "output_text"])
def test_a_part_that_is_text_has_many_names(kind):
    assert answer(content=[{"type": kind, "text": "Hello"}]) == ASSISTANT


@pytest.mark.parametrize("kind", ["tool_use", "tool_call", "function_call"])
@pytest.mark.parametrize("arguments", ["arguments", "parameters", "args", "input", "kwargs"])
def test_a_part_that_is_a_call_and_its_arguments_have_many_names(kind, arguments):
    part = {"type": kind, "id": "1", "name": "f", arguments: {"a": 1}}
    [call] = answer(content=[part])["tool_calls"]
    assert call["function"] == {"name": "f", "arguments": {"a": 1}}


@pytest.mark.parametrize("name", ["tool_calls", "function_call", "function_calls", "tool_call"])
def test_calls_have_many_names(name):
    call = {"name": "f", "arguments": {"a": 1}}
    for given in ([call], call):
        [found] = answer(content="", **{name: given})["tool_calls"]
        assert found["function"] == call


@pytest.mark.parametrize("name", ["tool_call_id", "tool_use_id", "call_id"])
def test_a_result_names_its_call(name):
    call = {"id": "7", "name": "f", "arguments": {}}
    said = [USER, {**ASSISTANT, "tool_calls": [call]}, {"role": "tool", "content": "1", name: "7"}, ASSISTANT]
    assert messages_of({"messages": said})[2]["tool_call_id"] == "7"


@pytest.mark.parametrize("name", ["id", "call_id", "tool_call_id", "index", "type"])
def test_what_a_call_says_of_itself_is_no_argument(name):
    assert (
        parse_row({"messages": [USER, {**ASSISTANT, "tool_calls": [{"name": "f", "arguments": {}, name: "x"}]}]}).notes
        == ()
    )


@pytest.mark.parametrize("name", ["system", "system_prompt", "system_message"])
def test_a_system_prompt_may_stand_next_to_the_messages(name):
    row = {"messages": [USER, ASSISTANT], name: "Be brief."}
    assert messages_of(row)[0] == {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize("tools", ["tools", "functions"])
@pytest.mark.parametrize("schema", ["parameters", "input_schema", "inputSchema"])
def test_tools_and_their_schemas_have_many_names(tools, schema):
    [tool] = parse_row({"messages": [USER, ASSISTANT], tools: [{"name": "f", schema: {"type": "object"}}]}).tools or []
    assert tool == {"name": "f", "parameters": {"type": "object"}}


@pytest.mark.parametrize("name", ["messages", "conversations", "conversation"])
def test_messages_have_many_names(name):
    assert messages_of({name: [USER, ASSISTANT]}) == [USER, ASSISTANT]


@pytest.mark.parametrize("prompt", ["prompt", "instruction", "query", "question", "input"])
@pytest.mark.parametrize("completion", ["completion", "output", "response", "answer"])
def test_a_prompt_and_its_answer_have_many_names(prompt, completion):
    assert messages_of({prompt: "Hi", completion: "Hello"}) == [USER, ASSISTANT]


@pytest.mark.parametrize("name", ["input", "context"])
def test_an_instruction_may_have_an_input(name):
    [user, _] = messages_of({"instruction": "Add.", name: "1 and 2", "output": "3"})
    assert user["content"].startswith("Add.")
    assert "1 and 2" in user["content"]


TRAINED = "train trainable training weight loss loss_weight loss_mask loss_scale step_loss_mask"


@pytest.mark.parametrize("name", TRAINED.split())
def test_a_flag_says_that_a_message_trains_or_not(name):
    said = [USER, {**ASSISTANT, name: 0}, USER, {**ASSISTANT, name: 1}]
    first, second = (message.get("train", True) for message in messages_of({"messages": said})[1::2])
    assert (first, second) == (False, True)
    assert answer(**{name: None}) == ASSISTANT


@pytest.mark.parametrize("name", ["mask", "masked", "ignore", "ignored", "ignore_loss"])
def test_a_flag_may_say_the_opposite(name):
    said = [USER, {**ASSISTANT, name: True}, USER, {**ASSISTANT, name: False}]
    first, second = (message.get("train", True) for message in messages_of({"messages": said})[1::2])
    assert (first, second) == (False, True)


def reason_of(row):
    with pytest.raises(RowError) as caught:
        parse_row(row)
    return caught.value.reason


@pytest.mark.parametrize("name", ["train_detail", "training_detail"])
def test_a_flag_for_a_part_of_a_message_costs_its_row(name):
    assert reason_of({"messages": [USER, {**ASSISTANT, name: [{"start": 0}]}]}) is DropReason.BAD_TRAIN_FLAG
    assert reason_of({"messages": [USER, {**ASSISTANT, name: 1}]}) is DropReason.BAD_TRAIN_FLAG
    assert answer(**{name: []}) == ASSISTANT


@pytest.mark.parametrize("name", ["chosen", "rejected", "rejected_response", "rejected_messages"])
def test_answers_that_are_compared_cost_their_row(name):
    assert reason_of({"messages": [USER, ASSISTANT], name: "Bye"}) is DropReason.PREFERENCE_DATA


@pytest.mark.parametrize("name", ["label", "kto_tag"])
def test_a_bad_answer_costs_its_row(name):
    assert messages_of({"messages": [USER, ASSISTANT], name: True}) == [USER, ASSISTANT]
    assert reason_of({"messages": [USER, ASSISTANT], name: False}) is DropReason.PREFERENCE_DATA


@pytest.mark.parametrize("name", ["images", "image", "audios", "audio", "videos", "video"])
def test_media_cost_their_row(name):
    assert reason_of({"messages": [USER, ASSISTANT], name: ["a.file"]}) is DropReason.MEDIA
    assert reason_of({"messages": [{**USER, name: ["a.file"]}, ASSISTANT]}) is DropReason.MEDIA


METADATA = (
    *("id", "uuid", "idx", "index", "conversation_id", "source", "dataset", "data_source", "split", "category"),
    *("domain", "language", "license", "version", "generator", "model", "timestamp", "created", "url", "metadata"),
    *("used_in", "rollout", "reference"),
)


@pytest.mark.parametrize("name", METADATA)
def test_where_a_row_comes_from_needs_no_note(name):
    assert parse_row({"messages": [USER, ASSISTANT], name: "x"}).notes == ()


@pytest.mark.parametrize("name", ["id", "index", "timestamp", "name"])
def test_what_a_message_says_of_itself_needs_no_note(name):
    assert parse_row({"messages": [{**USER, name: "x"}, ASSISTANT]}).notes == ()


@pytest.mark.parametrize(
    "name", ["system", "system_prompt", "system_message", "tools", "functions", "messages", "conversations", *THOUGHTS]
)
def test_what_is_said_in_metadata_alone_is_noted(name):
    [note] = parse_row({"messages": [USER, ASSISTANT], "metadata": {name: "x", "license": "y"}}).notes
    assert note.name == f"metadata.{name}"


@pytest.mark.parametrize(
    "tag",
    [
        *("<thinking>", "<thought>", "<reasoning>", "<|begin_of_thought|>", "<|thinking|>", "[THINK]", "◁think▷"),
        *("<seed:think>", "<analysis>"),
    ],
)
def test_thoughts_in_another_models_tags_are_kept_and_noted(tag):
    conversation = parse_row({"messages": [USER, {**ASSISTANT, "content": f"{tag}Hm."}]})
    assert conversation.messages[-1]["content"] == f"{tag}Hm."
    assert [note.name for note in conversation.notes] == [tag]


@pytest.mark.parametrize(
    ("flag", "noted"),
    [({"train": 0}, []), ({"train": False}, []), ({"mask": 1}, []), ({"mask": True}, []), ({"weight": 0.0}, []),
     ({"train": 1}, ["train (user)"]), ({"mask": 0}, ["mask (user)"]), ({"weight": 0.5}, ["weight (user)"])],
)  # fmt: skip
def test_a_prompt_is_context_and_a_flag_that_says_else_is_noted(flag, noted):
    assert [note.name for note in parse_row({"messages": [{**USER, **flag}, ASSISTANT]}).notes] == noted


@pytest.mark.parametrize("value", [None, "", [], {}])
def test_a_flag_of_a_prompt_that_says_nothing_needs_no_note(value):
    assert parse_row({"messages": [{**USER, "train": value}, ASSISTANT]}).notes == ()
    [note] = parse_row({"messages": [{**USER, "train": True}, ASSISTANT]}).notes
    assert note.name == "train (user)"
