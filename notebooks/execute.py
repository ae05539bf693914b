"""Executes the notebooks with the binary that QUIETWATCH names; the first error ends it.

With --write the outputs are kept in the files, without times.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

for path in sorted(Path(__file__).parent.glob("*.ipynb")):
    book = nbformat.read(path, as_version=4)
    NotebookClient(book, timeout=900, record_timing=False, resources={"metadata": {"path": str(path.parent)}}).execute()
    if "--write" in sys.argv[1:]:
        # The kernel adds its own version.
        book.metadata.language_info = {"name": "python"}
        nbformat.write(book, path)
    print(f"{path.name}: every cell executed")
