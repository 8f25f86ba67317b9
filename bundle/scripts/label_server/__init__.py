"""MONAI Label: the bundle served to 3D Slicer and other clients, see docs/guides/MONAI_LABEL.md.

Order: MONAI Label is looked for (`environment`), the bundle put where it expects one (`folder`), its server started
(`command`) with our answers to bad input (`app`) and the plan of the weights that are asked for (`task`). Each request
first meets the `guard`: who asks (`access`), for what (`route`, `key`), and what it says (`request`, `form`, `rule`).
`transform` and `plan` are what inference.yaml does for it alone.
"""

from scripts.label_server.plan import CheckPland
from scripts.label_server.transform import CheckGeometryd, InstanceResultd

__all__ = ["CheckGeometryd", "CheckPland", "InstanceResultd"]
