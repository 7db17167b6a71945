"""Small notebooks for the tests."""

import nbformat


def write_notebook(path, *sources: str):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    return path


def with_parameters(path, source: str):
    """A notebook whose cell of parameters this is."""
    write_notebook(path, source, "import json; print(json.dumps([dry_run, allow_missing]))")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(notebook, path)
    return path
