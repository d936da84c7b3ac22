"""Attention, norm and linear layers on small tensors, with a stand-in for Megatron-Core's types."""

import math
from types import SimpleNamespace

import pytest
import torch
from tests.stand_ins import import_again, put_modules

CAUSAL, PADDED = "causal", "padding"


@pytest.fixture
def modules(monkeypatch):
    """The modules of attention and of the layers."""
    monkeypatch.setattr(torch.cuda, "current_device", lambda: "cpu")
    shard = lambda state, prefix, axes, offsets: (sorted(state), prefix, axes, offsets)  # noqa: E731
    put_modules(
        monkeypatch,
        {
            "megatron.core.packed_seq_params": {"PackedSeqParams": object},
            "megatron.core.process_groups_config": {"ProcessGroupCollection": object},
            "megatron.core.transformer": {"TransformerConfig": object},
            "megatron.core.transformer.enums": {"AttnMaskType": type("AttnMaskType", (), {"causal": CAUSAL})},
            "megatron.core.transformer.utils": {"make_sharded_tensors_for_checkpoint": shard},
        },
    )
    base = "nemotron.training.torch_layers"
    return SimpleNamespace(
        attention=import_again(monkeypatch, f"{base}.attention"), layers=import_again(monkeypatch, f"{base}.layers")
    )


def config(**changes):
    supported = {
        "context_parallel_size": 1,
        "window_size": None,
        "softmax_type": "vanilla",
        "apply_query_key_layer_scaling": False,
        "attention_dropout": 0.25,
    }
    return SimpleNamespace(**{**supported, **changes})


@pytest.fixture
def make(modules):
    def attention(mask=CAUSAL, dropout=0.0, scale=None, **changes):
        return modules.attention.PackedAttention(
            config(**changes), 1, mask, "self", attention_dropout=dropout, softmax_scale=scale
        )

    return attention


def by_hand(query, key, value, scale=None):
    """Causal attention of one sequence, [tokens, heads, size]; each key has several heads of the query."""
    repeat = query.shape[1] // key.shape[1]
    key, value = (t.repeat_interleave(repeat, 1) for t in (key, value))
    scores = torch.einsum("qhd,khd->hqk", query, key) * (scale or 1 / math.sqrt(query.shape[-1]))
    future = torch.ones(scores.shape[-2:]).triu(1).bool()
    weights = scores.masked_fill(future, -torch.inf).softmax(-1)
    return torch.einsum("hqk,khd->qhd", weights, value).flatten(1)


def random_qkv(tokens, kv_heads=2):
    random = torch.Generator().manual_seed(tokens)
    return [torch.randn(tokens, heads, 8, generator=random) for heads in (4, kv_heads, kv_heads)]


@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_sequences_of_a_batch_are_attended(make, scale, kv_heads):
    one, two = random_qkv(5, kv_heads), random_qkv(6, kv_heads)
    two = [t[:5] for t in two]
    batch = [torch.stack(pair, 1) for pair in zip(one, two, strict=True)]
    output = make(scale=scale)(*batch, attention_mask=None)
    assert output.shape == (5, 2, 32)
    for place, sequence in enumerate((one, two)):
        torch.testing.assert_close(output[:, place], by_hand(*sequence, scale))


@pytest.mark.parametrize("padded", [None, [0, 3, 5, 5]])
def test_each_sequence_of_a_pack_is_attended_alone_and_padding_too(make, padded):
    """Of 7 positions, 5 are of two sequences: as they are in memory."""
    ends = torch.tensor([0, 3, 5, 5] if padded is None else [0, 2, 4, 4])
    packed = SimpleNamespace(cu_seqlens_q=ends, cu_seqlens_q_padded=None if padded is None else torch.tensor(padded))
    qkv = random_qkv(7)
    output = make()(*qkv, attention_mask=None, packed_seq_params=packed)
    parts = [by_hand(*(t[start:end] for t in qkv)) for start, end in ((0, 3), (3, 5), (5, 7))]
    torch.testing.assert_close(output, torch.cat(parts))


