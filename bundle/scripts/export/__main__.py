"""Command line: ``python -m scripts.export --out models/model.onnx``, weights to a file for others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scripts.check.overlay import configuration, overlay_files
from scripts.check.run import check_folder
from scripts.checkpoint import load_weights
from scripts.command.bundle import BUNDLE
from scripts.command.start import start
from scripts.export.file import write_export, writer_of
from scripts.export.note import note_of
from scripts.export.package import SUFFIX, check_specification, write_package

__all__ = ["main"]


def main(out: str, model: str | None = None, config: str | Sequence[str] = ()) -> None:
    """Write the network that predicts the maps, the translated image left out: TorchScript, ONNX, or for bioimage.io.

    Input (B, 1, Z, Y, X) of any size, in [-1, 1]; output the logits of the maps, (B, M, Z, Y, X). The file's metadata
    have, under "cysgan", the names of the maps and how a volume is to be prepared. It is compared with the network at
    three sizes, and kept where no map differs by more than 0.0001. Memory: that of the network at a window.
    A package for bioimage.io takes grey values in [0, 1] and gives the maps; its README.md says the rest.

    Args:
        out: file to write, .onnx, .ts or .bioimageio.zip; one that is there is replaced.
        model: weights, by default models/model.pt of this bundle.
        config: overlays on inference.yaml that the weights were trained with, such as configs/published.yaml, with
            commas between them.

    Raises:
        InputError: a package, file or network is not as expected, or the file differs from the network.
    """
    is_package = str(out).endswith(SUFFIX)
    (check_specification if is_package else writer_of)(out)
    check_folder(Path(out).parent)
    parser = configuration("inference", overlay_files(config, "inference"))
    note, network = note_of(parser), parser.get_parsed_content("network_def")
    load_weights(network, model or BUNDLE / "models" / "model.pt", note.map_names)
    found = write_package(network, out, note, _trained_on(model)) if is_package else write_export(network, out, note)
    for size, difference in found:
        print(f"{'x'.join(map(str, size))}: differs from PyTorch by {difference:.1e}")
    print(f"wrote {out}: {', '.join(note.channel_names)}")


def _trained_on(model: str | None) -> str:
    if model is None:
        return "Simulated volumes alone, drawn by the bundle's `scripts.example`; no recording of a specimen."
    return f"Not stated: weights of the user, from a file {Path(model).name}."


if __name__ == "__main__":
    start(main)
