"""What a job finds where it runs: python startup.py prep|sft [ray]

One line each for the interpreter and what the stage stands on; then what is missing. Exit code 1 when the stage could
not start. Nothing but the standard library is used, and nothing is imported: this is the first step of a job.
"""

import importlib.metadata
import importlib.util
import sys

SHARED = {"typer": "typer", "omegaconf": "omegaconf", "yaml": "PyYAML"}
NEEDED = {
    "prep": {
        **SHARED,
        "fsspec": "fsspec",
        "huggingface_hub": "huggingface-hub",
        "jinja2": "jinja2",
        "numpy": "numpy",
        "orjson": "orjson",
        "pyarrow": "pyarrow",
        "tokenizers": "tokenizers",
    },
    "sft": {**SHARED, "torch": "torch", "megatron.core": "megatron-core", "megatron.bridge": "megatron-bridge"},
}
"""Modules without which a stage does not start, and the packages that have them."""
USEFUL = {
    "prep": {"gigatoken": ("gigatoken", "tokenizing is slower"), "zstandard": ("zstandard", ".zst is not read")},
    "sft": {},
}
SHOWN = {
    "prep": ("pyarrow", "tokenizers", "gigatoken"),
    "sft": ("torch", "megatron-core", "megatron-bridge", "transformer-engine"),
}


def main(arguments: list[str]) -> int:
    """Say what is here and what is missing; the exit code."""
    stage = arguments[0]
    needed = NEEDED[stage] | ({"ray": "ray"} if "ray" in arguments[1:] else {})
    print(f"Python {sys.version.split()[0]}: {sys.executable}")
    for package in SHOWN[stage]:
        print(f"{package} {version(package) or 'not installed'}")
    for module, (package, without) in USEFUL[stage].items():
        if not is_there(module):
            print(f'note: {package} is not installed: {without}. install = ["{package}"] in the profile adds it.')
    missing = [package for module, package in needed.items() if not is_there(module)]
    if missing:
        listed = ", ".join(f'"{package}"' for package in missing)
        print(f"error: {sys.executable} lacks {', '.join(missing)}.", file=sys.stderr)
        print(f"hint: set install = [{listed}] in the profile, or python or container_image.", file=sys.stderr)
    sys.stdout.flush()
    return 1 if missing else 0


def version(package: str) -> str | None:
    """The installed version of a package; None: not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def is_there(module: str) -> bool:
    """Whether a module would be found."""
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
