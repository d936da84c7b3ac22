"""A pack is airtight: what a conversation adds to the loss and to the gradients is its own, whatever lies next to it.

Attention, Mamba's convolution and state, and the roll of multi-token prediction all look at neighbouring positions, so
the tokens at a border are where a leak would be. The auxiliary loss is off here (see conftest.py): it is defined over
all positions of a pack, and does couple them.
"""

import pytest
import torch

pytestmark = pytest.mark.megatron

# The middle one is trained on. It begins and ends inside a chunk of Mamba's scan, and the others are longer than the
# convolution reaches.
LENGTHS = [70, 45, 30]
MIDDLE = 1


@pytest.fixture(scope="module")
def conversations():
    """Token ids; each has one more than its length, the label of its last position."""
    random = torch.Generator().manual_seed(4)
    return [torch.randint(12, 2048, (length + 1,), generator=random) for length in LENGTHS]


def with_another_token(conversations, index, position):
    """The same, but for one token of one conversation."""
    changed = [ids.clone() for ids in conversations]
    changed[index][position] = 12 + (changed[index][position] - 12 + 1000) % 2036
    return changed


def contribution(model, conversations, trained):
    """What conversation `trained` of a pack adds: its losses [length], and the gradients of main and MTP losses."""
    from megatron.core.packed_seq_params import PackedSeqParams

    lengths = [len(ids) - 1 for ids in conversations]
    ends = torch.tensor([0, *lengths]).cumsum(0).int().cuda()
    packed = PackedSeqParams(
        qkv_format="thd",
        cu_seqlens_q=ends,
        cu_seqlens_kv=ends,
        max_seqlen_q=max(lengths),
        max_seqlen_kv=max(lengths),
        total_tokens=sum(lengths),
    )
    mask = torch.zeros(1, sum(lengths)).cuda()
    mask[:, ends[trained] : ends[trained + 1]] = 1
    model.train()
    model.zero_grad()
    losses = model(
        input_ids=torch.cat([ids[:-1] for ids in conversations])[None].cuda(),
        labels=torch.cat([ids[1:] for ids in conversations])[None].cuda(),
        position_ids=torch.cat([torch.arange(length) for length in lengths])[None].cuda(),
        attention_mask=None,
        loss_mask=mask,
        packed_seq_params=packed,
    )
    (losses * mask).sum().backward()
    model.eval()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return losses[0, ends[trained] : ends[trained + 1]].detach(), found


def assert_same(found, expected):
    """Equal but for the rounding of matrix products whose shapes differ: other tokens give experts another load."""
    torch.testing.assert_close(found[0], expected[0], atol=1e-5, rtol=0)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(found[1][name], gradient, atol=2e-5 * max(scale, 1e-6), rtol=0, msg=name)


@pytest.fixture(scope="module")
def in_pack(model, conversations):
    """The contribution of the middle conversation."""
    return contribution(model, conversations, MIDDLE)


def test_a_conversation_adds_to_every_gradient_what_it_adds_alone(model, conversations, in_pack):
    losses, gradients = contribution(model, [conversations[MIDDLE]], 0)
    # Alone, experts that nothing was sent to have no gradient at all.
    gradients = {name: gradients.get(name, torch.zeros_like(gradient)) for name, gradient in in_pack[1].items()}
    assert_same(in_pack, (losses, gradients))
    # All kinds of layers took part, MTP included.
    trained = [name for name, gradient in in_pack[1].items() if gradient.any()]
    for part in ("mixer.conv1d", "mixer.A_log", "linear_qkv", "mlp.router", "mtp.layers.0.eh_proj"):
        assert any(part in name for name in trained), part


@pytest.mark.parametrize(
    ("conversation", "position"),
    [*((0, position) for position in (0, 35, 66, 67, 68, 69, 70)), *((2, position) for position in (0, 1, 2, 3, 30))],
)
def test_changing_a_token_of_another_conversation_changes_nothing(
    model, conversations, in_pack, conversation, position
):
    changed = with_another_token(conversations, conversation, position)
    assert_same(contribution(model, changed, MIDDLE), in_pack)


def test_changing_its_own_first_token_changes_losses_to_the_end(model, conversations, in_pack):
    losses, _ = contribution(model, with_another_token(conversations, MIDDLE, 0), MIDDLE)
    assert (losses - in_pack[0])[-10:].abs().mean() > 1e-3
