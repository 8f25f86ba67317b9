"""The network as one file for others, TorchScript or ONNX: the maps alone, without the translated image."""

from scripts.export.file import write_export
from scripts.export.network import ExportedNetwork
from scripts.export.note import Note

__all__ = ["ExportedNetwork", "Note", "write_export"]
