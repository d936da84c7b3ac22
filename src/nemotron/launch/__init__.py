"""Launch stages on a cluster or on this machine.

    profile = load_profile("YOUR-CLUSTER")                    # a table of env.toml
    stages = [make_prep_stage(prep), make_sft_stage(sft)]     # in order; the second needs the first to succeed
    placements = place(stages, profile, attached=True)        # --run; with attached=False, --batch
    preview(placements)                                       # --dry-run
    submission = submit(placements)
    exit_code = follow(submission, on_output=write)           # --run only

NeMo-Run is imported by `preview` and `submit`, not here.
"""

from nemotron.launch.jobs.follow import follow
from nemotron.launch.jobs.state import JobState
from nemotron.launch.jobs.submission import Job, Submission
from nemotron.launch.local import count_gpus, count_processes, torchrun, torchrun_command
from nemotron.launch.placement import Placement, place
from nemotron.launch.preview import Preview, preview
from nemotron.launch.profiles.env_file import ProfileError, find_env_file
from nemotron.launch.profiles.load import load_profile, read_shared_environment
from nemotron.launch.profiles.profile import Profile
from nemotron.launch.shell import LaunchError
from nemotron.launch.stages import Stage, make_prep_stage, make_sft_stage
from nemotron.launch.submit import submit

__all__ = [
    "Job",
    "JobState",
    "LaunchError",
    "Placement",
    "Preview",
    "Profile",
    "ProfileError",
    "Stage",
    "Submission",
    "count_gpus",
    "count_processes",
    "find_env_file",
    "follow",
    "load_profile",
    "make_prep_stage",
    "make_sft_stage",
    "place",
    "preview",
    "read_shared_environment",
    "submit",
    "torchrun",
    "torchrun_command",
]
