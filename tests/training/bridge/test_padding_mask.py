"""Padding takes no part in routing: expert counts are those of the text, in main and in MTP layers."""

import pytest
import torch

from nemotron.training import bridge

pytestmark = pytest.mark.megatron

TEXT, PADDING = 40, 24


@pytest.mark.skipif(not bridge.installed().MASKS_PADDING, reason="this line of Megatron-Bridge cannot leave it out")
@pytest.mark.parametrize("recompute", [None, "full"])
def test_experts_are_chosen_by_text_alone(model, recompute, monkeypatch):
    """A router counts each token of text once, MTP's once per depth; also when its layer is computed again."""
    from megatron.bridge.training.utils.pg_utils import get_pg_collection
    from megatron.core.packed_seq_params import PackedSeqParams
    from megatron.core.transformer.moe.router import TopKRouter

    from nemotron.training.bridge.v06_padding import padding_mask

    for name, value in {"granularity": recompute, "method": "uniform", "num_layers": 1}.items():
        monkeypatch.setattr(model.config, f"recompute_{name}", value if recompute else None)
    ends = torch.tensor([0, TEXT, TEXT + PADDING]).int().cuda()
    packed = PackedSeqParams(
        qkv_format="thd", cu_seqlens_q=ends, cu_seqlens_kv=ends, max_seqlen_q=TEXT, max_seqlen_kv=TEXT,
        total_tokens=TEXT + PADDING,
    )  # fmt: skip
    tokens = torch.full((1, TEXT + PADDING), 5)
    tokens[0, :TEXT] = torch.randint(12, 2048, (TEXT,), generator=torch.Generator().manual_seed(3))
    is_padding = (torch.arange(TEXT + PADDING) >= TEXT)[None]
    mask = padding_mask(is_padding, {"cu_seqlens_q": ends}, model, model.config, get_pg_collection(model))
    routers = {name: module for name, module in model.named_modules() if isinstance(module, TopKRouter)}
    for router in routers.values():
        router.local_tokens_per_expert.zero_()
    model.train()
    model.zero_grad()
    losses = model(
        input_ids=tokens.cuda(),
        labels=tokens.roll(-1, 1).cuda(),
        position_ids=torch.arange(TEXT + PADDING)[None].cuda(),
        attention_mask=None,
        loss_mask=(~is_padding).float().cuda(),
        packed_seq_params=packed,
        padding_mask=mask,
    )
    losses.sum().backward()
    model.eval()
    for name, router in routers.items():
        times = model.config.mtp_num_layers if name.startswith("mtp.") else 1
        assert router.local_tokens_per_expert.sum() == TEXT * times * model.config.moe_router_topk, name
        router.local_tokens_per_expert.zero_()
