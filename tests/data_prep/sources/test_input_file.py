"""Which files of a folder are data."""

import pytest

from nemotron.data_prep.sources.input_file import leave_out_bookkeeping


@pytest.mark.parametrize(
    ("found", "left_out"),
    [
        (["state.json", "dataset_info.json", "data-0.arrow", "cache-1.arrow"], [0, 1, 3]),
        (["state.json", "data-0.ARROW"], [0]),
        # Of several splits.
        (["d/dataset_dict.json", "d/train/state.json", "d/train/data-0.arrow", "d/test/data-0.arrow"], [0, 1]),
        (["d/train/state.json", "d/train/data-0.arrow", "d/other/state.json"], [0]),
        # Data with such names, next to no saved dataset.
        (["state.json", "dataset_info.json", "records.jsonl"], []),
        (["dataset_info.json", "data-0.arrow", "cache-1.arrow"], []),
        (["a/state.json", "b/data-0.arrow"], []),
    ],
)
def test_what_datasets_keeps_next_to_its_files_is_left_out(found: list[str], left_out: list[int]) -> None:
    assert leave_out_bookkeeping(iter(found)) == [path for at, path in enumerate(found) if at not in left_out]
