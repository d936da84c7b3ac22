"""Write the reference pages, or check that they are what the code says."""

import sys

from tools.reference import FOLDER, PAGES, make_page


def main() -> None:
    """Write every page; with --check write nothing, and fail when one differs."""
    pages = {FOLDER / name: make_page(name) for name in PAGES}
    stale = [path for path, text in pages.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv[1:]:
        if stale:
            sys.exit(f"out of date: {', '.join(path.name for path in stale)}. Run: python -m tools.reference")
        return
    for path in stale:
        path.write_text(pages[path], encoding="utf-8")
        print(f"wrote {path}")


main()
