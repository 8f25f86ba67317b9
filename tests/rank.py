"""What one of the two processes of test_processes.py does; torchrun starts it with the folder for the results."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from ignite.engine import Events
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundle"))

from scripts.checkpoint import TrainingCheckpoint, list_checkpoints
from scripts.handlers import RunningAverage
from scripts.inferer import MapInferer, SharedMapInferer
from scripts.networks import SegmentationGenerator, bare
from scripts.processes import gathered, join_processes

from test_checkpoint import run, trainer
from test_trainer import NETWORKS, REPRESENTATION, batch, build, real_networks

STEPS, BATCH, PROCESSES = 3, 2, 2
INFERERS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "along z": ((40, 20, 24), {}),
    "along x, image and flips": ((12, 20, 70), {"with_image": True, "flips": 2, "overlap": 0.6}),
    "one window for two": ((10, 12, 14), {}),
}


def batches(ranks: list[int], dtype: torch.dtype) -> list[dict[str, Tensor]]:
    """The batches of a process, or those of several, one behind the other, as those of one process."""
    parts = [[batch(100 * rank + step, BATCH) for rank in ranks] for step in range(STEPS)]
    return [{name: torch.cat([part[name] for part in step]).to(dtype) for name in step[0]} for step in parts]


def trained(
    ranks: list[int], dtype: torch.dtype = torch.float32, amp: bool = False, alone: bool = False
) -> dict[str, dict[str, Any]]:
    """Of every network the gradients in the first step, the sum of the rates, and the parameters after the last step.

    The parameters of the averaged generator are among them. Without noise and history a step draws one random number,
    the coin that says which maps discriminator_s sees; from the same seed it falls alike in all processes.

    Args:
        ranks: whose batches.
        dtype: of the networks.
        amp: mixed precision.
        alone: without the other process.
    """
    networks: Any = {name: network.to(dtype) for name, network in real_networks().items()}
    if not alone:
        networks = {name: DistributedDataParallel(network) for name, network in networks.items()}
    average = RunningAverage(networks["generator_yx"], momentum=0.1)
    options: dict[str, Any] = {"max_gradient_norm": 0.5, "pool_size": 0, "amp": amp}
    trainer = build(networks, batches(ranks, dtype), handlers=[average], **options)
    gradients: dict[str, list[Tensor]] = {}
    rates: dict[str, float] = dict.fromkeys(NETWORKS, 0.0)

    def keep(name: str) -> None:
        rates[name] += trainer.optimizers[name].param_groups[0]["lr"]
        gradients.setdefault(name, [p.grad.clone() for p in networks[name].parameters()])

    for name in NETWORKS:
        trainer.optimizers[name].register_step_pre_hook(lambda *_, name=name: keep(name))
    torch.manual_seed(0)
    trainer.run()
    networks["average"] = average.ema_model
    parameters = {name: [p.detach().clone() for p in network.parameters()] for name, network in networks.items()}
    return {"gradients": gradients, "rates": rates, "parameters": parameters}


class Stream:
    """Two batches an epoch, drawn from this process's random stream."""

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for _ in range(2):
            yield batch(int(torch.randint(2**31, ())))


def resumable(folder: Path, resume: bool) -> dict[str, Any]:
    """Train for four iterations with noise and history, or only the last two of them from a checkpoint."""
    networks: Any = {name: DistributedDataParallel(network) for name, network in real_networks().items()}
    torch.manual_seed(7 * resume + dist.get_rank())
    checkpoint = TrainingCheckpoint(str(folder), interval=2, resume=resume)
    options: dict[str, Any] = {"translation_noise": 0.1, "pool_size": 1, "handlers": [checkpoint]}
    trainer = build(networks, Stream(), epochs=2, **options)  # type: ignore[arg-type]
    begun = trainer.state.iteration
    trainer.run()
    state = {name: bare(network).state_dict() for name, network in networks.items()}
    pools = {name: pool.samples for name, pool in trainer.pools.items()}
    return {"begun": begun, "networks": state, "pools": pools, "next": torch.rand(4)}


def interrupted(folder: Path) -> dict[str, Any]:
    whole = resumable(folder, resume=False)
    dist.barrier()
    if dist.get_rank() == 0:
        list_checkpoints(folder)[-1].unlink()
    dist.barrier()
    return {"whole": whole, "resumed": resumable(folder, resume=True)}


def best(folder: Path) -> list[float]:
    """The best score after each of three validations of which the processes have other scores, one of them worse."""
    scores = {2: (0.5, 0.4), 4: (0.4, 0.9), 6: (0.7, 0.1)}
    engine, validator = trainer(rank=dist.get_rank()), trainer()
    checkpoint = TrainingCheckpoint(str(folder), interval=100, validator=validator, best="ap")
    checkpoint.attach(engine)
    found: list[float] = []

    def validate(engine: Any) -> None:
        validator.state.metrics = {"ap": scores[engine.state.iteration][dist.get_rank()]}
        validator.fire_event(Events.COMPLETED)
        found.append(checkpoint.best_score)

    engine.add_event_handler(Events.EPOCH_COMPLETED, validate)
    run(engine)
    return found


def inferred(name: str, kind: type[MapInferer]) -> Tensor:
    shape, options = INFERERS[name]
    torch.manual_seed(0)
    network, volume = SegmentationGenerator(filters=(8, 16), isotropic_from=1).eval(), torch.rand(1, 1, *shape) * 2 - 1
    sizes: dict[str, Any] = {"roi_size": (8, 16, 16), "padding": (2, 4, 4), "scale": (1.0, 0.5, 1.0)}
    return kind(REPRESENTATION, progress=False, **sizes, **options)(volume, network)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    join_processes("cpu", timeout_minutes=1.0)
    rank = dist.get_rank()
    found: dict[str, Any] = {str(dtype): trained([rank], dtype) for dtype in (torch.float64, torch.float32)}
    found["bfloat16"] = trained([rank], amp=True)
    found["resumed"] = interrupted(folder / "checkpoints")
    found["best"] = best(folder / "best")
    found["maps"] = {name: inferred(name, SharedMapInferer) for name in INFERERS}
    found["gathered"] = gathered({"rank": [torch.tensor(rank)]})
    # What one process makes of both batches and of a whole volume; here, since it depends on the number of threads.
    if rank == 0:
        found["one torch.float64"] = trained([0, 1], torch.float64, alone=True)
        found["half"] = trained([0], alone=True)
    else:
        found["one torch.float32"] = trained([0, 1], alone=True)
        found["one maps"] = {name: inferred(name, MapInferer) for name in INFERERS}
    torch.save(found, folder / f"rank_{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
