"""Count the FLOPs of a token, and look up the peak of a GPU, to compute MFU.

MFU is the share of a GPU's peak that goes into the model: tokens/s of one GPU, times FLOPs per token, over the peak.
Values that are computed twice to save memory count once.
"""

from nemotron.training.parallelism.model_shape import ModelShape

FORMULA = (
    "tokens/s per GPU x FLOPs per token / peak; FLOPs per token = 6 x parameters that a token is multiplied with "
    "(the chosen experts, the output layer and each depth of MTP; not the embedding) "
    "+ 6 x attention layers x heads x head size x mean sequence length"
)
ADAPTER_FORMULA = FORMULA.replace("6 x parameters", "4 x parameters")
"""Frozen weights get no gradient, which is a third of a linear layer's arithmetic."""

PEAK_TFLOPS = {
    "A100": 312.0,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.0,
    "H200 NVL": 835.0,
    "H200": 989.0,
    "GH200": 989.0,
    "GB200": 2500.0,
    "B200": 2250.0,
    "L40S": 362.0,
}
"""Dense BF16, in 10^12 FLOP/s, by a part of the device's name, from NVIDIA's data sheets, without sparsity."""


def find_peak(device: str) -> float | None:
    """Find the peak of a GPU by its name, in TFLOP/s; None when it is not known.

    Args:
        device: As torch.cuda.get_device_name returns it: `NVIDIA H100 80GB HBM3`.
    """
    words = device.replace("-", " ").split()
    fitting = [name for name in PEAK_TFLOPS if set(name.split()) <= set(words)]
    return PEAK_TFLOPS[max(fitting, key=len)] if fitting else None


def flops_per_token(shape: ModelShape, mean_length: float, *, adapters_only: bool = False) -> float:
    """Count the floating-point operations that training spends on one token.

    A multiplication with a weight is 2 forward and 4 backward; attention is causal, over half of a sequence on average.

    Args:
        shape: The shape of the model.
        mean_length: Tokens of a sequence.
        adapters_only: The weights are frozen, so the backward pass computes only the gradient of the inputs.
    """
    active_experts = shape.num_experts_per_tok * shape.expert
    per_layer = {
        "M": shape.mamba_parameters(),
        "*": shape.attention_parameters(),
        "E": shape.moe_parameters() + active_experts,
    }
    output_layer = shape.vocab_size * shape.hidden_size
    main = sum(per_layer[letter] for letter in shape.layers) + output_layer
    # Every depth runs its projection, one attention and one MoE layer, and the output layer once more.
    depth = shape.mtp_projection_parameters() + per_layer["*"] + per_layer["E"] + output_layer
    attention_layers = shape.attention_layers + shape.mtp_depths
    attention = 6 * attention_layers * shape.num_attention_heads * shape.head_dim * mean_length
    return (4 if adapters_only else 6) * (main + shape.mtp_depths * depth) + attention
