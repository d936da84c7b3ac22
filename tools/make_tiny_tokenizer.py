"""Train the bundled tokenizer, config/data_prep/tiny/tokenizer/: the same bytes every time.

    python tools/make_tiny_tokenizer.py [FOLDER]

A byte-level BPE of 2048 tokens, trained on the bundled chat data. It has what data prep and training rely on in the
real one: the control tokens of the chat format are single tokens, the end of a turn is the eos, digits stand alone,
and every text comes back from its tokens unchanged.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

VOCAB_SIZE = 2048
TINY = Path(__file__).resolve().parent.parent / "config" / "data_prep" / "tiny"

# Hidden when decoding without special tokens.
CONTROL_TOKENS = ("<unk>", "<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>")
# Single tokens too, but part of what the model says: they stay in decoded text.
CONTENT_TOKENS = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")

# Text between the added tokens is cut into words before any merge; the form is the one of GPT-4o and of Nemotron:
# a word keeps one leading space or mark and is cut where capitals follow small letters, and digits stand alone.
UPPER, LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
WORD_PATTERN = "|".join(
    (
        rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]*[{LOWER}]+",
        rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]+[{LOWER}]*",
        r"\p{N}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
# What the chat template writes around the messages, so that it merges into whole words as well.
TEMPLATE_TEXT = (
    "system\n",
    "user\n",
    "assistant\n",
    "# Tools\n\nYou have access to the following functions:\n\n<tools>\n<function>\n<name></name>\n<description>"
    "</description>\n<parameters>\n<parameter>\n<type>string</type>\n<enum></enum>\n<required></required>\n</parameter>\n"
    "</parameters>\n</function>\n</tools>\n\n",
    "If you choose to call a function ONLY reply in the following format with NO suffix:\n\n"
    "<function=example_function_name>\n<parameter=example_parameter_1>\nvalue_1\n</parameter>\n",
    "This is the value for the second parameter\nthat can span\nmultiple lines\n</parameter>\n</function>\n",
    "<IMPORTANT>\nReminder:\n"
    "- Function calls MUST follow the specified format: an inner <function=...></function> block must be nested within "
    "XML tags\n"
    "- Required parameters MUST be specified\n"
    "- You may provide optional reasoning for your function call in natural language BEFORE the function call, but NOT "
    "after\n"
    "- If there is no function call available, answer the question like normal with your current knowledge and do not "
    "tell the user about function calls\n"
    "</IMPORTANT>",
)
# How often the template's text counts next to the 520 conversations: about as often as they use it.
TEMPLATE_REPEATS = 100


def _strings(value: object) -> Iterator[str]:
    """Every string anywhere in a JSON value, but not the keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)


def training_texts(folder: Path) -> Iterator[str]:
    """Yield the template's text, then every text of every well-formed row of the bundled data, in order."""
    for text in TEMPLATE_TEXT:
        yield from [text] * TEMPLATE_REPEATS
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue  # the data has a broken line on purpose
            if isinstance(row, dict):
                yield from _strings([row.get("messages"), row.get("tools")])


def train(texts: Iterator[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[AddedToken(token, normalized=False) for token in CONTROL_TOKENS + CONTENT_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # The trainer marks all of them special; these keep their ids and lose the mark.
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in CONTENT_TOKENS])
    return tokenizer


def main(folder: Path = TINY / "tokenizer") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    train(training_texts(TINY)).save(str(folder / "tokenizer.json"))
    special = {"bos_token": "<s>", "eos_token": "<|im_end|>", "unk_token": "<unk>", "pad_token": "<pad>"}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 1_000_000,
        "clean_up_tokenization_spaces": False,
    }
    for name, content in (("special_tokens_map.json", special), ("tokenizer_config.json", config | special)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
