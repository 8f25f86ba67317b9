"""Several processes that work as one: started by torchrun, one for each GPU, or on the CPU where there is none."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from scripts.errors import InputError

__all__ = ["gathered", "join_processes", "of_first"]

_TOLD_BY_TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def join_processes(device: torch.device | str, timeout_minutes: float = 30.0) -> None:
    """Meet the other processes that torchrun started: NCCL between GPUs, gloo on the CPU. A second call does nothing.

    A process that waits longer than `timeout_minutes` for another one fails, and torchrun then ends them all; it also
    does when a process is killed. So none waits for ever.

    Args:
        device: of this process.
        timeout_minutes: how long a process waits for what another has to send.

    Raises:
        InputError: torchrun did not start this process, or started more of them than there are GPUs.
    """
    if dist.is_initialized():
        return
    if missing := [name for name in _TOLD_BY_TORCHRUN if name not in os.environ]:
        raise InputError(
            f"found no {missing[0]} in the environment, expected that of torchrun: multi_gpu_train.yaml and "
            "multi_gpu_inference.yaml are for several processes. Start the command with "
            "`torchrun --standalone --nproc_per_node=2 -m monai.bundle run`, or leave the overlay out."
        )
    device = torch.device(device)
    if device.type == "cuda":
        _take_gpu(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(minutes=timeout_minutes))


def gathered(content: Any) -> list[Any]:
    """Return what every process has, by rank, on rank 0; elsewhere an empty list. All processes must call this.

    Args:
        content: of this process, picklable; tensors in dictionaries and lists arrive on the CPU.

    Memory: on rank 0 that of all of it, twice while it arrives.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return [content]
    everything: list[Any] = [None] * dist.get_world_size() if dist.get_rank() == 0 else []
    dist.gather_object(_on_cpu(content), everything or None)
    return everything


def of_first(content: Any) -> Any:
    """Return what rank 0 has, in every process. All processes must call this.

    Args:
        content: of this process, picklable and small.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return content
    shared = [content]
    dist.broadcast_object_list(shared, src=0)
    return shared[0]


def _on_cpu(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _on_cpu(value) for name, value in content.items()}
    if isinstance(content, list):
        return [_on_cpu(value) for value in content]
    return content.cpu() if torch.is_tensor(content) else content


def _take_gpu(device: torch.device) -> None:
    if (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"found {torch.cuda.device_count()} GPUs, expected one for each process, and this one wants {device}: "
            "give torchrun a smaller --nproc_per_node."
        )
    torch.cuda.set_device(device)
