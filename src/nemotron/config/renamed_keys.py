"""List keys of NVIDIA's public recipe that have another name here.

Each of them is refused, with its name or place here.
"""

RENAMED_KEYS = {
    # training
    "recipe._target_": "Here recipe.hf_model names the model, and Megatron-Bridge's recipe follows from it.",
    "recipe.packed_sequence": "Remove it: training always uses packs, of the size that data prep made.",
    "recipe.peft": "Here it is peft, at the top level.",
    "dataset.super3_packed_sft_dir": "Here it is run.data.",
    "dataset.nano3_packed_sft_dir": "Here it is run.data.",
    "dataset.packed_sequence_specs": "Here it is run.data, which has the packs and their size.",
    "convert_to_hf.hf_model_id": "Here it is recipe.hf_model.",
    "run.wandb": "Here they are logger.wandb_project and logger.wandb_entity, or [wandb] of env.toml.",
    "run.wandb.project": "Here it is logger.wandb_project, or project under [wandb] of env.toml.",
    "run.wandb.entity": "Here it is logger.wandb_entity, or entity under [wandb] of env.toml.",
    "run.env.startup_commands": "Here it is startup_commands of a profile in env.toml.",
    "run.env.mounts": "Here it is mounts of a profile in env.toml.",
    "run.env.executor": "Here it is executor of a profile in env.toml.",
    # data prep
    "run.env": "Here it is container_image of a profile in env.toml; data prep needs no container.",
    "tokenizer.add_bos": "Remove it: the chat template writes every token that begins a conversation.",
    "tokenizer.add_eos": "Remove it: the chat template ends every turn with its own token.",
    "plan": "Remove it: workers=N sets the number of workers.",
    "download": "Remove it: files are read where they are. Set HF_TOKEN and HF_ENDPOINT for the hub.",
    "tokenization": "Remove it: workers=N sets the number of workers.",
    "observability": "Remove it: progress is always shown.",
}
"""Maps the dotted key of a value or a section to what to write instead."""


def find_new_name(key: str) -> str | None:
    """Return what to write instead of `key`, or of the section it is in.

    None means that the key was not renamed.
    """
    parts = key.split(".")
    above = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((RENAMED_KEYS[name] for name in above if name in RENAMED_KEYS), None)
