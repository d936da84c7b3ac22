"""Experts computed in two grouped products, against one expert after the other."""

import weakref
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from nemotron.training.torch_layers import experts as module
from nemotron.training.torch_layers.experts import apply_grouped, can_be_grouped, group_where_possible

HIDDEN, INNER = 16, 24
_stack = torch.stack


def squared_relu(x):
    return F.relu(x) ** 2


def make_experts(count=4, hidden=HIDDEN, inner=INNER, **settings):
    """What the functions read of a SequentialMLP."""
    random = torch.Generator().manual_seed(count)

    def linear(out, into):
        return SimpleNamespace(weight=torch.randn(out, into, generator=random).requires_grad_())

    plain = {
        "activation_func": squared_relu,
        "add_bias_linear": False,
        "gated_linear_unit": False,
        "moe_apply_probs_on_input": False,
        "bias_activation_fusion": False,
    }
    experts = [
        SimpleNamespace(linear_fc1=linear(inner, hidden), linear_fc2=linear(hidden, inner)) for _ in range(count)
    ]
    return SimpleNamespace(local_experts=experts, config=SimpleNamespace(**{**plain, **settings}))


def one_by_one(experts, tokens, tokens_per_expert, probs):
    shares = zip(experts.local_experts, tokens.split(tokens_per_expert), probs.split(tokens_per_expert), strict=True)
    return torch.cat(
        [
            squared_relu(part @ expert.linear_fc1.weight.T) * weight.unsqueeze(-1) @ expert.linear_fc2.weight.T
            for expert, part, weight in shares
        ]
    )


def weights_of(experts):
    return [layer.weight for expert in experts.local_experts for layer in (expert.linear_fc1, expert.linear_fc2)]


@pytest.mark.parametrize("counts", [[3, 5, 2, 6], [0, 10, 0, 6], [16, 0, 0, 0], [0, 0, 0, 1]])
def test_grouped_experts_give_what_single_ones_give_and_the_same_gradients(counts):
    experts = make_experts(len(counts))
    random = torch.Generator().manual_seed(7)
    tokens = torch.randn(sum(counts), HIDDEN, generator=random).requires_grad_()
    probs = torch.rand(sum(counts), generator=random).requires_grad_()
    seed = torch.randn(sum(counts), HIDDEN, generator=random)
    inputs = [tokens, probs, *weights_of(experts)]

    expected = one_by_one(experts, tokens, counts, probs)
    found = apply_grouped(experts, tokens, torch.tensor(counts), probs)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)
    for one, other in zip(
        torch.autograd.grad(found, inputs, seed), torch.autograd.grad(expected, inputs, seed), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-5)


def test_stacked_weights_are_not_kept_for_the_backward_pass(monkeypatch):
    """They are stacked for each product, and once more when its backward pass wants them."""
    stacks = []
    monkeypatch.setattr(torch, "stack", lambda tensors: stacks.append(weakref.ref(made := _stack(tensors))) or made)
    experts, counts = make_experts(4), torch.tensor([2, 2, 2, 2])
    found = apply_grouped(experts, torch.randn(8, HIDDEN).requires_grad_(), counts, torch.ones(8))
    assert [made() for made in stacks] == [None, None]  # one per product, gone again
    found.backward(torch.randn(8, HIDDEN))
    assert len(stacks) > 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("counts", [[3, 5, 2, 6], [0, 10, 0, 6], [0, 0, 0, 1]])
def test_on_a_gpu_experts_without_tokens_have_no_gradient(counts):
    """There the products are other kernels, in bfloat16."""
    experts = make_experts(len(counts))
    for layer in (layer for e in experts.local_experts for layer in (e.linear_fc1, e.linear_fc2)):
        layer.weight = layer.weight.detach().cuda().bfloat16().requires_grad_()
    tokens = torch.randn(sum(counts), HIDDEN, device="cuda", dtype=torch.bfloat16)
    probs = torch.rand(sum(counts), device="cuda")
    found = apply_grouped(experts, tokens, torch.tensor(counts), probs)
    torch.testing.assert_close(found, one_by_one(experts, tokens, counts, probs).bfloat16(), atol=0.2, rtol=0.02)
    found.float().sum().backward()
    for count, expert in zip(counts, experts.local_experts, strict=True):
        assert bool(expert.linear_fc1.weight.grad.any()) == bool(count)
        assert expert.linear_fc2.weight.grad.isfinite().all()


@pytest.mark.parametrize(
    "experts",
    [
        make_experts(add_bias_linear=True),
        make_experts(gated_linear_unit=True),
        make_experts(moe_apply_probs_on_input=True),
        make_experts(bias_activation_fusion=True),
        make_experts(inner=9),  # rows of 36 bytes
        make_experts(hidden=9),
    ],
    ids=["biases", "gated", "weighted inputs", "fused", "unaligned", "unaligned inputs"],
)
def test_experts_of_another_make_are_left_to_megatron(experts):
    assert not can_be_grouped(experts)


def test_adapted_experts_are_left_to_megatron():
    """LoRA puts a module around a layer."""
    experts = make_experts()
    assert can_be_grouped(experts)
    last = experts.local_experts[-1]
    # Like Megatron-Bridge's LoRALinear, it shows a weight all the same: the merged one.
    last.linear_fc2 = SimpleNamespace(to_wrap=last.linear_fc2, weight=last.linear_fc2.weight)
    assert not can_be_grouped(experts)


def test_on_the_cpu_megatron_computes_them():
    calls = []

    def megatrons(self, tokens, tokens_per_expert, probs):
        calls.append(tokens)
        return tokens, None

    tokens = torch.ones(2, HIDDEN, dtype=torch.bfloat16)
    group_where_possible(megatrons)(make_experts(), tokens, torch.tensor([1, 1, 0, 0]), torch.ones(2))
    assert calls == [tokens]


class OnGpu:
    """As much of a tensor on a GPU as decides who computes the experts."""

    is_cuda = True

    def __init__(self, rows=2, dtype=torch.bfloat16):
        self.rows, self.dtype = rows, dtype

    def __len__(self):
        return self.rows


@pytest.mark.parametrize(
    ("tokens", "fits", "by"),
    [
        (OnGpu(), True, "two products"),
        (OnGpu(), False, "Megatron"),
        (OnGpu(rows=0), True, "Megatron"),
        (OnGpu(dtype=torch.float32), True, "Megatron"),
    ],
)
def test_on_a_gpu_two_products_compute_the_experts_that_fit(monkeypatch, tokens, fits, by):
    """Whether they fit is found out in the first pass, as every expert is looked at."""
    looked, experts = [], make_experts()
    monkeypatch.setattr(module, "can_be_grouped", lambda each: looked.append(each) or fits)
    monkeypatch.setattr(module, "apply_grouped", lambda *arguments: "two products")
    forward = group_where_possible(lambda *arguments: ("Megatron", None))
    assert [forward(experts, tokens, None, None) for _ in range(2)] == [(by, None)] * 2
    assert looked == ([experts] if len(tokens) and tokens.dtype == torch.bfloat16 else [])
