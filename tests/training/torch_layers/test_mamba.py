"""The torch Mamba kernels against the recurrence and the convolution written out token by token."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron.training.torch_layers.mamba import GatedRMSNorm, causal_conv1d, scan_in_chunks, split_conv1d_scan_combined

HEADS, HEAD_SIZE, GROUPS, STATE = 4, 3, 2, 5


def scan_token_by_token(x, dt, A, B, C, D, seq_idx):
    """s = exp(dt A) s + dt x B^T and y = s C + D x, one token after the other; s starts at 0 in every sequence."""
    batch, length, heads, size = x.shape
    per_group = heads // B.shape[2]
    y = torch.zeros_like(x)
    for b in range(batch):
        for h in range(heads):
            g = h // per_group
            for t in range(length):
                if t == 0 or seq_idx[b, t] != seq_idx[b, t - 1]:
                    state = torch.zeros(size, B.shape[3], dtype=x.dtype)
                state = torch.exp(dt[b, t, h] * A[h]) * state + dt[b, t, h] * torch.outer(x[b, t, h], B[b, t, g])
                y[b, t, h] = state @ C[b, t, g] + D[h] * x[b, t, h]
    return y


def convolve_token_by_token(x, weight, bias, seq_idx):
    width = weight.shape[1]
    y = torch.zeros_like(x)
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            y[b, t] = bias
            for back in range(min(width, t + 1)):
                if seq_idx[b, t - back] == seq_idx[b, t]:
                    y[b, t] += weight[:, width - 1 - back] * x[b, t - back]
    return y


def scan_inputs(length, seed=0, batch=1):
    """In float64, so that agreement is exact to rounding. Decays range from nearly none to nearly total."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    return {
        "x": normal(batch, length, HEADS, HEAD_SIZE),
        "dt": F.softplus(2 * normal(batch, length, HEADS)),
        "A": -torch.exp(normal(HEADS)),
        "B": normal(batch, length, GROUPS, STATE),
        "C": normal(batch, length, GROUPS, STATE),
        "D": normal(HEADS),
    }


def seq_idx_of(lengths):
    """[3, 2] -> [[0, 0, 0, 1, 1]]"""
    return torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)).int().unsqueeze(0)


@settings(max_examples=20)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    chunk_size=st.sampled_from([1, 2, 4, 8, 64]),
    seed=st.integers(0, 999),
)
def test_scan_equals_the_recurrence_wherever_sequences_begin(lengths, chunk_size, seed):
    seq_idx = seq_idx_of(lengths)
    inputs = scan_inputs(sum(lengths), seed)
    expected = scan_token_by_token(**inputs, seq_idx=seq_idx)
    torch.testing.assert_close(scan_in_chunks(**inputs, chunk_size=chunk_size, seq_idx=seq_idx), expected)


def test_scan_without_seq_idx_is_one_sequence_per_batch_row():
    inputs = scan_inputs(length=11, batch=3)
    expected = scan_token_by_token(**inputs, seq_idx=torch.zeros(3, 11))
    torch.testing.assert_close(scan_in_chunks(**inputs, chunk_size=4, seq_idx=None), expected)


def test_scan_gradients_equal_those_of_the_recurrence():
    seq_idx = seq_idx_of([5, 1, 7])
    fast = {name: value.requires_grad_() for name, value in scan_inputs(length=13).items()}
    slow = {name: value.detach().clone().requires_grad_() for name, value in fast.items()}
    weight = torch.randn(1, 13, HEADS, HEAD_SIZE, dtype=torch.float64)
    (scan_in_chunks(**fast, chunk_size=4, seq_idx=seq_idx) * weight).sum().backward()
    (scan_token_by_token(**slow, seq_idx=seq_idx) * weight).sum().backward()
    for name in fast:
        torch.testing.assert_close(fast[name].grad, slow[name].grad, msg=lambda text, name=name: f"{name}: {text}")


def test_scan_stays_finite_when_the_state_decays_at_once():
    """Differences of decays that must not count, across sequences or back in time, would overflow the exponential."""
    inputs = scan_inputs(length=16)
    inputs["dt"] = torch.full_like(inputs["dt"], 50.0).requires_grad_()
    inputs["A"] = torch.full_like(inputs["A"], -16.0)
    y = scan_in_chunks(**inputs, chunk_size=8, seq_idx=seq_idx_of([6, 7, 3]))
    y.sum().backward()
    assert y.isfinite().all()
    assert inputs["dt"].grad.isfinite().all()


