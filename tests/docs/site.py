"""What a user of the documentation has at hand: data, models and runs of the names that the pages use, at toy size."""

import json
import shutil
from pathlib import Path

from tests.docs.pages import DOCS, ROOT, blocks
from tests.docs.workshop import Workshop
from tests.training.checkpoints.made_up import write_checkpoint

TINY = ROOT / "config" / "data_prep" / "tiny"
VOCABULARY = 131_072
"""Of the released model: the plan of a run at full size refuses data of another."""


def furnish(site: Workshop, laptop: Workshop) -> None:
    """Make the files that the pages take for granted; runs and exports are those of the tutorial."""
    folder = site.folder
    shutil.copy(TINY / "chat.jsonl", folder / "chat.jsonl")
    shutil.copy(TINY / "tools.jsonl", folder / "tools.jsonl")
    shutil.copy(laptop.folder / "raw_chat.jsonl", folder)
    for name in ("my_blend.json", "blend.json"):
        (folder / name).write_text(json.dumps({"datasets": [{"path": "chat.jsonl"}]}))
    (folder / "my_run.yaml").write_text("defaults: default\n")
    (folder / "my_config.yaml").write_text("defaults: tiny\n")
    _write_tokenizer(folder / "models/super")
    write_checkpoint(folder / "checkpoints", 10_000)
    run = laptop.folder / "output/my_run"
    for name in ("super3/sft", "super3/lora", "tiny/sft", "token_only", "lr-1e-5", "lr-2e-5"):
        (folder / "output" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "output" / name).symlink_to(run)
    shutil.copytree(laptop.folder / "output/artifacts", folder / "output/artifacts")
    shutil.rmtree(folder / "output/artifacts/SFTDataArtifact-sft")
    (folder / "math.jsonl").write_text('{"prompt": "What is 1 + 1?", "completion": "2", "expected_answer": "2"}\n')
    prepare = "nemotron super3 data prep sft blend_path=config/data_prep/blend_tiny.json tokenizer.model=/models/super"
    site.run_line("nemotron super3 data prep sft -c tiny workers=1")
    site.run_line(f"{prepare} pack_size=512 pad_to_multiple=16 output_dir=data/long workers=1")
    site.run_line(f"{prepare} pack_size=512 output_dir=data/full workers=1")
    site.run_line(f"{prepare} pack_size=512 workers=1")
    shutil.copytree(folder / "output/stage1_sft/splits", folder / "data/packed")
    site.run_line("nemotron super3 model import /checkpoints/iter_0010000 --name ModelArtifact-pretrain")
    for block in blocks(DOCS / "howto/slurm.md"):
        if block.info == ("toml", "env.toml"):
            site.run_block(block)


def _write_tokenizer(folder: Path) -> None:
    """Write the tiny tokenizer with as many tokens as the released one has."""
    shutil.copytree(TINY / "tokenizer", folder)
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    used = len(vocabulary.keys() | {token["content"] for token in tokenizer["added_tokens"]})
    vocabulary |= {f"<filler {number}>": number for number in range(used, VOCABULARY)}
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
