"""Command line: ``python -m scripts.export --model model.pt --out model.onnx``, weights to a file for others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monai.bundle import ConfigParser
from scripts.check.model import modelled
from scripts.check.overlay import overlay_files
from scripts.check.problem import refuse
from scripts.check.run import check_folder
from scripts.check.source import read_source, shipped
from scripts.checkpoint import load_weights
from scripts.command.bundle import BUNDLE
from scripts.command.start import start
from scripts.errors import InputError
from scripts.export.file import write_export, writer_of
from scripts.export.note import Note, note_of
from scripts.export.package import SUFFIX, check_specification, write_package
from scripts.plan import METADATA, Plan
from scripts.plan.export import EXPORTS

__all__ = ["main", "planned"]


def main(out: str, model: str | None = None, config: str | Sequence[str] = ()) -> None:
    """Write the network that predicts the maps, the translated image left out: TorchScript, ONNX, or for bioimage.io.

    Network, maps and how a volume is prepared come from the plan that the weights carry, and the file carries this
    plan on. Input (B, 1, Z, Y, X) of any size, in [-1, 1]; output the logits of the maps, (B, M, Z, Y, X). It is
    compared with the network at three sizes, and kept where no map differs by more than 0.0001. Memory: what the
    network takes for a window. A package for bioimage.io takes grey values in [0, 1] and gives the maps. Its README.md
    says the rest.

    Args:
        out: file to write, .onnx, .ts or .bioimageio.zip; one that is there is replaced.
        model: weights, by default models/model.pt of this bundle.
        config: overlays on inference.yaml, with commas between them. Weights with a plan need none. Those without one
            need the overlays that they were trained with, such as configs/published.yaml.

    Raises:
        InputError: a package, file or network is not as expected, an overlay contradicts the plan, or the file differs
            from the network.
    """
    is_package = str(out).endswith(SUFFIX)
    (check_specification if is_package else writer_of)(out)
    check_folder(Path(out).parent)
    weights = model or str(BUNDLE / "models" / "model.pt")
    parser, note = planned(weights, config)
    network = parser.get_parsed_content("network_def")
    load_weights(network, weights, note.map_names)
    for size, difference in (write_package if is_package else write_export)(network, out, note):
        print(f"{'x'.join(map(str, size))}: differs from PyTorch by {difference:.1e}")
    print(f"wrote {out}: {', '.join(note.channel_names)}")


def planned(weights: str, config: str | Sequence[str]) -> tuple[ConfigParser, Note]:
    """Return the configuration of some weights, their plan within, and what an export says of itself.

    Raises:
        InputError: see `main`.
    """
    if weights.lower().endswith(EXPORTS):
        raise InputError(f"--model {weights}: found an exported network, expected weights, such as models/model.pt.")
    sources = [shipped("inference"), *map(read_source, overlay_files(config, "inference"))]
    found = modelled(sources, {"bundle_root": str(BUNDLE), "model_path": weights})
    refuse([*found.merged.problems, *found.problems])
    parser = ConfigParser({**found.merged.config, **found.settings})
    text = found.settings.get(METADATA)
    plan = None if text is None else Plan.from_text(text, weights)
    if plan is not None and plan.voxel_size is not None and parser["training_voxel_size"] is None:
        plan = plan.with_keys({"training_voxel_size": None})  # an overlay has a scale, which is for every volume
    return parser, note_of(parser, plan)


if __name__ == "__main__":
    start(main)
