"""A training that is killed, at whatever moment and however often, makes the weights of one that was left alone."""

import dataclasses
import multiprocessing
import os
import random
import signal
import time

import pytest
import torch
from golden import NETWORK_F
from test_fitting_training import make_scans

from neurostatic.config import Training
from neurostatic.fitting.checkpoints import Checkpoint
from neurostatic.fitting.training import train_network

N_KILLS = 24
CPU = torch.device("cpu")
# Two stages that both come to an end by themselves; random points and moving batch order take part.
TRAINING = Training(max_epochs=60, batch_size=10, patience=6, learning_rates=(0.02, 0.005))
NETWORK = dataclasses.replace(NETWORK_F, readout="FullGaussian2d", gamma_hidden=0.01, gamma_input=0.1)
FRESH = multiprocessing.get_context("forkserver")  # processes that have torch loaded, and nothing else
FRESH.set_forkserver_preload(["neurostatic.fitting.training", "numpy.testing", "pytest"])


def train(folder, epochs=1, training=TRAINING, network=NETWORK, name="a training"):
    """Train, and leave weights and history in the folder; what is said goes to a file."""
    torch.set_num_threads(1)
    with open(folder / "said", "a") as said:

        def report(text):
            print(text, file=said, flush=True)

        checkpoint = Checkpoint(folder / "checkpoint", name, epochs) if epochs else None
        scans = make_scans(names=("a", "b"))
        trained, history = train_network(network, training, scans, 1, CPU, report, checkpoint)
    torch.save({"weights": trained.state_dict(), "history": history}, folder / "done")
    if checkpoint:
        checkpoint.remove()


def result(folder):
    return torch.load(folder / "done", weights_only=True)


def assert_equal(folder, other):
    one, two = result(folder), result(other)
    assert one["history"] == two["history"]
    assert list(one["weights"]) == list(two["weights"])
    for name, value in one["weights"].items():
        assert torch.equal(value, two["weights"][name]), name


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What an uninterrupted training without checkpoints makes."""
    folder = tmp_path_factory.mktemp("alone")
    process = FRESH.Process(target=train, args=(folder, 0))
    process.start()
    process.join()
    assert {row["stage"] for row in result(folder)["history"]} == {0, 1}
    return folder


def test_a_training_that_is_killed_again_and_again_makes_the_same_weights(tmp_path, alone):
    """At random moments, by SIGKILL and by SIGTERM (which is what SLURM sends at a time limit)."""
    moments = random.Random(0)
    started = time.monotonic()
    kills = 0
    while not (tmp_path / "done").is_file():
        assert time.monotonic() - started < 300, (tmp_path / "said").read_text()
        process = FRESH.Process(target=train, args=(tmp_path,))
        process.start()
        before = len(_lines(tmp_path))
        # From before its first epoch to some epochs later: counted, not timed, for a busy machine is slow.
        n_lines, extra_s = moments.randrange(4), moments.uniform(0, 0.05)
        while process.is_alive() and kills < N_KILLS and len(_lines(tmp_path)) < before + n_lines:
            time.sleep(0.002)
        time.sleep(extra_s)
        if process.is_alive() and kills < N_KILLS:
            os.kill(process.pid, moments.choice((signal.SIGKILL, signal.SIGTERM)))
            kills += 1
        process.join()
    assert kills >= 20
    resumed = [line for line in _lines(tmp_path) if line.startswith("going on from the checkpoint of epoch")]
    assert len(resumed) >= kills / 2
    assert_equal(tmp_path, alone)
    assert {path.name for path in tmp_path.iterdir()} == {"done", "said"}  # no checkpoint, and no half-written one


def _lines(folder):
    said = folder / "said"
    return said.read_text().splitlines() if said.is_file() else []


class Stopped(Exception):
    pass


def train_until(folder, n_epochs, **changes):
    """Train in this process, and stop after some epochs."""
    said = []

    def report(text):
        said.append(text)
        if sum(line.startswith("epoch") for line in said) == n_epochs:
            raise Stopped

    checkpoint = Checkpoint(folder / "checkpoint", changes.pop("name", "a training"), changes.pop("epochs", 1))
    with pytest.raises(Stopped):
        train_network(NETWORK, TRAINING, make_scans(names=("a", "b")), 1, CPU, report, checkpoint)
    return said


@pytest.mark.parametrize("n_epochs", range(1, 12, 2))
def test_a_training_goes_on_from_every_epoch(tmp_path, alone, n_epochs):
    train_until(tmp_path, n_epochs)
    train(tmp_path)
    assert_equal(tmp_path, alone)
    first = _lines(tmp_path)[0]
    epoch = f"going on from the checkpoint of epoch {n_epochs - 1}"
    assert first == epoch if n_epochs > 1 else first.startswith("epoch 1 ")


ANEW = "the checkpoint is of another training, or damaged: from the beginning"


def test_a_checkpoint_of_another_training_is_not_resumed(tmp_path, alone):
    train_until(tmp_path, 4, name="with other settings")
    train(tmp_path)
    assert _lines(tmp_path)[0] == ANEW and _lines(tmp_path)[1].startswith("epoch 1 ")
    assert_equal(tmp_path, alone)


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_a_damaged_checkpoint_is_not_resumed(tmp_path, alone, damage):
    train_until(tmp_path, 4)
    path = tmp_path / "checkpoint"
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "text": b"state"}[damage])
    train(tmp_path)
    assert _lines(tmp_path)[0] == ANEW and _lines(tmp_path)[1].startswith("epoch 1 ")
    assert_equal(tmp_path, alone)


def test_a_checkpoint_is_written_every_so_many_epochs(tmp_path, alone):
    train_until(tmp_path, 3, epochs=3)  # it is written before the next epoch begins
    assert not (tmp_path / "checkpoint").exists()
    train_until(tmp_path, 6, epochs=3)
    said = train_until(tmp_path, 1, epochs=3)
    assert said[0] == "going on from the checkpoint of epoch 3"
    train(tmp_path, epochs=3)
    assert_equal(tmp_path, alone)


def test_other_jobs_do_not_change_the_bits(tmp_path, alone):
    """The same training three times at once, on two cores or however many there are."""
    folders = [tmp_path / str(i) for i in range(3)]
    processes = []
    for folder in folders:
        folder.mkdir()
        processes.append(FRESH.Process(target=train, args=(folder,)))
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    for folder in folders:
        assert_equal(folder, alone)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_same_seed_makes_the_same_bits_on_a_gpu():
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    try:
        device, trained = torch.device("cuda"), []
        for _ in range(2):
            scans = {
                scan: {
                    name: dataclasses.replace(
                        tier, **{field.name: getattr(tier, field.name).to(device) for field in dataclasses.fields(tier)}
                    )
                    for name, tier in tiers.items()
                }
                for scan, tiers in make_scans(names=("a", "b")).items()
            }
            network, _ = train_network(NETWORK_F, TRAINING, scans, 1, device, lambda text: None)
            trained.append(network.state_dict())
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(value, trained[1][name]) for name, value in trained[0].items())
