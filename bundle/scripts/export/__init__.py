"""The network for others, as TorchScript, ONNX or a package for bioimage.io: the maps, without the translated image."""

from scripts.export.file import write_export
from scripts.export.network import ExportedNetwork
from scripts.export.note import Note
from scripts.export.package import write_package

__all__ = ["ExportedNetwork", "Note", "write_export", "write_package"]
