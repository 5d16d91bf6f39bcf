"""Trains on the hosts of a Ray cluster, and starts again after the last complete epoch if one of them is lost.

    python train_on_ray.py path/to/signs -o /shared/model.keras --hosts 2    # and other options of `signs train`

The data and -o lie on a disk that all hosts share. Needs ray and jax. Without a cluster, one is started here.
"""

import argparse
import contextlib
import os
import socket
import sys
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

WAIT = 600  # seconds for hosts to come
GRACE = 30  # seconds in which a lost process is noticed, after another one failed because of it


@ray.remote
def free_address() -> str:
    """Where the first host can wait for the others."""
    with socket.socket() as free:
        free.bind(("", 0))
        return f"{ray.util.get_node_ip_address()}:{free.getsockname()[1]}"


@ray.remote
class Host:
    """One process of the training."""

    def train(self, folder: str, words: list[str]) -> int:
        """Run `signs train`; return its exit code."""
        from signs_builder.commands.train import train

        os.chdir(folder)  # words may name files
        try:
            train(words, standalone_mode=True)
        except SystemExit as end:
            return int(end.code or 0)
        return 0


def run(words: list[str], hosts: int, cpus: int, gpus: int) -> int:
    """Train once, and return the exit code. Raises RayError if a process or a host is lost."""
    group = placement_group([{"CPU": cpus, "GPU": gpus} if gpus else {"CPU": cpus}] * hosts, strategy="SPREAD")
    actors: list[Any] = []
    try:
        ray.get(group.ready(), timeout=WAIT)
        places = [PlacementGroupSchedulingStrategy(group, i) for i in range(hosts)]
        address = ray.get(free_address.options(num_cpus=cpus, scheduling_strategy=places[0]).remote())
        variables = {
            "KERAS_BACKEND": "jax",
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
            "KERAS_DISTRIBUTION_NUM_PROCESSES": str(hosts),
        }
        for i, place in enumerate(places):
            own = {"env_vars": {**variables, "KERAS_DISTRIBUTION_PROCESS_ID": str(i)}}
            options = {"num_cpus": cpus, "num_gpus": gpus, "scheduling_strategy": place, "runtime_env": own}
            actors.append(Host.options(**options).remote())
        folder = str(Path.cwd())
        first, *others = [actor.train.remote(folder, [*words, "--strategy", "data-parallel"]) for actor in actors]
        waiting = [first, *others]
        while waiting:
            (ended, *_), waiting = ray.wait(waiting)
            try:
                code = int(ray.get(ended))
            except RayTaskError:
                raise_loss(waiting)
                raise
            if ended == first and code == 0:  # it has saved the model
                return 0
            if code:
                raise_loss(waiting)
                return code
        return 0
    finally:
        for actor in actors:  # where one is lost, the others would wait for it
            ray.kill(actor)
        ray.util.remove_placement_group(group)


def raise_loss(others: list[Any]) -> None:
    """Raise RayError if another process is lost, which is why this one failed."""
    ready, _ = ray.wait(others, num_returns=len(others), timeout=GRACE) if others else ([], [])
    for each in ready:
        with contextlib.suppress(RayTaskError):
            ray.get(each)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=2)
    parser.add_argument("--cpus-per-host", type=int, default=1)
    parser.add_argument("--gpus-per-host", type=int, default=0)
    parser.add_argument("--tries", type=int, default=5, help="How often the training is started at most.")
    arguments, words = parser.parse_known_args()
    ray.init()
    for i in range(arguments.tries):
        try:
            options = [*words, *(["--resume"] if i else [])]
            return run(options, arguments.hosts, arguments.cpus_per_host, arguments.gpus_per_host)
        except GetTimeoutError:
            print(f"The cluster had no room for {arguments.hosts} processes within {WAIT} s.", file=sys.stderr)
            return 1
        except RayTaskError:  # a mistake, which would only come again
            raise
        except RayError as error:
            print(f"A process was lost ({type(error).__name__}). Continuing with --resume.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
