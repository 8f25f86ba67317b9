"""Names in HDF5 files, followed through links: soft ones, and external ones into other files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import h5py
from scripts.errors import InputError
from scripts.volume_io.member import checked_member

__all__ = ["Opener", "datasets_below", "looked_up", "opened", "raw_folder"]

Node: TypeAlias = "h5py.Group | h5py.Dataset"
# as many as HDF5 itself follows
MOST_LINKS = 16
# open at once; a process may usually have 1024
MOST_FILES = 256


@dataclass
class Opener:
    """Opens the files that a volume's file names, each once and only when it may be read; closes them all.

    Attributes:
        volume: the file that the user named.
        files: what was opened, or seen to be there, in this order.
    """

    volume: Path
    files: list[Path]
    _opened: dict[Path, h5py.File] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Opener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        self._stack.close()

    @property
    def top(self) -> h5py.File:
        """The volume's own file."""
        if self.volume not in self._opened:
            self._opened[self.volume] = self._stack.enter_context(h5py.File(self.volume, "r"))
        return self._opened[self.volume]

    def find(self, name: str, file: h5py.File | None = None) -> Node | None:
        """Return what is behind a name in a file, by default the volume's own; None where there is nothing.

        Raises:
            InputError: as `follow`.
        """
        try:
            return self.follow((file or self.top)["/"], name)
        except KeyError:
            return None

    def open(self, path: Path, role: str) -> h5py.File:
        """Open a part.

        Raises:
            InputError: it is missing, may not be read, or is no HDF5 file.
        """
        if (opened := self._opened.get(path)) is not None:
            return opened
        checked_member(self.volume, path, role)
        if len(self._opened) == MOST_FILES:
            raise InputError(f"{self.volume}: more than {MOST_FILES} files behind its links; name a dataset.")
        try:
            opened = self._stack.enter_context(h5py.File(path, "r"))
        except OSError as error:
            raise InputError(f"{self.volume}: {role} {path} cannot be read as HDF5: {error}.") from error
        self._opened[path] = opened
        self.files.append(path)
        return opened

    def follow(self, node: h5py.Group, name: str, links: int = 0) -> Node:
        """Return what a name leads to, part by part, before HDF5 opens any other file by itself.

        Raises:
            KeyError: there is nothing of that name.
            InputError: as `open`, or links lead in a circle.
        """
        node = node.file["/"] if name.startswith("/") else node
        parts = [part for part in name.split("/") if part not in ("", ".")]
        for index, part in enumerate(parts):
            link = _link(node, part)
            if link is None:
                raise KeyError(name)
            if isinstance(link, (h5py.SoftLink, h5py.ExternalLink)):
                if links == MOST_LINKS:
                    raise InputError(f"{self.volume}: more than {MOST_LINKS} links, or a circle, behind {name!r}.")
                rest = "/".join([link.path, *parts[index + 1 :]])
                return self.follow(self._behind(node, link), rest, links + 1)
            node = node[part]
        return node

    def _behind(self, node: h5py.Group, link: h5py.SoftLink | h5py.ExternalLink) -> h5py.Group:
        if isinstance(link, h5py.SoftLink):
            return node
        target = looked_up(Path(node.file.filename), link.filename, "HDF5_EXT_PREFIX")
        return self.open(target, f"external link to {link.path} in")["/"]


def datasets_below(opener: Opener, group: h5py.Group) -> tuple[dict[str, h5py.Dataset], list[str]]:
    """Return the datasets of a file by name, those behind links among them, each once; and the links that are broken.

    A dataset behind a link has its link's name; one that has several names has the first.
    """
    found: dict[str, h5py.Dataset] = {}
    broken: list[str] = []
    seen = {_identity(group)}
    waiting: list[tuple[str, h5py.Group]] = [("", group)]
    while waiting:
        prefix, parent = waiting.pop(0)
        for name, node in _children(opener, parent, prefix, broken):
            if (identity := _identity(node)) in seen:
                continue
            seen.add(identity)
            if isinstance(node, h5py.Dataset):
                found[name] = node
            else:
                waiting.append((f"{name}/", node))
    return dict(sorted(found.items())), broken


def looked_up(owner: Path, name: str, variable: str) -> Path:
    """Return the path that HDF5 finds for the name of another file; where it finds none, the one beside `owner`.

    HDF5 tries an absolute name as it is, then its last part as a relative one; relative names below the folders of an
    environment variable, beside the file, in the current folder, and beside the file that `owner` is a link to.
    """
    folder = owner.absolute().parent
    names = [Path(name), Path(Path(name).name)] if os.path.isabs(name) else [Path(name)]
    prefixes = [one.replace("${ORIGIN}", str(folder)) for one in os.environ.get(variable, "").split(":") if one]
    below = [*map(Path, prefixes), folder, Path.cwd(), Path(os.path.realpath(owner)).parent]
    candidates = [names[0]] * (len(names) > 1) + [place / names[-1] for place in below]
    return next((path for path in candidates if path.is_file()), folder / names[0])


def _link(node: Node, name: str) -> object | None:
    try:
        return node.get(name, getlink=True) if isinstance(node, h5py.Group) else None
    except TypeError:  # of a kind that a program has made up for itself
        return None


def opened(opener: Opener, name: str) -> h5py.Dataset:
    """Open a dataset to read its values; raw files that are not found otherwise are looked up beside its file.

    No other handle of it may be open: HDF5 opens it in one way at a time, and h5py reads attributes in the other.
    """
    dataset: h5py.Dataset = opener.find(name)
    if raw_folder(dataset, beside=True) == raw_folder(dataset, beside=False):
        return dataset
    file, own = dataset.file, dataset.name
    del dataset
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    access.set_efile_prefix(b"${ORIGIN}")
    return h5py.Dataset(h5py.h5d.open(file.id, own.encode(), access))


def raw_folder(dataset: h5py.Dataset, beside: bool) -> Path:
    """Return the folder in which the names of a dataset's raw files are looked up.

    That is the one that HDF5 takes, by its environment variable or the current one; or, if `beside`, that of the
    dataset's file where these lack a file.
    """
    own = Path(dataset.file.filename).absolute().parent
    prefix = os.environ.get("HDF5_EXTFILE_PREFIX", "")
    taken = Path(prefix.replace("${ORIGIN}", str(own))) if prefix else Path.cwd()
    are_there = all((taken / os.fsdecode(name)).is_file() for name, *_ in dataset.external or ())
    return own if beside and not prefix and not are_there else taken


def _children(opener: Opener, group: h5py.Group, prefix: str, broken: list[str]) -> Iterator[tuple[str, Node]]:
    links = {name: _link(group, name) for name in group}
    # a name of its own goes before one that a link gives
    for name in sorted(links, key=lambda name: (not isinstance(links[name], h5py.HardLink), name)):
        try:
            node = opener.follow(group, name)
        except (KeyError, InputError) as error:
            found = links[name]
            target = f"{found.filename}, {found.path}" if isinstance(found, h5py.ExternalLink) else str(error)
            broken.append(f"{prefix}{name} (a link to {target})")
            continue
        if isinstance(node, (h5py.Group, h5py.Dataset)):  # not a type that has a name
            yield f"{prefix}{name}", node


def _identity(node: Node) -> tuple[int, int]:
    info = h5py.h5o.get_info(node.id)
    return info.fileno, info.addr
