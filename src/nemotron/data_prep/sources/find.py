"""Find the input files of a dataset."""

import zlib
from collections.abc import Callable

from nemotron.data_prep.sources import hub, local, object_store
from nemotron.data_prep.sources.blend import Dataset
from nemotron.data_prep.sources.input_file import Found, InputFile, compression_of, format_of
from nemotron.data_prep.sources.sniffing import sniff
from nemotron.errors import UserError, did_you_mean
from nemotron.secrets import holds_credentials


def find_files(dataset: Dataset) -> list[InputFile]:
    """Return the files of a dataset, sorted by path.

    Raises:
        UserError: There are no files, or one cannot be read.
    """
    if holds_credentials(dataset.path):
        raise UserError(
            f'Dataset "{dataset.name}": {dataset.path} contains credentials, and paths are recorded.',
            "Remove them from the path and set them as variables, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        )
    find = _finder(dataset)
    try:
        return [_describe(found) for found in find(dataset)]
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            f'Dataset "{dataset.name}": cannot read {dataset.path}: {str(error).rstrip(".")}.',
            "Check that the files are complete, and that you may read them from this machine.",
        ) from None


def _finder(dataset: Dataset) -> Callable[[Dataset], list[Found]]:
    scheme, separator, _ = dataset.path.partition("://")
    if not separator:
        if dataset.subset or dataset.split:
            raise UserError(
                f'Dataset "{dataset.name}" has a {"subset" if dataset.subset else "split"}, but {dataset.path} is a '
                "local path.",
                "Only hf:// datasets have subsets and splits; otherwise give the path of the files themselves.",
            )
        return local.find_local
    if f"{scheme}://" == hub.SCHEME:
        return hub.find_on_hub
    if f"{scheme}://" in object_store.SCHEMES:
        return object_store.find_objects
    known = [hub.SCHEME, *object_store.SCHEMES]
    hint = did_you_mean(f"{scheme}://", known) or f"Give a local path, or one of {', '.join(known)}."
    raise UserError(f'Dataset "{dataset.name}": {dataset.path} is not at a place that can be read.', hint)


def _describe(found: Found) -> InputFile:
    format = format_of(found.path)
    assert format is not None
    compression = compression_of(found.path)
    file = InputFile(*found, format, compression)
    return file if format == "parquet" or (kind := sniff(file)) == format else InputFile(*found, kind, compression)
