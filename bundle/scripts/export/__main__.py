"""Command line: ``python -m scripts.export --out models/model.onnx``, weights to a file for others."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.checkpoint import load_weights
from scripts.command import BUNDLE, configuration, overlay_files
from scripts.errors import InputError
from scripts.export.file import check_packages, write_export
from scripts.export.note import note_of
from scripts.preflight import check_folder

__all__ = ["main"]


def main(out: str, model: str | None = None, config: str | Sequence[str] = ()) -> None:
    """Write the network that predicts the maps, the translated image left out, as TorchScript or ONNX.

    Input (B, 1, Z, Y, X) of any size, in [-1, 1]; output the logits of the maps, (B, M, Z, Y, X). The file's metadata
    have, under "cysgan", the names of the maps and how a volume is to be prepared. It is compared with the network at
    three sizes, and kept where no map differs by more than 0.0001. Memory: that of the network at a window.

    Args:
        out: file to write, .onnx or .ts; one that is there is replaced.
        model: weights, by default models/model.pt of this bundle.
        config: overlays on inference.yaml that the weights were trained with, such as configs/published.yaml, with
            commas between them.

    Raises:
        InputError: a package, file or network is not as expected, or the file differs from the network.
    """
    check_packages(out)
    check_folder(Path(out).parent)
    parser = configuration("inference", overlay_files(config, "inference"))
    note, network = note_of(parser), parser.get_parsed_content("network_def")
    load_weights(network, model or BUNDLE / "models" / "model.pt", note.map_names)
    for size, difference in write_export(network, out, note):
        print(f"{'x'.join(map(str, size))}: differs from PyTorch by {difference:.1e}")
    print(f"wrote {out}: {', '.join(note.channel_names)}")


if __name__ == "__main__":
    import fire

    try:
        fire.Fire(main, name="scripts.export")
    except InputError as error:
        sys.exit(f"error: {error}")
