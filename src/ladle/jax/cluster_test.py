from __future__ import annotations

import pytest

from ladle.core.errors import ArgumentError
from ladle.core.world import said
from ladle.jax.cluster import Place, found

TORCHRUN = {"WORLD_SIZE": "4", "RANK": "3", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}


def test_nobody_said_anything():
    assert found({}) is None
    assert found({"WORLD_SIZE": "1", "RANK": "0"}) is None


def test_as_torchrun_says_it():
    assert found(TORCHRUN) == Place(3, 4, "10.0.0.1", 29500, "10.0.0.1")
    here = {**TORCHRUN, "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    assert found(here) == Place(3, 4, "10.0.0.1", 29500, "10.0.0.1", 1, 2)
    # torchrun listens at its own port, and again after each restart.
    agent = {**TORCHRUN, "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "2"}
    place = found(agent)
    assert place is not None and place.port == 29503


def test_an_address_of_version_six_has_brackets():
    place = found({**TORCHRUN, "MASTER_ADDR": "::1"})
    assert place is not None and (place.address, place.bind_address) == ("[::1]:29500", "[::1]:29500")


@pytest.mark.parametrize("name", ["RANK", "MASTER_ADDR", "MASTER_PORT"])
def test_what_is_there_in_part_is_refused(name: str):
    with pytest.raises(ArgumentError, match=f"{name} must be set beside WORLD_SIZE"):
        found({other: value for other, value in TORCHRUN.items() if other != name})


@pytest.mark.parametrize(("name", "value"), [("RANK", "4"), ("WORLD_SIZE", "many"), ("MASTER_PORT", "-1")])
def test_numbers_that_cannot_be_are_refused(name: str, value: str):
    with pytest.raises(ArgumentError, match=name):
        found({**TORCHRUN, name: value})


def told(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> Place | None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return found()


SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "localhost",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "2",
    "SLURM_STEP_NUM_NODES": "1",
}


def test_slurm_on_one_machine_meets_at_loopback(monkeypatch: pytest.MonkeyPatch):
    place = told(monkeypatch, SLURM)
    assert place == Place(1, 2, "127.0.0.1", 61447, "127.0.0.1", 1, 2, "slurm")
    assert said() == (1, 2)


def test_slurm_on_two_machines_meets_at_the_first(monkeypatch: pytest.MonkeyPatch):
    nodes = {"SLURM_STEP_NODELIST": "10.0.0.[7-8]", "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_TASKS_PER_NODE": "1(x2)"}
    place = told(monkeypatch, {**SLURM, **nodes})
    assert place is not None and (place.host, place.bind, place.on_host) == ("10.0.0.7", "10.0.0.7", None)
    # Where the first machine's own name means loopback there, the others could not reach it.
    place = told(monkeypatch, {**SLURM, **nodes, "SLURM_STEP_NODELIST": "localhost,other"})
    assert place is not None and (place.host, place.bind) == ("localhost", "0.0.0.0")


def test_a_script_that_slurm_runs_by_itself_is_one_process(monkeypatch: pytest.MonkeyPatch):
    assert told(monkeypatch, {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}) is None
    assert said() == (0, 1)


def test_open_mpi_on_one_machine(monkeypatch: pytest.MonkeyPatch):
    variables = {
        "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
        "OMPI_COMM_WORLD_SIZE": "2",
        "OMPI_COMM_WORLD_RANK": "0",
        "OMPI_COMM_WORLD_LOCAL_RANK": "0",
        "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    }
    place = told(monkeypatch, variables)
    assert place is not None and (place.host, place.bind, place.by) == ("127.0.0.1", "127.0.0.1", "ompi")
    assert said() == (0, 2)
    place = told(monkeypatch, {**variables, "OMPI_COMM_WORLD_SIZE": "4"})
    assert place is not None and place.host == "10.96.0.1"
