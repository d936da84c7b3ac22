"""Which reasons of a pending job pass by themselves, and which need a change."""

import pytest

from nemotron.launch.jobs.pending import explain_pending


@pytest.mark.parametrize(
    "reason",
    ["Priority", "Resources", "Dependency", "BeginTime", "AssocMaxJobsLimit", "QOSGrpNodeLimitX", "JobGrpGRES", ""],
)
def test_waiting_is_enough(reason: str):
    assert explain_pending(reason) is None


@pytest.mark.parametrize(
    ("reason", "key"),
    [
        ("PartitionNodeLimit", "nodes"),
        ("PartitionTimeLimit", "time"),
        ("InvalidAccount", "account"),
        ("BadConstraints", "gpus_per_node"),
        ("ReqNodeNotAvail, UnavailableNodes:node[1-3]", "exclude"),
        ("QOSMaxNodePerUserLimitPerJob", "qos"),
        ("AssocMaxWallDurationPerJobLimit", "time"),
        ("QOSGrpGRES", "gpus_per_node"),
        ("QOSGrpNodeLimit", "nodes"),
        ("AssocGrpCpuLimit", "qos"),
        ("PartitionConfig", "another partition"),
        ("PartitionDown", "partition"),
        ("PartitionInactive", "partition"),
        ("AccountNotAllowed", "account"),
        ("InvalidQOS", "qos"),
        ("QOSNotAllowed", "qos"),
        ("NodeDown", "exclude"),
        ("Reservation", "additional_parameters"),
        ("ReservationDeleted", "additional_parameters"),
        ("DependencyNeverSatisfied", "failed"),
        ("JobHeldUser", "scontrol release"),
        ("JobHeldAdmin", "administrator"),
        ("launch_failed_requeued_held", "reading its log"),
    ],
)
def test_what_has_to_change_is_said(reason: str, key: str):
    assert key in str(explain_pending(reason))
