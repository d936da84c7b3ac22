"""Every refusal before a run: checks yield problems, before_start.py lists them, `nemotron.errors.refuse` raises.

Where is it refused?

    numbers.py           a number of the wrong type or out of range: train.*, scheduler.*, model.*_parallel_size, ...
    length.py            length or warm-up given twice, a batch larger than the data, loss.stages that cannot be
    parallel_sizes.py    sizes that do not divide the model, a pack, the ranks or the batch
    settings.py          settings of Megatron-Bridge that would have to be overridden: micro_batch_size, seq_length, ...
    adapters.py          peft.*: rank, alpha, dropout, target modules
    starting_weights.py  nothing to start from, adapters alone, a Hugging Face folder that lacks weights
    model.py             recipe.hf_model without config.json; a checkpoint of another architecture
    data.py              pack size, and padding for context parallelism
    tokenizer.py         data of another tokenizer or another vocabulary than the model's
    backend.py           run.backend without a GPU or its packages; context parallelism without Transformer Engine
    continuation.py      a checkpoint continued as another run, with another batch, other stages or fixed settings

`check_counts` and `check_inputs` ask what follows from config and data alone, and also run before a job is submitted;
`check_machine` what needs the machine that trains. None imports Megatron. To add a check: yield a `Problem` in the file
of its subject, and name it in one of these lists.

Misspelt keys and wrong types of values are refused earlier, where a config is loaded (nemotron/config/,
recipe/known_settings.py), and what only Megatron's own classes can tell, later (recipe/build.py).
"""
