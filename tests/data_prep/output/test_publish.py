"""Under which name prepared data is found."""

from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.output.publish import artifact_name


def test_a_sample_is_not_what_training_finds_by_default() -> None:
    assert artifact_name(DataPrepConfig()) == "SFTDataArtifact-sft"
    assert artifact_name(DataPrepConfig(sample=5)) == "SFTDataArtifact-sft-sample"
