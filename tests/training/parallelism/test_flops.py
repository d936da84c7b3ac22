"""FLOPs per token against a count by hand, and the peaks of GPUs."""

import pytest

from nemotron.training.parallelism.flops import find_peak, flops_per_token
from nemotron.training.parallelism.model_shape import SUPER_120B_A12B, ModelShape

SMALL = ModelShape(
    layers="*E", hidden_size=4, vocab_size=10, num_attention_heads=2, num_key_value_heads=1, head_dim=3,
    mamba_num_heads=1, mamba_head_dim=1, ssm_state_size=1, n_groups=1, conv_kernel=1,
    n_routed_experts=8, num_experts_per_tok=2, moe_intermediate_size=5, moe_shared_expert_intermediate_size=6,
    moe_latent_size=2, mtp_depths=1,
)  # fmt: skip


def test_the_count_is_the_one_by_hand() -> None:
    attention = 4 * (2 + 1 + 1) * 3 + 2 * 3 * 4 + 4  # q, k and v; out; norm
    two_experts = 2 * 2 * (2 * 5)
    moe = 2 * (4 * 2) + 8 * 4 + 2 * (4 * 6) + 4 + two_experts  # latent, router, shared expert, norm
    output = 10 * 4
    depth = 2 * 4 * 4 + 3 * 4 + attention + moe + output  # projection and its norms, then a layer of each kind
    scores = 2 * (2 * 3) * 10  # attention layers, its width, the mean length
    assert flops_per_token(SMALL, 10) == 6 * (attention + moe + output + depth) + 6 * scores
    assert flops_per_token(SMALL, 10, adapters_only=True) == 4 * (attention + moe + output + depth) + 6 * scores


def test_nemotron_3_super_without_mtp_is_six_times_its_active_parameters() -> None:
    from dataclasses import replace

    plain = replace(SUPER_120B_A12B, mtp_depths=0)
    embedding = plain.vocab_size * plain.hidden_size
    assert flops_per_token(plain, 0) == pytest.approx(6 * (plain.active_parameters - embedding), rel=1e-3)


@pytest.mark.parametrize(
    ("device", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA GB200", 2500),
        ("NVIDIA GeForce GTX 1080", None),
        ("H200-NVL", 835),
        ("H100", 989),
        ("NVIDIA H100 NVL", 835),
        ("CPU", None),
    ],
)
def test_a_peak_is_found_by_the_name_that_torch_gives(device: str, peak: float | None) -> None:
    assert find_peak(device) == peak
