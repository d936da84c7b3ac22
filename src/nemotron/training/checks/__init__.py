"""Check everything that can be checked before a run.

Checks yield problems, `check_inputs` (inputs.py) and `check_machine` (machine.py) list the checks, and
`nemotron.errors.refuse` raises. What is refused where:

    settings.py      by the config alone: a number of the wrong type or out of range, settings of Megatron-Bridge that
                     would have to be overridden (micro_batch_size, ...), adapters (peft.*), settings of MLflow or Comet
                     that have no effect
    counts.py        length or warm-up given twice or too long, a batch larger than the data, stages of the loss out of
                     the run, another pack size, parallel sizes that do not divide the model, a pack, the ranks or the
                     batch
    model.py         recipe.hf_model without config.json, no starting model, only adapters, missing weights, data of
                     another vocabulary; once Megatron-Bridge has built its config, a checkpoint of another architecture
    data.py          padding, and data of another tokenizer
    machine.py       folders that do not exist or are not writable, a backend without a GPU or its packages, MLflow or
                     Comet without its package or key
    continuation.py  a checkpoint resumed as another run, or with another batch, other stages or fixed settings

`check_inputs` checks what follows from config and data alone, and also runs before a job is submitted. `check_machine`
checks what needs the machine that trains. None of them imports Megatron. To add a check: yield a `Problem` in the file
of its subject, and name it in one of these lists.

Misspelt keys and wrong types of values are refused earlier, where a config is loaded (nemotron/config/,
recipe/known_settings.py). What only Megatron-Bridge's own classes know is refused later, in recipe/: whether it can
read the model's config, and which settings the installed release has.
"""
