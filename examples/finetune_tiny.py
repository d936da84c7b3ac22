"""The two stages from Python: prepare chat data, fine-tune the tiny model on it, on the CPU.

    uv run python examples/finetune_tiny.py [FOLDER]

Everything it writes goes below FOLDER (default: output/example).
"""

import sys
from pathlib import Path

from nemotron.config import load_config
from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.pipeline import prepare
from nemotron.training.config import SftConfig
from nemotron.training.run import train


def main(folder: Path) -> None:
    """Prepare and train below `folder`; print what came of it."""
    records = f"run.artifacts={folder}/artifacts"

    # Configs are dataclasses: load a YAML file and change values, as on the command line, or fill them in.
    prep = load_config("tiny", [records, f"output_dir={folder}/data"], group="data_prep", schema=DataPrepConfig)
    data = prepare(prep.config)
    print(f"{data.metadata.conversations} conversations, {data.metadata.supervised_tokens} supervised tokens")

    changes = [records, f"run.output_dir={folder}/sft", f"run.data={data.splits_dir}", "train.train_iters=4"]
    result = train(load_config("tiny", changes, schema=SftConfig), on_record=lambda kind, record: None)
    for record in result.records:
        print(f"iteration {record['iteration']}: {record['loss_stage']} loss {record['lm_loss']:.4f}")
    print(f"checkpoint: {result.checkpoint}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "output/example"))
