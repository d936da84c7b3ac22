"""How commands of the documentation are run where they cannot be run as they stand.

A command that no rule names is run as it is written, and has to succeed. Several rules may hold for one.
"""

import re
from dataclasses import dataclass

TRAIN = r"^nemotron super3 (sft|pipe)\b"
PREP = r"^nemotron super3 (data prep sft|pipe)\b"
SMALL = r"(tiny|stages|tune\.yaml)"
"""Configs that can be trained here."""


@dataclass(frozen=True)
class Rule:
    """What is done with the commands that a pattern matches."""

    pattern: str
    """A regular expression over the whole command, after `uv run`."""
    why: str
    adds: tuple[str, ...] = ()
    """Arguments with which the command is run."""
    elsewhere: str | None = None
    """The test, or the script of .ci, that runs the command; it is not run here."""
    never: bool = False
    """Nothing in this repository can run it."""

    def matches(self, command: str) -> bool:
        """Tell whether the rule is for this command."""
        return re.search(self.pattern, re.sub(r"^([A-Z_]+=\S+ )+", "", command)) is not None


WHERE_INSTALLED = ("jq", "zstdcat")
"""Other people's programs. A line that names one is run where there is one."""

RULES = (
    # Not commands of this package.
    Rule(r"^(uv sync|uv export|uv venv|uv pip|pip install)\b", "installs packages", elsewhere="tests/test_install.py"),
    Rule(r"^uv run --project \.ci/bridge-0\.4", "needs that environment", elsewhere=".ci/bridge-0.4/run"),
    Rule(r"^(pytest|ruff|pyright|\.ci/run)\b", "runs these tests", elsewhere=".ci/run"),
    Rule(
        r"^python -m tests\.training\.exactness",
        "takes minutes",
        elsewhere="tests/training/exactness/test_exactness.py",
    ),
    Rule(r"^python (-m )?benchmarks\b", "takes minutes, and measures", never=True),
    Rule(r"^python examples/budget", "takes minutes", elsewhere="tests/test_budget_control.py"),
    Rule(r"^(vllm serve|curl)\b", "needs vLLM and its GPU", never=True),
    Rule(r"^enroot import\b", "needs enroot and NVIDIA's registry", never=True),
    Rule(r"^torchrun\b", "needs eight GPUs", elsewhere="tests/training/test_job.py"),
    # Training: a start of Megatron takes 20 seconds of CPU and more. The tutorial has the one for all pages.
    Rule(rf"{TRAIN}.*(--run|--batch)", "submits to a cluster", ("--dry-run",)),
    Rule(r"logger\.(mlflow|comet)", "needs their packages", elsewhere="tests/training/checks/test_settings.py"),
    Rule(r"^nemotron super3 report ModelArtifact", "needs two models", elsewhere="tests/cli/test_report.py"),
    Rule(r"\bmodel chat\b|--try\b", "loads a model, or trains one", elsewhere="tests/cli/test_chat.py"),
    Rule(rf"{TRAIN}.*(tiny|stages)", "trains", ("--dry-run", "run.output_dir=output/planned")),
    Rule(rf"{TRAIN}(?!.*{SMALL})", "trains at full size", ("--dry-run", "run.output_dir=output/planned")),
    Rule(rf"{TRAIN}(?!.*({SMALL}|--run|--batch))", "has no GPUs here", ("run.nproc_per_node=32",)),
    Rule(r"\bcontext_parallel_size=8", "needs data padded for it", ("run.data=data/long",)),
    Rule(
        rf"^nemotron super3 sft\b(?!.*({SMALL}|context_parallel))", "needs data of the model", ("run.data=data/full",)
    ),
    Rule(r" --advise .*seq_length", "needs data of that length", elsewhere="tests/cli/test_super3_sft.py"),
    Rule(
        r"^nemotron super3 sft -c budget_control", "starts from the main stage", ("run.model=ModelArtifact-pretrain",)
    ),
    Rule(r"^nemotron super3 model export\b", "starts Megatron", elsewhere="tests/training/weights/test_export_run.py"),
    Rule(
        r"^nemotron super3 model import (?!/checkpoints)",
        "starts Megatron, or downloads",
        elsewhere="tests/training/weights/test_pretrained.py",
    ),
    # Clusters, hubs, servers.
    Rule(r"^nemotron super3 data prep\b.*(--run|--batch)", "submits to a cluster", ("--dry-run",)),
    Rule(r"^nemotron super3 data prep\b.*engine=ray", "starts a cluster", ("--dry-run",)),
    Rule(rf"{PREP}(?!.*(tiny|my_data|tokenizer))", "reads the hub", ("tokenizer.model=models/super",)),
    Rule(r"^nemotron super3 data inspect .*-c default", "reads the hub", ("tokenizer.model=models/super",)),
    Rule(r"tokenizer.model=nvidia/", "reads the hub", ("tokenizer.model=models/super",)),
    Rule(rf"{PREP}(?!.*(tiny|json|my_data|budget))", "reads the hub", ("blend_path=my_blend.json",)),
    Rule(r"^nemotron super3 data blend check\b(?!.*my_)", "reads the hub", elsewhere="tests/cli/test_blend.py"),
    Rule(r"^nemotron (logs|cancel)\b", "needs a job", elsewhere="tests/launch/slurm/test_slurm.py"),
)


def find_rules(command: str) -> list[Rule]:
    """Return the rules that hold for a command; none: it is run as it stands."""
    return [rule for rule in RULES if rule.matches(command)]
