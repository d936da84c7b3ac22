"""Write the reference pages and the schemas, or check that they are what the code says."""

import sys

from tools.reference import make_files


def main() -> None:
    """Write every file; with --check write nothing, and fail when one differs."""
    made = make_files()
    stale = [path for path, text in made.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv[1:]:
        if stale:
            sys.exit(f"out of date: {', '.join(path.name for path in stale)}. Run: python -m tools.reference")
        return
    for path in stale:
        path.write_text(made[path], encoding="utf-8")
        print(f"wrote {path}")


main()