def test_scan_has_no_gradient_across_sequences():
    """Zero, not nearly zero: no rounding error of one sequence reaches another."""
    inputs = {name: value.float().requires_grad_() for name, value in scan_inputs(length=21).items()}
    y = scan_in_chunks(**inputs, chunk_size=8, seq_idx=seq_idx_of([6, 9, 6]))
    y[:, 6:15].square().sum().backward()
    for name in ("x", "dt", "B", "C"):
        moved = inputs[name].grad.flatten(2).abs().amax(-1).squeeze(0) > 0
        assert moved.tolist() == [False] * 6 + [True] * 9 + [False] * 6, name


@settings(max_examples=25)
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5), seed=st.integers(0, 999))
def test_convolution_stays_inside_each_sequence(lengths, seed):
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(1, sum(lengths), 3, generator=random)
    weight, bias = torch.randn(3, 4, generator=random), torch.randn(3, generator=random)
    seq_idx = seq_idx_of(lengths)
    expected = convolve_token_by_token(x, weight, bias, seq_idx)
    torch.testing.assert_close(causal_conv1d(x, weight, bias, seq_idx), expected)


def kernel_arguments(length, seed=0):
    """Arguments as MambaMixer passes them, for heads of size HEAD_SIZE."""
    random = torch.Generator().manual_seed(seed)
    inner, states = HEADS * HEAD_SIZE, GROUPS * STATE
    return {
        "zxbcdt": torch.randn(1, length, 2 * inner + 2 * states + HEADS, generator=random),
        "conv1d_weight": torch.randn(inner + 2 * states, 4, generator=random),
        "conv1d_bias": torch.randn(inner + 2 * states, generator=random),
        "dt_bias": torch.randn(HEADS, generator=random),
        "A": -torch.exp(torch.randn(HEADS, generator=random)),
        "D": torch.randn(HEADS, generator=random),
        "chunk_size": 8,
        "headdim": HEAD_SIZE,
        "ngroups": GROUPS,
    }


def test_kernel_over_a_pack_equals_the_kernel_over_each_conversation():
    lengths = [7, 20, 1, 12]
    arguments = kernel_arguments(sum(lengths))
    packed = split_conv1d_scan_combined(**arguments, seq_idx=seq_idx_of(lengths))
    zxbcdt = arguments.pop("zxbcdt")
    alone = [split_conv1d_scan_combined(part, **arguments) for part in zxbcdt.split(lengths, dim=1)]
    torch.testing.assert_close(packed, torch.cat(alone, dim=1))


def test_kernel_returns_the_gated_scan_in_the_type_of_its_input():
    arguments = kernel_arguments(length=5)
    y = split_conv1d_scan_combined(**arguments)
    arguments["zxbcdt"][..., : HEADS * HEAD_SIZE] = 0  # silu(0) closes the gate
    assert split_conv1d_scan_combined(**arguments).abs().max() == 0
    half = split_conv1d_scan_combined(**{**arguments, "zxbcdt": arguments["zxbcdt"].bfloat16()})
    assert (y.shape, y.dtype, half.dtype) == ((1, 5, HEADS * HEAD_SIZE), torch.float32, torch.bfloat16)


def test_kernel_refuses_what_it_does_not_compute():
    with pytest.raises(NotImplementedError, match="gelu"):
        split_conv1d_scan_combined(**kernel_arguments(length=3), activation="gelu")


@pytest.mark.parametrize("norm_before_gate", [False, True])
def test_gated_norm_normalises_each_group(norm_before_gate):
    norm = GatedRMSNorm(6, eps=1e-5, group_size=3, norm_before_gate=norm_before_gate)
    torch.nn.init.normal_(norm.weight)
    x, z = torch.randn(2, 6), torch.randn(2, 6)
    gate = z * torch.sigmoid(z)

    def normalised(value):
        groups = value.view(2, 2, 3)
        return (groups / (groups.square().mean(-1, keepdim=True) + 1e-5).sqrt()).view(2, 6) * norm.weight

    expected = normalised(x) * gate if norm_before_gate else normalised(x * gate)
    torch.testing.assert_close(norm(x, z), expected)
    torch.testing.assert_close(norm(x), normalised(x))