def test_boundaries_are_read_once_for_all_layers(modules):
    lengths = modules.attention.segment_lengths
    packed = SimpleNamespace(cu_seqlens_q=torch.tensor([0, 3, 5]), cu_seqlens_q_padded=None)
    assert lengths(packed, 7) == [3, 2, 2]
    packed.cu_seqlens_q = "on a GPU, which would be waited for"
    assert lengths(packed, 7) == [3, 2, 2]


def test_dropout_is_of_training_alone(make):
    layer, qkv = make(dropout=0.9), random_qkv(5)
    batch = [t.unsqueeze(1) for t in qkv]
    torch.testing.assert_close(layer.eval()(*batch, attention_mask=None)[:, 0], by_hand(*qkv))
    torch.manual_seed(0)
    assert not torch.equal(layer.train()(*batch, attention_mask=None)[:, 0], by_hand(*qkv))
    assert (make(dropout=0.0).dropout, make(dropout=None).dropout) == (0.0, 0.25)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("context_parallel_size", 2),
        ("window_size", (4, 0)),
        ("softmax_type", "off-by-one"),
        ("apply_query_key_layer_scaling", True),
    ],
)
def test_what_it_cannot_compute_is_refused(make, name, value):
    with pytest.raises(NotImplementedError, match=f": {name}\\.$"):
        make(**{name: value})
    with pytest.raises(NotImplementedError, match=f": {name}, attn_mask_type\\.$"):
        make(PADDED, **{name: value})


def layer_config(**changes):
    return SimpleNamespace(**{
        "normalization": "RMSNorm",
        "layernorm_zero_centered_gamma": False,
        "params_dtype": torch.float64,
        "sequence_parallel": True,
        "perform_initialization": True,
        **changes,
    })  # fmt: skip


def test_a_norm_divides_by_the_root_of_the_mean_square(modules):
    norm = modules.layers.RMSNorm(layer_config(), 3, eps=0.5)
    assert (norm.weight.dtype, norm.weight.tolist(), norm.weight.sequence_parallel) == (torch.float64, [1, 1, 1], True)
    x = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    torch.testing.assert_close(norm(x), x / math.sqrt(14 / 3 + 0.5))


def test_weights_are_made_on_the_device_of_the_rank(modules, linear, monkeypatch):
    monkeypatch.setattr(torch.cuda, "current_device", lambda: "meta")
    assert modules.layers.RMSNorm(layer_config(), 3).weight.device.type == "meta"
    assert linear().weight.device.type == "meta"


@pytest.mark.parametrize("change", [{"normalization": "LayerNorm"}, {"layernorm_zero_centered_gamma": True}])
def test_another_norm_is_refused(modules, change):
    with pytest.raises(NotImplementedError, match="RMSNorm"):
        modules.layers.RMSNorm(layer_config(**change), 3)


@pytest.fixture
def linear(modules):
    def make(parallel_mode="duplicated", bias=False, **options):
        settings = layer_config(**options.pop("config", {}))
        return modules.layers.ReplicatedLinear(
            2, 3, config=settings, init_method=lambda weight: torch.nn.init.constant_(weight, 2), bias=bias,
            parallel_mode=parallel_mode, **options,
        )  # fmt: skip

    return make


def test_a_replicated_layer_is_whole_on_every_rank(linear):
    layer = linear()
    assert layer.weight.tolist() == [[2, 2]] * 3
    assert layer.weight.dtype == torch.float64
    output, bias = layer(torch.ones(1, 2, dtype=torch.float64))
    assert (output.tolist(), bias) == ([[4, 4, 4]], None)
    assert (layer.tensor_model_parallel, layer.weight.allreduce, layer.weight.sequence_parallel) == (False, True, True)
    assert layer.sharded_state_dict("mlp.", (1,)) == (["weight"], "mlp.", {}, (1,))


def test_weights_that_are_loaded_are_not_initialized(linear):
    torch.manual_seed(0)
    assert linear(config={"perform_initialization": False}).weight.tolist() != [[2, 2]] * 3


@pytest.mark.parametrize(
    "options",
    [{"bias": True}, {"parallel_mode": "column"}, {"skip_weight_param_allocation": True}, {"is_expert": True}],
)
def test_another_linear_layer_is_refused(linear, options):
    with pytest.raises(NotImplementedError, match=r"ReplicatedLinear latent"):
        linear(name="latent", **options)
