"""A chat corpus and a tokenizer of the shape data prep meets, made by seed: the same on every machine.

Words are made of random syllables and used as often as words are (Zipf's law), so that a tokenizer finds a vocabulary
to learn. A fifth of the conversations have reasoning, the others tools, code, other scripts, or plain chat.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL_TOKENS = ["<unk>", "<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>"]
FORMAT_TOKENS = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
# The pretokenizer of Nemotron 3: words by case, single digits, runs of punctuation and of white space.
SPLIT = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LATIN = "b c d f g h k l m n p r s t v w z br ch cl cr dr fl gr pl pr sh sl sp st str th tr".split()  # noqa: SIM905
VOWELS = "a e i o u ai ea ee ou io".split()  # noqa: SIM905
SCRIPTS = ("абвгдежзиклмнопрстуфхцчшщыьэюя", "αβγδεζηθικλμνξοπρστυφχψω", "ابتثجحخدذرزسشصضطظعغفقكلمنهوي")
HAN = [chr(code) for code in range(0x4E00, 0x4E00 + 3000)]


class Words:
    """An endless text of one vocabulary: `take(n)` gives the next `n` words with their separators."""

    def __init__(self, words: list[str], separators: list[str], shares: list[float], rng: np.random.Generator) -> None:
        ranks = np.arange(1, len(words) + 1, dtype=np.float64)
        order = np.cumsum(ranks**-1.05)
        self._numbers = np.searchsorted(order / order[-1], rng.random(4_000_000)).tolist()
        self._separators = rng.choice(np.array(separators, object), 999_983, p=shares).tolist()
        self._words, self._position = words, 0

    def take(self, count: int) -> str:
        start = self._position % (len(self._numbers) - count)
        gap = self._position % (len(self._separators) - count)
        self._position += count
        words = map(self._words.__getitem__, self._numbers[start : start + count])
        return "".join(map(str.__add__, words, self._separators[gap : gap + count])).strip()


def make_corpus(path: Path, conversations: int, copies: int = 1, seed: int = 7) -> None:
    """Write `copies` times `conversations` rows of JSONL, about 5 KB each: no two alike, and the first ones the same
    however many follow."""
    rng = np.random.default_rng(seed)
    texts = _vocabularies(rng)
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(copies):
            kinds = rng.choice(
                ["chat", "reasoning", "tools", "multilingual", "code"], conversations, p=[0.4, 0.2, 0.15, 0.15, 0.1]
            )
            sizes = np.clip(rng.lognormal(5.75, 1.15, conversations), 12, 20_000).astype(int)  # words
            tools = [[_tool(texts["chat"], rng) for _ in range(rng.integers(1, 6))] for _ in range(40)]
            for kind, size in zip(kinds.tolist(), sizes.tolist(), strict=True):
                row = _conversation(kind, size, texts, tools, rng)
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _vocabularies(rng: np.random.Generator) -> dict[str, Words]:
    def syllables(count: int) -> str:
        return "".join(f"{LATIN[rng.integers(len(LATIN))]}{VOWELS[rng.integers(len(VOWELS))]}" for _ in range(count))

    latin = [syllables(n) for n in np.clip(rng.poisson(1.6, 150_000), 1, 6).tolist()]
    latin = [word.capitalize() if i % 17 == 5 else word for i, word in enumerate(latin)]
    names = [f"{a}_{b}" if i % 2 else f"{a}{b.title()}" for i, (a, b) in enumerate(zip(latin, latin[7:], strict=False))]
    symbols = [" = ", "(", ")\n    ", ".", ", ", " + ", ":\n        ", "[0] ", '"] ', " -> ", "; // ", "  \n"]
    foreign = []
    for script in SCRIPTS:
        letters = list(script)
        foreign += ["".join(rng.choice(letters, n)) for n in rng.integers(2, 9, 15_000).tolist()]
    foreign += ["".join(rng.choice(HAN, n)) for n in rng.integers(1, 4, 30_000).tolist()]
    foreign = [foreign[i] for i in rng.permutation(len(foreign))]
    prose = (
        [" ", ", ", ". ", "\n\n", " (", ") ", " 12", "'s ", ": "],
        [0.82, 0.06, 0.06, 0.02, 0.01, 0.01, 0.01, 0.005, 0.005],
    )
    return {
        "chat": Words(latin, *prose, rng),
        "code": Words(names, symbols, [1 / len(symbols)] * len(symbols), rng),
        "multilingual": Words(foreign, *prose, rng),
    }


def _tool(words: Words, rng: np.random.Generator) -> dict[str, Any]:
    properties = {
        words.take(1) + str(i): {"type": "string", "description": words.take(8)} for i in range(rng.integers(1, 5))
    }
    parameters = {"type": "object", "properties": properties, "required": list(properties)[:1]}
    function = {"name": words.take(1).lower() or "f", "description": words.take(12), "parameters": parameters}
    return {"type": "function", "function": function}


def _conversation(
    kind: str, size: int, texts: dict[str, Words], tools: list[Any], rng: np.random.Generator
) -> dict[str, Any]:
    """Make a row of `kind` with about `size` words, most of them in the assistant's turns."""
    words = texts.get(kind, texts["chat"])
    turns = int(rng.choice([1, 2, 3, 5], p=[0.55, 0.25, 0.12, 0.08]))
    asked, answered = max(3, size // (4 * turns)), max(3, 3 * size // (4 * turns))
    messages: list[dict[str, Any]] = []
    if rng.random() < 0.3:
        messages.append({"role": "system", "content": words.take(20)})
    for _ in range(turns):
        messages.append({"role": "user", "content": words.take(asked)})
        if kind == "reasoning":
            thought, answer = words.take(2 * answered // 3), words.take(answered // 3 + 1)
            messages.append({"role": "assistant", "reasoning_content": thought, "content": answer})
        elif kind == "tools":
            arguments = {words.take(1): words.take(4), "count": 3}
            call = {"type": "function", "function": {"name": words.take(1) or "f", "arguments": json.dumps(arguments)}}
            messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
            messages.append({"role": "tool", "content": json.dumps({"result": words.take(answered // 2 + 1)})})
            messages.append({"role": "assistant", "content": words.take(answered // 2 + 1)})
        elif kind == "code":
            messages.append({"role": "assistant", "content": f"```python\n{words.take(answered)}\n```"})
        else:
            messages.append({"role": "assistant", "content": words.take(answered)})
    row: dict[str, Any] = {"messages": messages}
    if kind == "tools":
        row["tools"] = tools[rng.integers(len(tools))]
    return row


def make_tokenizer(folder: Path, corpus: Path, vocab_size: int = 131_072, megabytes: int = 60) -> None:
    """Train a byte-level BPE in the family of Nemotron's on the beginning of the corpus; a minute or so."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(SPLIT), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(FORMAT_TOKENS), special_tokens=SPECIAL_TOKENS, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(_texts(corpus, megabytes * 10**6), trainer)
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in FORMAT_TOKENS])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>", "pad_token": "<pad>"}))


def _texts(corpus: Path, most: int) -> Any:
    with open(corpus, encoding="utf-8") as file:
        for line in file:
            for message in json.loads(line)["messages"]:
                yield message.get("reasoning_content", "") + message["content"]
            most -= len(line)
            if most < 0:
                return
