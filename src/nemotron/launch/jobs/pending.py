"""Explain why a job stays in the queue until something is changed."""

import re

_STUCK = {
    "PartitionConfig": "the partition does not allow it: ask for fewer nodes, less time, or another partition",
    "PartitionNodeLimit": "it asks for more or fewer nodes than the partition gives a job: nodes, partition",
    "PartitionTimeLimit": "it asks for more time than the partition allows: time, partition",
    "PartitionDown": "the partition is down: partition",
    "PartitionInactive": "the partition accepts no jobs: partition",
    "InvalidAccount": "the account is not valid there: account",
    "AccountNotAllowed": "the partition does not accept the account: account, partition",
    "InvalidQOS": "the QOS is not valid there: qos",
    "QOSNotAllowed": "the partition or the account does not accept the QOS: qos, partition",
    "BadConstraints": "no node has what it asks for: constraint, gres, gpus_per_node, mem",
    "NodeDown": "a node it needs is down: exclude",
    "ReqNodeNotAvail": "a node it needs is down or reserved: exclude, reservation",
    "Reservation": "it waits for its reservation to begin: additional_parameters",
    "ReservationDeleted": "its reservation is gone: additional_parameters",
    "DependencyNeverSatisfied": "the stage before it failed",
    "JobHeldUser": "it is held: scontrol release JOB",
    "JobHeldAdmin": "an administrator holds it: ask them",
    "launch_failed_requeued_held": "it could not be started and is held: scontrol release JOB, after reading its log",
}
_JOB_LIMIT = re.compile(r"(QOS|Assoc)\w*(PerJob|PerJobLimit|WallDuration\w*|GrpNodeLimit|GrpCpuLimit|GrpGRES)$")


def explain_pending(reason: str) -> str | None:
    """Explain what has to change for a pending job to start.

    None means that waiting is enough.

    Args:
        reason: Slurm's word, as `JobState.reason`.
    """
    reason = reason.split(",")[0]
    if _JOB_LIMIT.search(reason):
        return "it asks for more than the QOS or the account allows one job: nodes, gpus_per_node, time, qos"
    return _STUCK.get(reason)
