"""The torch layers, inside Megatron's own model: right against transformers, and airtight between conversations."""

from pathlib import Path

import pytest
import torch

from nemotron.training.weights.export_hf import save_hf_folder

pytestmark = pytest.mark.megatron

CONFIG = Path(__file__).parents[3] / "config"
TINY_MODEL = CONFIG / "tiny_model"
TINY_TOKENIZER = CONFIG / "data_prep" / "tiny" / "tokenizer"

# Some shorter than the convolution, one longer than a scan chunk (128), and boundaries inside chunks.
LENGTHS = [5, 160, 3, 1, 40]
LONGEST = 300


@pytest.fixture(scope="module")
def reference(model, tmp_path_factory):
    """transformers' NemotronH with the same weights."""
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("hf")
    save_hf_folder([model], folder, str(TINY_MODEL), str(TINY_TOKENIZER))
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    for layer in reference.model.layers:
        # Its memory and time grow with the square of the chunk, its results are wrong beyond the first one.
        layer.mixer.chunk_size = LONGEST
    return reference


def conversations(lengths=LENGTHS, seed=0):
    """Random token ids, one [1, length] tensor each."""
    random = torch.Generator().manual_seed(seed)
    return [torch.randint(12, 2048, (1, length), generator=random) for length in lengths]


def pack_of(parts, padding=0):
    """Model arguments for conversations packed one after the other, then `padding` tokens of filler."""
    from megatron.core.packed_seq_params import PackedSeqParams

    tokens = torch.cat([*parts, torch.full((1, padding), 3)], dim=1)
    ends = torch.tensor([0, *(part.shape[1] for part in parts)]).cumsum(0).int()
    boundaries = torch.cat([ends, ends[-1:]]).cuda()  # the collator repeats the last boundary as filler
    longest = max(part.shape[1] for part in parts)
    packed = PackedSeqParams(
        qkv_format="thd",
        cu_seqlens_q=boundaries,
        cu_seqlens_kv=boundaries,
        max_seqlen_q=longest,
        max_seqlen_kv=longest,
        total_tokens=tokens.shape[1],
    )
    positions = torch.cat([torch.arange(part.shape[1]) for part in [*parts, tokens[:, :padding]]]).unsqueeze(0)
    return {
        "input_ids": tokens.cuda(),
        "position_ids": positions.cuda(),
        "attention_mask": None,
        "packed_seq_params": packed,
    }


def logits_alone(model, tokens):
    positions = torch.arange(tokens.shape[1]).unsqueeze(0)
    return model(input_ids=tokens.cuda(), position_ids=positions.cuda(), attention_mask=None).cpu()


@torch.no_grad()
def test_logits_equal_those_of_transformers(model, reference):
    [tokens] = conversations([LONGEST])
    expected = reference(tokens).logits
    assert expected.std() > 0.5
    torch.testing.assert_close(logits_alone(model, tokens), expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_a_pack_gives_each_conversation_the_logits_it_has_alone(model, reference):
    parts = conversations()
    packed = model(**pack_of(parts, padding=7)).cpu()[:, : sum(LENGTHS)].split(LENGTHS, dim=1)
    for tokens, logits in zip(parts, packed, strict=True):
        torch.testing.assert_close(logits, logits_alone(model, tokens), atol=1e-4, rtol=0)
        torch.testing.assert_close(logits, reference(tokens).logits, atol=1e-4, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("changed", range(len(LENGTHS)))
def test_changing_a_conversation_changes_no_logit_of_another(model, changed):
    parts = conversations()
    before = model(**pack_of(parts)).split(LENGTHS, dim=1)
    parts[changed] = conversations(seed=1)[changed]
    after = model(**pack_of(parts)).split(LENGTHS, dim=1)
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        difference = (old - new).abs().max()
        # A matrix product may round a row differently when an expert receives another number of rows.
        assert difference > 0.1 if index == changed else difference < 1e-5


@pytest.mark.parametrize("supervised", [1, 4])
def test_loss_of_one_conversation_has_no_gradient_in_the_others(model, supervised):
    """The next-token loss and both MTP losses: only embeddings of the supervised conversation's tokens move."""
    ids = torch.randperm(2000, generator=torch.Generator().manual_seed(2))[: sum(LENGTHS)] + 12
    parts = [part.unsqueeze(0) for part in ids.split(LENGTHS)]  # no token occurs twice
    masks = [torch.full((1, length), float(index == supervised)) for index, length in enumerate(LENGTHS)]
    labels = torch.cat([part.roll(-1, dims=1) for part in parts], dim=1).cuda()
    mask = torch.cat(masks, dim=1).cuda()

    model.train()
    model.zero_grad()
    losses = model(**pack_of(parts), labels=labels, loss_mask=mask)
    (losses * mask).sum().backward()
    model.eval()

    moved = model.embedding.word_embeddings.weight.grad.abs().amax(dim=1).nonzero().squeeze(1)
    assert set(moved.tolist()) == set(parts[supervised].flatten().tolist())
    assert model.mtp.layers[0].eh_proj.weight.grad.abs().max() > 0
