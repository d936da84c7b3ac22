"""What the fields of a run's records mean.

The records are metrics.jsonl, validation.jsonl and test.jsonl.
metrics.py writes them, docs/reference/metrics.md lists them. `D` stands for a depth of multi-token prediction, from 1.
"""

_LOSSES = {
    "token_loss": "The average over all supervised tokens.",
    "sample_loss": "The average over samples of each one's own average.",
    "mtp_D_loss": "Of this depth of multi-token prediction: each micro-batch's mean over its supervised targets, "
    "weighted by its supervised tokens.",
    "mtp_D_acceptance": "Share of supervised targets that are the depth's most likely token. Not with the 0.4 line.",
}

ITERATION = {
    "iteration": "From 1.",
    "consumed_samples": "Packs so far, this iteration included.",
    "loss_stage": "The average that is trained on: `token` or `sample`.",
    "sample_unit": "What `sample_loss` counts: `sequence` or `conversation`.",
    "lm_loss": "The loss trained on: equal to one of the next two.",
    **_LOSSES,
    "lr": "The learning rate of this iteration.",
    "grad_norm": "Before clipping.",
    "supervised_tokens": "N of the global batch.",
    "conversations": "|B| of the global batch; or W, a fraction, where `sample_unit` is `conversation`.",
    "skipped_batches": "Global batches so far in which nothing was supervised.",
    "seconds": "Of this iteration.",
    "peak_memory_gb": "Highest so far of the last rank's GPU, allocated by torch, in 10^9 bytes. Not on a CPU.",
}
"""Fields of metrics.jsonl."""

EVALUATION = {
    "iteration": "Iterations finished when the split was evaluated.",
    "packs": "Packs evaluated.",
    **_LOSSES,
}
"""Fields of validation.jsonl and test.jsonl, all over these packs."""
