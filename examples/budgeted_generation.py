"""Generate within a budget of thought: at the budget the client closes the thought, and the model answers.

uv run python examples/budgeted_generation.py EXPORT BUDGET "How many legs have 7 spiders?"
"""

import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def generate_within(model, tokenizer, messages, budget: int, answer_tokens: int = 512, **sampling) -> tuple[str, str]:
    """The thought, at most `budget` tokens with its last newline, and the answer to chat messages."""
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
    close, end = (tokenizer.convert_tokens_to_ids(token) for token in ("</think>", "<|im_end|>"))
    thinking = model.generate(ids, max_new_tokens=budget - 1, eos_token_id=[close, end], **sampling)[0]
    thought = [token for token in thinking[ids.shape[1] :].tolist() if token not in (close, end)]
    is_closed = thinking[-1] == close
    closing = [close] if is_closed else [*tokenizer("\n", add_special_tokens=False).input_ids, close]
    so_far = torch.tensor([ids[0].tolist() + thought + closing])
    whole = model.generate(so_far, max_new_tokens=answer_tokens, eos_token_id=[end], **sampling)[0]
    answer = [token for token in whole[so_far.shape[1] :].tolist() if token != end]
    return tokenizer.decode(thought), tokenizer.decode(answer).strip()


if __name__ == "__main__":
    folder, budget, question = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    export, words = AutoModelForCausalLM.from_pretrained(folder, dtype="auto"), AutoTokenizer.from_pretrained(folder)
    thought, answer = generate_within(export, words, [{"role": "user", "content": question}], budget)
    print(f"<think>\n{thought}\n</think>\n{answer}")
