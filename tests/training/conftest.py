"""One Megatron per test process: importing it takes most of a minute, so everything here shares it."""

from pathlib import Path

import pytest

TINY_MODEL = Path(__file__).parents[2] / "config" / "tiny_model"


@pytest.fixture
def machine(monkeypatch):
    """A machine with or without a GPU and the packages of the production stack."""
    import torch

    from nemotron.training import backend

    def has(*, gpu, packages=()):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
        monkeypatch.setattr(backend, "find_spec", lambda name: name if name in packages else None)

    return has


@pytest.fixture(scope="module")
def backend():
    """The torch layers, on a GPU where there is one, and a process group of one.

    Without a GPU, "cuda" means the CPU inside.
    """
    from nemotron.training import cpu
    from nemotron.training.backend import importable

    with importable("cpu" if cpu.is_needed() else "torch"):
        from nemotron.training.weights.megatron_model import single_process_group

        with single_process_group():
            yield


@pytest.fixture(scope="module")
def model(backend):
    """The tiny model from its Hugging Face config, on torch layers, with weights large enough to tell apart.

    Fresh weights leave every layer close to the identity and all norms at one, where much could go wrong unseen.
    """
    import torch

    from nemotron.training import cpu, torch_layers
    from nemotron.training.bridge.provider import use_float32
    from nemotron.training.weights.megatron_model import hf_provider

    provider = hf_provider(TINY_MODEL)
    torch_layers.use_torch_layers(provider)
    use_float32(provider)
    provider.moe_aux_loss_coeff = 0.0  # it couples all tokens of a batch, which the tests of isolation must not see
    provider.finalize()
    [model] = provider.provide_distributed_model(wrap_with_ddp=False, use_cpu_initialization=cpu.is_needed())
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "conv1d" not in name:
                parameter.mul_(3)
            elif "norm" in name or name.endswith(".D"):
                parameter.copy_(torch.rand(parameter.shape, generator=random) + 0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("expert_bias"):
                buffer.copy_(0.1 * torch.randn(buffer.shape, generator=random))
    return model.eval()
