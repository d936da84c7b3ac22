"""Report what a job finds on its node: python startup.py prep|sft [ray]

Prints a line for the interpreter and for each main package, then what is missing. The exit code is 1 if the stage
cannot start. Only the standard library is used, because this is the first step of a job: a small `nemotron doctor`.
"""

import sys

from nemotron import doctor

SHOWN = {
    "prep": ("pyarrow", "tokenizers", "gigatoken"),
    "sft": ("torch", "megatron-core", "megatron-bridge", "transformer-engine", "mamba-ssm"),
}


def main(arguments: list[str]) -> int:
    """Print what is installed and what is missing, and return the exit code."""
    stage = arguments[0]
    print(f"Python {sys.version.split()[0]}: {sys.executable}")
    for package in SHOWN[stage]:
        print(f"{package} {doctor.version(package) or 'not installed'}")
    for package, cost in doctor.missing_extras(stage).items():
        advice = f' install = ["{package}"] in the profile adds it.' if stage == "prep" else ""
        print(f"note: {package} is not installed: {cost}.{advice}")
    missing = doctor.missing_packages(stage, ray="ray" in arguments[1:])
    if missing:
        listed = ", ".join(f'"{package}"' for package in missing)
        print(f"error: {sys.executable} lacks {', '.join(missing)}.", file=sys.stderr)
        print(f"hint: set install = [{listed}] in the profile, or python or container_image.", file=sys.stderr)
    sys.stdout.flush()
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
