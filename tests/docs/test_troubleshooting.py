"""Each message of docs/reference/troubleshooting.md is brought about, and comes with a hint.

A row of the page without a case here fails, and so does a case without a row.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.docs.pages import DOCS, ROOT
from tests.training.checkpoints.made_up import MAIN, write_checkpoint, write_hf_folder

from nemotron.cli.app import run
from nemotron.cli.super3.sft import show_result
from nemotron.config import load_config
from nemotron.errors import UserError
from nemotron.training.checkpoints.initial_weights import find_start
from nemotron.training.checkpoints.run_folder import find_run_folder
from nemotron.training.checkpoints.run_lock import hold
from nemotron.training.config import SftConfig
from nemotron.training.objective.loss import Schedule, Stage
from nemotron.training.prepared_data import find_prepared_data
from nemotron.training.reporting.failures import explain_failures

PAGE = DOCS / "reference" / "troubleshooting.md"
TINY = ROOT / "config" / "data_prep" / "tiny"
PREP = ["super3", "data", "prep", "sft", "-c", "tiny", "workers=1"]
SFT = ["super3", "sft", "--dry-run", "-c"]
LOSES_REASONING = "{%- for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor -%}"
NEVER_STOPS = "{%- for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor -%}"


def documented() -> list[str]:
    """The messages of the page: the first column of its tables."""
    return re.findall(r"^\| `(.+?)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def prepare(*settings: str) -> None:
    assert run([*PREP, *settings]) == 0


def weights_that_do_not_fit() -> None:
    datasets = [{"path": str(TINY / f"{name}.jsonl"), "weight": share} for name, share in (("chat", 9), ("tools", 1))]
    Path("blend.json").write_text(json.dumps({"datasets": datasets}))
    prepare("blend_path=blend.json")


def template(text: str) -> None:
    Path("mine.jinja").write_text(text)
    run([*PREP, "chat_template=mine.jinja", f"blend_path={TINY / 'reasoning.jsonl'}"])


def no_model() -> None:
    prepare()
    run([*SFT, "tiny", "recipe.random_start=null", "run.model=ModelArtifact-pretrain:latest"])


def folder_without_mtp() -> None:
    prepare()
    Path("without").mkdir()
    write_hf_folder(Path("without"), MAIN)
    run([*SFT, "tiny", "recipe.random_start=null", "checkpoint.pretrained_checkpoint=without"])


def few_packs() -> None:
    prepare()
    run([*SFT, "tiny", "train.global_batch_size=4096"])


def another(*settings: str) -> None:
    """Plan a run in the folder of one that differs in these settings."""
    prepare()
    config = load_config("tiny", schema=SftConfig).config
    data = find_prepared_data(config.run.data, Path(config.run.artifacts), config_name="tiny")
    with hold(find_run_folder(config, data, find_start(config))):
        pass
    optimizer = {"lr": 0.003, "weight_decay": 0.1}
    write_checkpoint(Path("output/tiny/sft/checkpoints"), 20, {"optimizer": optimizer})
    run([*SFT, "tiny", *settings])


def finished() -> None:
    plan = SimpleNamespace(train_iters=2, schedule=Schedule((Stage("token", 0),)), length=("train.train_iters", 2))
    records = [{"iteration": 2, "loss_stage": "token", "lm_loss": 1.0, "token_loss": 1.0, "sample_loss": 1.0}]
    result = SimpleNamespace(
        plan=plan, stopped=False, output_dir=Path("out"), checkpoint=Path("out/checkpoints"), resumed_from=2,
        finished=2,
        metrics=Path("out/metrics.jsonl"), records=records, validation=[], test=[], report=Path("out/report.html"),
        artifact="ModelArtifact-sft:v1", hf_folder=None,
    )  # fmt: skip
    show_result(result)


def refused_by_megatron() -> None:
    with pytest.raises(UserError) as refused, explain_failures(SimpleNamespace(iteration=None), Path("log"), Path()):
        raise AssertionError("num_moe_experts must be set")
    print(refused.value.message, f"\nhint: {refused.value.hint}")


def misspelt_profile() -> None:
    Path("env.toml").write_text('[YOUR-CLUSTER]\nexecutor = "slurm"\n')
    run([*SFT, "tiny", "--run", "YOUR-CLUSTR"])


CASES: dict[str, tuple[Callable[[], object], str]] = {
    "Empty sequences after processing": (lambda: run([*PREP, "used_in_filter=nobody"]), "used_in_filter"),
    "Sequences truncated excessively": (lambda: prepare("pack_size=64"), "pack_size="),
    "blend_weight": (weights_that_do_not_fit, "more than the dataset's share"),
    "Template rendering mismatch": (lambda: template(LOSES_REASONING), "chat_template=nemotron3"),
    "should end an assistant's turn with a control token": (lambda: template(NEVER_STOPS), "hint: "),
    "Already prepared": (lambda: (prepare(), prepare()), "--force"),
    "is not at a place that can be read": (lambda: run([*PREP, "blend_path=ftp://host/chat.jsonl"]), "hint: "),
    'there is no key "recipe.packed_sequence" here': (
        lambda: run([*SFT, "tiny", "recipe.packed_sequence=true"]),
        "packs",
    ),
    'There is no artifact "SFTDataArtifact-sft"': (lambda: run([*SFT, "tiny"]), "data prep sft -c tiny"),
    'There is no artifact "ModelArtifact-pretrain"': (no_model, "model import"),
    "set what a run starts from twice": (
        lambda: run([*SFT, "tiny", "recipe.random_start=1", "run.model=M"]),
        "run.model or recipe.random_start",
    ),
    "has no weights mtp.layers": (folder_without_mtp, "model.mtp_num_layers=null"),
    "train.global_batch_size is ... but ... has only ... training packs": (few_packs, "train.global_batch_size="),
    "has a run with adapters": (lambda: another("peft=lora"), "run.output_dir"),
    "cannot change in the middle of a run": (lambda: another("optimizer.lr=0.1"), "checkpoint.pretrained_checkpoint"),
    "Already fine-tuned": (finished, "train.train_iters=4"),
    "Megatron-Bridge refuses this config": (refused_by_megatron, "hint: "),
    "there is no env.toml": (lambda: run([*SFT, "tiny", "--run", "YOUR-CLUSTER"]), "env.toml.example"),
    "There is no profile YOUR-CLUSTR": (misspelt_profile, "YOUR-CLUSTER"),
}
"""Message -> what brings it about, and what its hint names."""


def test_every_message_has_a_case_and_every_case_a_row() -> None:
    assert sorted(documented()) == sorted(CASES)


@pytest.mark.slow
@pytest.mark.parametrize("message", CASES)
def test_a_message_is_printed_with_its_hint(
    message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("NEMO_RUN_DIR", "NEMOTRON_ARTIFACTS", "NEMOTRON_ENV_FILE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    bring_about, named = CASES[message]
    bring_about()
    captured = capsys.readouterr()
    shown = " ".join(f"{captured.out}\n{captured.err}".split())
    assert re.search(".*".join(map(re.escape, message.split(" ... "))), shown), shown[-1500:]
    assert named in shown, shown[-1500:]
