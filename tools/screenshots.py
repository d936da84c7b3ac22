"""Take the pictures of README.md and docs/tutorial.md: docs/images/*.png.

    python tools/screenshots.py [FOLDER]

Prepares the bundled data and trains the tiny model on it (minutes on a CPU), then photographs the three pages with
Chromium, which has to be installed. What FOLDER holds already is used again; pages are always written again.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
COMMANDS = (
    "pipe -c tiny",
    "report output/tiny/sft",
    "data inspect raw_chat.jsonl -c tiny --grep Thank --html inspect.html",
)
PICTURES = {
    "inspect": ("inspect.html", 620),
    "prep-report": ("output/tiny/data/report.html", 1150),
    "training-report": ("output/tiny/sft/report.html", 1250),
}
"""Name -> page, and how much of it is seen, in pixels."""
WIDTH = 1100
MOST_BYTES = 200_000


def main() -> None:
    """Make the pages, then the pictures."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome") or sys.exit("Install chromium first.")
    work = Path(sys.argv[1] if len(sys.argv) > 1 else "output/pictures").absolute()
    work.mkdir(parents=True, exist_ok=True)
    IMAGES.mkdir(exist_ok=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, ROOT / "examples/raw_chat.py", "raw_chat.jsonl"], cwd=work, check=True)
    for command in COMMANDS:
        line = [sys.executable, "-m", "nemotron", "super3", *command.split()]
        subprocess.run(line, cwd=work, env=environment, check=True)
    for name, (page, height) in PICTURES.items():
        picture = IMAGES / f"{name}.png"
        flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--window-size={WIDTH},{height}",
        ]
        line = [chromium, *flags, f"--screenshot={picture}", (work / page).as_uri()]
        subprocess.run(line, check=True, stderr=subprocess.DEVNULL)
        if picture.stat().st_size > MOST_BYTES:
            sys.exit(f"{picture} has {picture.stat().st_size:,} bytes: more than {MOST_BYTES:,}.")


if __name__ == "__main__":
    main()
