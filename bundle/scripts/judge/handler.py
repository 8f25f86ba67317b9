"""The handler that lets a training end with the weights that do best on Y without labels."""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Events
from scripts.checkpoint.weights import noted_state, plan_at, save_atomically
from scripts.errors import InputError
from scripts.judge.candidate import Judgement, judge_model
from scripts.judge.choice import Choice, choose
from scripts.judge.command import facts, line_of
from scripts.judge.consistency import predictor_of
from scripts.judge.crop import COUNT
from scripts.judge.volume import labelled_solidity, volume_crops
from scripts.networks import bare
from scripts.plan.file import read_plan
from scripts.processes import of_first
from scripts.trainer import last_iteration
from scripts.volume_io import list_volumes
from scripts.volume_io.replacement import remove_of_killed, replacing, write_table, write_text

__all__ = ["JudgeHandler"]

logger = logging.getLogger(__name__)

_SOURCE_ONLY = "source only"


class JudgeHandler:
    """Keeps weights on the way, judges them on crops of Y when a training ends, and makes model.pt the best of them.

    Candidates are the weights at the end of the warm-up, and those at `candidates` iterations spread evenly over what
    follows, the last one among them (`folder`/candidate_<iteration>.pt). The first candidate stays unless another one
    is better by more than the margin of error (`scripts.judge.choose`). It is the source alone; without a warm-up it is
    the end of the training. `folder`/judge.csv and judge.json hold all figures.

    Nothing is judged where there is nothing to choose among, and when a signal stops the training. A training that is
    found complete is judged once more: it may have been killed meanwhile. Of several processes rank 0 judges, the
    others wait. Y's labels are not read. Memory: see `scripts.judge.judge_model`.

    Args:
        image: volumes of Y: a file, a pattern or a list.
        network: whose weights are judged: the averaged generator.
        folder: output_dir of the training.
        model_path: what gets the chosen weights. Attach the handler behind the saver that writes them.
        source_only: weights at the end of the warm-up, where the trainer has one.
        keep: "better"; "last" for the newest weights, as published: then nothing is judged.
        candidates: how many follow the warm-up.
        crops: looked at in each volume.
        size: of a crop, (z, y, x) in voxels of the file; None: see `scripts.judge.crop.affordable`.
        label_x: instances of X, whose solidity candidates are compared with; None: they are not.

    Raises:
        InputError: `keep` is something else, or there is no candidate to ask for.
    """

    def __init__(
        self,
        image: Any,
        network: Any,
        folder: str,
        model_path: str,
        source_only: str,
        keep: str = "better",
        candidates: int = 4,
        crops: int = COUNT,
        size: Sequence[int] | None = None,
        label_x: Any = None,
    ) -> None:
        if keep not in ("better", "last") or candidates < 1:
            raise InputError(f"keep: found {keep} of {candidates} candidates, expected better or last, of 1 or more.")
        self.image, self.label_x, self.network, self.is_asked = image, label_x, network, keep == "better"
        self.folder, self.model_path, self.source_only = Path(folder), Path(model_path), Path(source_only)
        self.candidates, self.crops, self.size = candidates, crops, size

    def attach(self, engine: Any) -> None:
        """Keep candidates from now on and judge them when `engine` completes; at once where it is complete."""
        engine.add_event_handler(Events.STARTED, self._make_room)
        if not self.is_asked:
            return
        engine.add_event_handler(Events.ITERATION_COMPLETED(event_filter=self._is_due), self._keep)
        engine.add_event_handler(Events.COMPLETED, self)
        if getattr(engine, "complete", False):
            if _stage_end(engine) < engine.state.iteration and not self._path(engine).exists():
                self._keep(engine)  # it was trained without this handler
            self(engine)

    def __call__(self, engine: Any) -> None:
        """Judge what there is, and put the best in the model's place."""
        if not getattr(engine, "stopped", False):
            if engine.state.rank == 0:
                self._decide(engine)
            of_first(None)  # the others wait: torchrun ends all as soon as one has failed

    def _make_room(self, engine: Any) -> None:
        """Remove what an earlier training left, and what this one is about to do once more."""
        if engine.state.rank == 0:
            own = self._kept(engine.state.iteration)
            others = [path for path in self._kept() if path not in own]
            for path in [*others, self.folder / "judge.csv", self.folder / "judge.json"]:
                path.unlink(missing_ok=True)

    def _is_due(self, engine: Any, iteration: int) -> bool:
        first, last = _stage_end(engine), last_iteration(engine)
        steps = range(1, self.candidates + 1)
        return iteration > first and iteration in {first + (last - first) * k // self.candidates for k in steps}

    def _keep(self, engine: Any) -> None:
        if (look := getattr(engine, "look_at_all", None)) is not None:
            look()  # what is no number is not to reach the disk
        if engine.state.rank == 0:
            names = getattr(getattr(engine, "representation", None), "names", ())
            state = noted_state(bare(self.network), names, plan_at(engine))
            save_atomically(state, self._path(engine))

    def _path(self, engine: Any) -> Path:
        return self.folder / f"candidate_{engine.state.iteration:07d}.pt"

    def _kept(self, until: float = math.inf) -> list[Path]:
        """Files of candidates up to an iteration, the oldest first."""
        found = sorted(path for path in self.folder.glob("candidate_*.pt") if _iteration(path).isdecimal())
        return [path for path in found if int(_iteration(path)) <= until]

    def _decide(self, engine: Any) -> None:
        files = self._files(engine)
        if len(files) < 2:
            logger.info("keep better: there is nothing to choose among, model.pt holds the newest weights.")
            return
        logger.info(
            "judging %d candidates on Y, without labels. If this is interrupted, the same command with --resume auto "
            "judges again; until then %s holds the newest weights.",
            len(files),
            self.model_path.name,
        )
        judgements, choice = self._judged(files)
        self._replace(list(files.values())[choice.number])
        logger.info("%s now holds %s: %s", self.model_path, judgements[choice.number].name, choice.reason)

    def _files(self, engine: Any) -> dict[str, Path]:
        """Candidates by name; the first is what to fall back to."""
        kept = {f"iteration {int(_iteration(path))}": path for path in self._kept(engine.state.iteration)}
        if self.source_only.is_file() and _stage_end(engine) > 0 and _is_of(engine, self.source_only):
            return {_SOURCE_ONLY: self.source_only, **kept}
        return dict(reversed(kept.items()))

    def _judged(self, files: dict[str, Path]) -> tuple[list[Judgement], Choice]:
        first = predictor_of(next(iter(files.values())))  # all see a volume at one scale
        volumes = [volume_crops(name, self.size, self.crops, [first]) for name in list_volumes(self.image)]
        expected = labelled_solidity(self.label_x or ())
        judgements, seconds = list[Judgement](), list[float]()
        for name, path in files.items():
            start = time.monotonic()
            judgements.append(judge_model(predictor_of(path), volumes, name, expected))
            seconds.append(time.monotonic() - start)
            logger.info("%s", line_of(judgements[-1]))
        choice = choose(judgements)
        rows = [_row(one, number == choice.number) for number, one in enumerate(judgements)]
        timed = [{**row, "seconds": round(spent, 1)} for row, spent in zip(rows, seconds, strict=True)]
        write_table(self.folder / "judge.csv", timed)
        write_text(self.folder / "judge.json", json.dumps(facts(volumes, judgements, choice), indent=1) + "\n")
        return judgements, choice

    def _replace(self, chosen: Path) -> None:
        remove_of_killed(self.model_path)
        with replacing(self.model_path, durable=True) as temporary:
            shutil.copyfile(chosen, temporary)


def _iteration(path: Path) -> str:
    return path.stem.rpartition("_")[2]


def _stage_end(engine: Any) -> int:
    return int(getattr(engine, "stage_end", 0))


def _is_of(engine: Any, path: Path) -> bool:
    """Whether a trainer of this method wrote weights: a file of an earlier training may have stayed."""
    plan, own = read_plan(path), plan_at(engine)
    return plan is None or own is None or plan.trained_on.get("method") == own.trained_on["method"]


def _row(one: Judgement, is_chosen: bool) -> dict[str, Any]:
    """A line of judge.csv."""
    found = one.facts()
    flat = {**found.pop("score"), **found.pop("f1"), "vetoes": "; ".join(found.pop("vetoes"))}
    return {
        "name": found.pop("name"),
        "chosen": "yes" if is_chosen else "",
        "score": flat.pop("value"),
        **found,
        **flat,
    }
