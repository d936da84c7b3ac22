"""Which reasons of a pending job pass by themselves, and which need a change."""

import pytest

from nemotron.launch.jobs.pending import explain_pending


@pytest.mark.parametrize("reason", ["Priority", "Resources", "Dependency", "BeginTime", "AssocMaxJobsLimit", ""])
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
        ("JobHeldUser", "scontrol release"),
    ],
)
def test_what_has_to_change_is_said(reason: str, key: str):
    assert key in str(explain_pending(reason))
