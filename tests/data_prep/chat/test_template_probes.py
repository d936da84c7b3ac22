"""What conversations of our own tell about a template."""

import pytest

from nemotron.data_prep.chat.template import Template
from nemotron.data_prep.chat.template_probes import drops_history_thinking, find_frame

CHATML = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}</s>\n{% endfor %}"
PROMPT = "{% if add_generation_prompt %}<|assistant|>{% endif %}"


def test_a_frame_is_what_stands_around_an_answer():
    assert find_frame(Template("t", CHATML + PROMPT, ends=["</s>"])) == ("", "</s>\n", "</s>")
    assert find_frame(Template("t", CHATML, ends=["</s>"])) == ("<|assistant|>", "</s>\n", "</s>")  # it has no prompt
    assert find_frame(Template("t", CHATML)) == ("<|assistant|>", "</s>\n", "")  # no token is known that could stop
    assert find_frame(Template("t", "{{ raise_exception('no') }}")) is None
    assert find_frame(Template("t", "{% for m in messages %}<{{ m.role }}>{% endfor %}")) is None  # it shows no answer
    assert find_frame(Template("t", "{% for m in messages %}\n\n{{ m.content }}{% endfor %}")) == ("", "", "")


@pytest.mark.parametrize(
    "refused", ["messages[0].role != 'system'", "messages[0].role == 'system'", "messages | length < 3"]
)
def test_a_template_need_not_accept_every_conversation(refused: str):
    template = Template("t", f"{{{{ raise_exception('no') if {refused} }}}}" + CHATML + PROMPT, ends=["</s>"])
    assert find_frame(template) == ("", "</s>\n", "</s>")


@pytest.mark.parametrize(
    ("after", "stop"),
    [("<eot></s>", "<eot>"), ("</s><eot>", "</s>"), ("</s>2", "</s>2"), (" \n</s>", "</s>"), ("", "")],
)
def test_the_stop_is_the_first_control_token_and_of_two_at_one_place_the_longer(after: str, stop: str):
    ends = ["</s>", "<eot>", "</s>2"]
    template = Template("t", f"{{% for m in messages %}}{{{{ m.content }}}}{after}{{% endfor %}}", ends=ends)

    found = find_frame(template)

    assert found is not None
    assert found.stop == stop


@pytest.mark.parametrize(
    ("shows", "drops"),
    [
        ("{{ m.reasoning_content if loop.last }}", True),
        ("{{ m.reasoning if loop.last }}", True),
        ("{{ m.thinking if loop.last }}", True),
        ("{{ m.content if loop.last else m.content.split('</think>')[-1] }}", True),
        ("{{ m.reasoning_content }}", False),
        ("", False),
    ],
)
def test_whether_a_template_shows_thoughts_in_the_newest_answer_alone(shows: str, drops: bool):
    answers = f"{{% if m.role == 'assistant' %}}{shows}{{% endif %}}"
    template = Template("t", f"{{% for m in messages %}}{answers}{{% endfor %}}")
    assert drops_history_thinking(template) is drops
