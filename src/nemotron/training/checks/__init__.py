"""Every refusal before a run.

Checks yield problems, before_start.py lists them, `nemotron.errors.refuse` raises.

Where is it refused?

    settings.py      by the config alone: a number of the wrong type or out of range, settings of Megatron-Bridge that
                     would have to be overridden (micro_batch_size, ...), adapters (peft.*)
    counts.py        length or warm-up given twice or too long, a batch larger than the data, stages of the loss out of
                     the run, another pack size, parallel sizes that do not divide the model, a pack, the ranks or the
                     batch
    model.py         recipe.hf_model without config.json, nothing to start from, adapters alone, missing weights
    data.py          padding, and data of another tokenizer or another vocabulary than the model's
    machine.py       folders that are not here or not writable, a backend without a GPU or its packages
    continuation.py  a checkpoint continued as another run, with another batch, other stages or fixed settings
    built_model.py   a checkpoint of another architecture, seen only when Megatron-Bridge has built the model's config

`check_inputs` asks what follows from config and data alone, and also runs before a job is submitted; `check_machine`
asks what needs the machine that trains. None imports Megatron. To add a check: yield a `Problem` in the file of its
subject, and name it in one of these lists.

Misspelt keys and wrong types of values are refused earlier, where a config is loaded (nemotron/config/,
recipe/known_settings.py). What only Megatron-Bridge's own classes can tell is refused later, in recipe/: whether it can
read the model's config, and which settings its installed release has.
"""
