"""The command that serves the bundle by MONAI Label; `__main__.py` starts it.

Example::

    python -m scripts.label_server --studies D --config match.yaml --image_y Y.nii.gz
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.command.bundle import BUNDLE, listed
from scripts.errors import InputError
from scripts.label_server.access import ACCESS, Access, make_access
from scripts.label_server.environment import check_environment, sample_app
from scripts.label_server.folder import MODEL, check_model, merged_configs, other_than_model, write_app
from scripts.label_server.task import SERVED, Served
from scripts.volume_io import list_volumes

__all__ = ["serve"]

NOTE = "Give clients this whole address: its end is the token."
NO_TOKEN = "No token is asked for: every program of this machine may use the server."


def serve(
    studies: str,
    config: str | Sequence[str] = (),
    folder: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    hosts: str | Sequence[str] = (),
    origins: str | Sequence[str] = (),
    **keys: Any,
) -> None:
    """Serve this bundle by MONAI Label, for 3D Slicer and other clients; ends with the server.

    Training from a client needs `--image_y`, the unlabelled volume. The volumes of `studies` that were labelled are
    then its source X.

    Args:
        studies: folder of the volumes, NIfTI or TIFF, to which MONAI Label adds the labels.
        config: overlays, with commas between them: for training from a client, and for inference, which takes its
            values from the plan of models/model.pt. Weights without one need the overlays that they were trained with.
        folder: where the server's own files go; by default outputs/label_server in the bundle.
        host: address to listen at; 0.0.0.0 lets other machines in.
        port: number to listen at.
        token: what the address that clients are given ends in, by default a new one at each start; "off" asks for none,
            on 127.0.0.1 only.
        hosts: further names of this machine that clients use, with commas between.
        origins: web pages that may use the server, such as https://viewer.example.org, with commas between.
        **keys: keys of inference.yaml and train.yaml, such as `--image_y Y.nii.gz` or `--start_from models/model.pt`.

    Raises:
        InputError: MONAI Label, a file, a folder, a key, the weights or the token are not as expected.
    """
    access = make_access(str(host), port, None if token is None else str(token), listed(hosts), listed(origins))
    if not Path(studies).is_dir():
        raise InputError(f"--studies {studies}: no such folder. Expected one with the volumes, NIfTI or TIFF.")
    version, sample = check_environment(), sample_app()
    served = Served([os.path.abspath(path) for path in listed(config)], _absolute(keys))
    configs = merged_configs(served.overlays, served.keys)
    weights = BUNDLE / "models" / "model.pt"
    check_model(configs["inference"], weights)
    app = Path(folder or BUNDLE / "outputs" / "label_server").absolute()
    write_app(app, sample, configs)
    training = f"with {keys['image_y']} as Y" if "image_y" in keys else "not possible without --image_y"
    if "image_y" in keys and (others := other_than_model(configs["train"], weights)):
        training += f"; {', '.join(others)} will differ from {weights.name}, unless --config names its overlays"
    print(f"MONAI Label {version}: {MODEL}, volumes of {studies}, at")
    print(f"{access.address(str(host), port)}\n{NOTE if access.token else NO_TOKEN}\ntraining: {training}", flush=True)
    _start(app, ["--studies", os.path.abspath(studies), "--host", str(host), "--port", str(port)], access, served)


def _absolute(keys: Mapping[str, Any]) -> dict[str, Any]:
    """The keys, files and patterns looked up and made absolute: the server has another working directory."""
    result = dict(keys)
    for name in ("image_y", "label_y"):
        if keys.get(name) is not None:
            result[name] = [os.path.abspath(path) for path in list_volumes(keys[name])]
    if (start := keys.get("start_from")) is not None:
        if not Path(start).is_file():
            raise InputError(f"--start_from {start}: no such file. Expected weights, such as models/model.pt.")
        result["start_from"] = os.path.abspath(start)
    return result


def _start(app: Path, options: Sequence[str], access: Access, served: Served) -> None:
    """Become the server: this process, so that whoever started it can stop it.

    It works in an empty folder, since MONAI Label takes the id of an image for a path where there is one of that name.
    """
    command = [sys.executable, "-m", "monailabel.main", "start_server", "--app", str(app), *options]
    command += ["--uvicorn_app", "scripts.label_server.app:app"]
    for name, value in (("models", MODEL), ("zoo_source", "local"), ("sam2", "false")):
        command += ["--conf", name, value]
    paths = [str(BUNDLE), *filter(None, [os.environ.get("PYTHONPATH")])]
    told = {ACCESS: access.to_text(), SERVED: served.to_text()}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **told}
    environment.setdefault("MONAI_LABEL_SESSION_PATH", str(app / "sessions"))
    (app / "run").mkdir(exist_ok=True)
    os.chdir(app / "run")
    os.execve(sys.executable, command, environment)
