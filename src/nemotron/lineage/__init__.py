"""Record which data a model was trained on, and what that data was made from.

    data = log_artifact(name="SFTDataArtifact-sft", type="dataset", path=splits, root=root, aliases=["tiny"])
    resolve("SFTDataArtifact-sft:tiny", root).path  # the splits folder

Records are JSON files below a root folder (`run.artifacts`, default `$NEMOTRON_ARTIFACTS` or `output/artifacts`) and a
manifest in the artifact's own folder. No account or service is needed. With a W&B project, `tracking` keeps a run open
and records the same there.
"""

from nemotron.lineage.artifact import MANIFEST, Artifact, ArtifactError
from nemotron.lineage.log import check_name, check_root, log_artifact
from nemotron.lineage.resolve import resolve

__all__ = ["MANIFEST", "Artifact", "ArtifactError", "check_name", "check_root", "log_artifact", "resolve"]
