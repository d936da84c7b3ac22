"""Run `nemotron super3 model chat`: talk to a model."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nemotron.cli import configs, console, options
from nemotron.cli.interrupts import stops_at_once
from nemotron.cli.usage import UsageError

if TYPE_CHECKING:
    from nemotron.training.generation.reply import Asked, Kind, Reply, Speaker

THINKING = ("on", "off", "low")


def chat(
    model: Annotated[
        str,
        typer.Argument(
            metavar="RUN|EXPORT|ARTIFACT",
            callback=options.expand_paths,
            help="A run's folder, a checkpoint, an export, or an artifact.",
        ),
    ],
    prompt: Annotated[
        list[str] | None,
        typer.Option("--prompt", "-p", metavar="TEXT", help="Answer this prompt and exit; repeatable, - for stdin."),
    ] = None,
    system: Annotated[str | None, typer.Option("--system", metavar="TEXT", help="The system prompt.")] = None,
    thinking: Annotated[
        str | None, typer.Option("--thinking", metavar="on|off|low", help="Reasoning: on, off, or low effort.")
    ] = None,
    budget: Annotated[
        int | None, typer.Option("--budget", metavar="N", min=1, help="End the thought after N tokens.")
    ] = None,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", metavar="N", min=1, help="Limit for thought and answer together.")
    ] = 1024,
    temperature: Annotated[
        float | None,
        typer.Option("--temperature", min=0, help="0 takes the most likely token; default: the model's own setting."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the sampling.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per prompt, for programs.")] = False,
    artifacts: options.Artifacts = None,
) -> None:
    """Chat with a model, or get one answer per --prompt.

    A run's newest checkpoint is first exported to its folder, unless that was done before. On a terminal, thought and
    answer are shown separately; in a pipe, the answer goes to stdout and the thought to stderr.

    \b
    Examples:
      nemotron super3 model chat output/tiny/sft --prompt "What is the capital of France?"
      nemotron super3 model chat output/super3/lora --thinking off --system "Answer in French."
      echo "How many legs have 7 spiders?" | nemotron super3 model chat ModelArtifact-sft --budget 256
    """
    from nemotron.training.generation.reply import Asked
    from nemotron.training.generation.speaker import TransformersSpeaker, refuse_without_transformers

    if thinking not in (None, *THINKING):
        raise UsageError(f"--thinking is {thinking}.", f"Give one of {', '.join(THINKING)}.")
    if thinking == "off" and budget is not None:
        raise UsageError(f"--thinking is off, but --budget is {budget}.", "Remove one of the two options.")
    configs.use_env_file()
    refuse_without_transformers()
    is_talk = not prompt and sys.stdin.isatty() and not as_json
    prompts = [] if is_talk else [_read(text) for text in prompt or ["-"]]
    with stops_at_once(continues=False), console.show_work("load the model") as progress:
        folder = _export(model, options.artifacts_root(artifacts), progress)
        speaker = TransformersSpeaker(folder, temperature=temperature, seed=seed)
    asked = Asked(thinking, budget, max_new_tokens)  # pyright: ignore[reportArgumentType]
    before = [] if system is None else [{"role": "system", "content": system}]
    if is_talk:
        console.note(f"Talking to {folder}. An empty line or Ctrl-D ends the chat, Ctrl-C ends an answer.")
        _talk(speaker, before, asked)
    for text in prompts:
        if len(prompts) > 1 and not as_json:
            console.out(f"> {text}", bold=True)
        reply = _answer(speaker, [*before, {"role": "user", "content": text}], asked, quiet=as_json)
        if as_json:
            console.raw(_as_json({"prompt": text, **asdict(reply)}))


def _export(model: str, artifacts: Path, progress: console.Progress) -> Path:
    from nemotron.training.generation.find_export import find_export

    def tell(checkpoint: Path) -> None:
        from nemotron.doctor import refuse_without_training

        refuse_without_training()
        progress.line(f"Exporting {checkpoint} for transformers, once per checkpoint.")
        progress.wait_for("convert the weights")

    folder = find_export(model, artifacts, tell)
    progress.wait_for("load the model")
    return folder


def _read(text: str) -> str:
    if text == "-":
        text = sys.stdin.buffer.read().decode(errors="replace").removesuffix("\n")
    if not text.strip():
        raise UsageError("The prompt is empty.", "Give one: --prompt TEXT, or on stdin.")
    return text.encode(errors="replace").decode()


def _talk(speaker: "Speaker", messages: list[dict[str, str]], asked: "Asked") -> None:
    for text in _lines():
        messages.append({"role": "user", "content": text})
        try:
            reply = _answer(speaker, messages, asked)
        except KeyboardInterrupt:
            console.out("\n(cut short, and forgotten)", dim=True)
            messages.pop()
            continue
        thought = {"reasoning_content": reply.thought} if reply.thought else {}
        messages.append({"role": "assistant", "content": reply.answer, **thought})


def _lines() -> Iterator[str]:
    import readline  # noqa: F401 (input() edits lines with it)

    while True:
        try:
            text = input("\n> ").encode(errors="replace").decode()
        except (EOFError, KeyboardInterrupt):
            console.out()
            return
        if not text.strip():
            return
        yield text


def _answer(speaker: "Speaker", messages: Sequence[dict[str, str]], asked: "Asked", *, quiet: bool = False) -> "Reply":
    """Generate a reply, and show it as it comes where that is a terminal."""
    from nemotron.training.generation.reply import reply_to

    live = sys.stdout.isatty() and not quiet
    shown: set[str] = set()

    def show(kind: "Kind", text: str) -> None:
        if kind == "answer" and shown == {"thought"}:
            console.piece("\n\n")
        if kind not in shown:
            shown.add(kind)
            text = text.lstrip()
        console.piece(text, **({"dim": True} if kind == "thought" else {}))

    reply = reply_to(speaker, messages, asked, show if live else lambda kind, text: None)
    if live:
        console.out()
    elif not quiet:
        if reply.thought:
            console.note(f"{reply.thought}\n")
        console.raw(reply.answer)
    if not quiet:
        _note_ending(reply, asked)
    return reply


def _note_ending(reply: "Reply", asked: "Asked") -> None:
    if reply.was_closed:
        console.note(f"(The thought was ended after its budget of {asked.budget:,} tokens.)")
    if reply.ended == "length":
        where = "answer" if reply.answer_tokens else "thought"
        console.note(f"(Cut off in its {where} after {asked.most:,} tokens; --max-new-tokens N allows more.)")
    elif not reply.answer:
        console.note("(The model ended its turn without an answer.)")


def _as_json(value: dict[str, Any]) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)
