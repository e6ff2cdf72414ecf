"""What stands in for the system's calls while a disk is watched: those of walcore, those of `os`, and `open`.

A call on a path or descriptor below a watched tree may be spoiled first, is then made, and is written down; every other
call is passed on.  What a path means is asked of the system (device and inode of the folder it lies in), so links,
`..`, working directories and directory descriptors need no thought.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import io
import os
import stat as stat_module
import threading
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from walcore.system import Calls, calls
from walcore.testing import pyfile
from walcore.testing.journal import Names, Node, Resize, Sync, Write

if TYPE_CHECKING:
    from collections.abc import Callable

    from walcore.testing.disk import Disk

Key = tuple[int, int]

LOCK: Final = threading.RLock()
"""Held while a change is made and written down, so that the journal's order is the order of the changes."""
REAL: Final[Any] = SimpleNamespace(**vars(os))
"""The calls themselves."""
_disks: list[Disk] = []
_before: list[tuple[Any, str, Any]] = []


def key_of(status: os.stat_result) -> Key:
    """What a file is known by."""
    return status.st_dev, status.st_ino


@dataclass(slots=True)
class Place:
    """What a path names: `node` if it is known, in `folder` if that is one of the tree's.

    `there`: something has the name; `last`: it has no other, so without it its `key` may be given to another file.
    """

    disk: Disk
    folder: Node | None
    name: str
    node: Node | None
    there: bool
    last: bool
    key: Key

    @property
    def path(self) -> str:
        """From the tree's root."""
        if self.folder is None:
            return self.node.path if self.node else self.name
        return f"{self.folder.path}/{self.name}" if self.folder.path else self.name


def place(path: Any, dir_fd: int | None = None) -> Place | None:
    """Where a path leads, None if not below a watched tree."""
    if isinstance(path, int):
        return None
    text = os.fsdecode(path)
    head, name = os.path.split(text.rstrip("/") or "/")
    try:
        parent = key_of(REAL.stat(head or ".", dir_fd=dir_fd))
    except (OSError, ValueError):
        return None
    try:
        status = REAL.stat(text, dir_fd=dir_fd, follow_symlinks=False)
    except (OSError, ValueError):
        status = None
    target = key_of(status) if status else (0, 0)
    for disk in _disks:
        folder = None if name in ("", ".", "..") else disk.nodes.get(parent)
        node = disk.nodes.get(target)
        if folder is not None or node is not None:
            last = status is not None and (status.st_nlink == 1 or stat_module.S_ISDIR(status.st_mode))
            return Place(disk, folder, name, node, status is not None, last, target)
    return None


def tracked(fd: Any) -> tuple[Disk, Node] | None:
    """The file or folder that a descriptor is open on, None if it isn't below a watched tree."""
    for disk in _disks:
        known = disk.descriptors.get(fd) if isinstance(fd, int) else None
        if known is None:
            continue
        if disk.is_off or still(fd, known[0]):
            return disk, known[1]
        del disk.descriptors[fd]  # closed, and given out again, where it couldn't be seen
    return None


def still(fd: int, key: Key) -> bool:
    """Whether a descriptor is open on what it was opened on."""
    try:
        return key_of(REAL.fstat(fd)) == key
    except OSError:
        return False


# -- calls on descriptors ---------------------------------------------------------------------------------------------


def close(fd: int) -> None:
    """See os.close: the descriptor is gone even if an error is reported."""
    found = tracked(fd)
    if found is None:
        REAL.close(fd)
        return
    disk, node = found
    with LOCK:
        disk.descriptors.pop(fd, None)
        REAL.close(fd)
    if not disk.is_off:
        disk.meet("close", node.path)


def write(fd: int, data: Any) -> int:
    """See os.write."""
    found = tracked(fd)
    return _write("write", found, fd, data) if found else REAL.write(fd, data)


def pwrite(fd: int, data: Any, offset: int, *, core: bool = False) -> int:
    """See os.pwrite."""
    found = tracked(fd)
    return _write("pwrite", found, fd, data, offset, core=core) if found else REAL.pwrite(fd, data, offset)


def _write(
    call: str, found: tuple[Disk, Node], fd: int, data: Any, offset: int | None = None, *, core: bool = False
) -> int:
    disk, node = found
    short = disk.meet(call, node.path, core=core)
    view = memoryview(data).cast("B")[:short]
    with LOCK:
        disk.refuse_when_off(node.path)
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        if flags & os.O_APPEND:
            at = REAL.fstat(fd).st_size
        else:
            at = REAL.lseek(fd, 0, os.SEEK_CUR) if offset is None else offset
        done: int = REAL.write(fd, view) if offset is None else REAL.pwrite(fd, view, offset)
        if done:  # one of nothing doesn't even make the file longer
            disk.add(Write(node, at, bytes(view[:done])))
        if flags & os.O_DSYNC:
            disk.add(Sync(node, len(disk.journal), kept=True))
    return done


def sendfile(out_fd: int, in_fd: int, offset: int | None, count: int) -> int:
    """See os.sendfile, which shutil copies by."""
    if tracked(out_fd) is None and tracked(in_fd) is None:
        sent: int = REAL.sendfile(out_fd, in_fd, offset, count)
        return sent
    count = min(count, 1 << 20)
    data = read(in_fd, count) if offset is None else pread(in_fd, count, offset)
    return write(out_fd, data) if data else 0


def ftruncate(fd: int, length: int, *, core: bool = False) -> None:
    """See os.ftruncate."""
    found = tracked(fd)
    if found is None:
        REAL.ftruncate(fd, length)
        return
    disk, node = found
    disk.meet("ftruncate", node.path, core=core)
    with LOCK:
        disk.refuse_when_off(node.path)
        REAL.ftruncate(fd, length)
        disk.add(Resize(node, length))


def fsync(fd: int) -> None:
    """See os.fsync; the real disk isn't waited for, since nothing asks it afterwards."""
    _sync("fsync", fd)


def fdatasync(fd: int, *, core: bool = False) -> None:
    """See os.fdatasync, and fsync."""
    _sync("fdatasync", fd, core=core)


def _sync(call: str, fd: Any, *, core: bool = False) -> None:
    number = fd if isinstance(fd, int) else fd.fileno()
    found = tracked(number)
    if found is None:
        getattr(REAL, call, REAL.fsync)(number)
        return
    disk, node = found
    upto = len(disk.journal)
    try:
        disk.meet(call, node.path, core=core)
    except OSError as error:
        if error.errno != errno.EINTR:
            disk.add(Sync(node, upto, kept=False))
        raise
    disk.refuse_when_off(node.path)
    disk.add(Sync(node, upto, kept=True))


def fchmod(fd: int, mode: int) -> None:
    """See os.fchmod; modes count as on disk at once."""
    found = tracked(fd)
    if found:
        found[0].meet("fchmod", found[1].path)
        found[1].mode = mode
    REAL.fchmod(fd, mode)


def fchown(fd: int, uid: int, gid: int) -> None:
    """See os.fchown; who owns a file isn't modelled."""
    _spoil("fchown", fd)
    REAL.fchown(fd, uid, gid)


def read(fd: int, length: int) -> bytes:
    """See os.read."""
    short = _spoil("read", fd)
    data: bytes = REAL.read(fd, length if short is None else min(short, length))
    return data


def pread(fd: int, length: int, offset: int) -> bytes:
    """See os.pread."""
    short = _spoil("pread", fd)
    data: bytes = REAL.pread(fd, length if short is None else min(short, length), offset)
    return data


def preadv(fd: int, buffers: Any, offset: int, flags: int = 0) -> int:
    """See os.preadv."""
    short = _spoil("preadv", fd)
    rooms = buffers if short is None else [memoryview(buffers[0])[:short]]
    got: int = REAL.preadv(fd, rooms, offset, flags)
    return got


def lseek(fd: int, position: int, whence: int) -> int:
    """See os.lseek."""
    _spoil("lseek", fd)
    at: int = REAL.lseek(fd, position, whence)
    return at


def fstat(fd: int) -> os.stat_result:
    """See os.fstat."""
    _spoil("fstat", fd, answers_when_off=True)
    status: os.stat_result = REAL.fstat(fd)
    return status


def lock_by_fcntl(fd: Any, cmd: int, arg: Any = 0) -> Any:
    """See fcntl.fcntl."""
    _spoil("fcntl", fd, answers_when_off=True)
    return fcntl.fcntl(fd, cmd, arg)


def lockf(fd: Any, cmd: int, *rest: int) -> None:
    """See fcntl.lockf."""
    _spoil("lockf", fd, answers_when_off=True)
    fcntl.lockf(fd, cmd, *rest)


def _spoil(call: str, fd: Any, *, answers_when_off: bool = False) -> int | None:
    found = tracked(fd)
    if found is None or (found[0].is_off and answers_when_off):
        return None
    return found[0].meet(call, found[1].path)


# -- calls on paths ---------------------------------------------------------------------------------------------------


def open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:  # noqa: A001
    """See os.open."""
    at = place(path, dir_fd)
    if at is None:
        fd: int = REAL.open(path, flags, mode, dir_fd=dir_fd)
        return fd
    disk = at.disk
    disk.meet("open", at.path)
    with LOCK:
        disk.refuse_when_off(at.path)
        at = place(path, dir_fd) or at
        fd = REAL.open(path, flags, mode, dir_fd=dir_fd)
        status = REAL.fstat(fd)
        node = disk.nodes.get(key_of(status))
        if at.folder is not None and not at.there:
            node = disk.nodes[key_of(status)] = Node(at.path, status.st_mode & 0o7777, is_folder=False)
            disk.add(Names(at.folder, ((at.name, node),)))
        elif node is not None and flags & os.O_TRUNC:
            disk.add(Resize(node, 0))
        if node is not None:
            disk.descriptors[fd] = (key_of(status), node)
    return fd


def mkdir(path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
    """See os.mkdir."""
    at = _before_change("mkdir", path, dir_fd)
    with LOCK:
        REAL.mkdir(path, mode, dir_fd=dir_fd)
        if at and at.folder:
            status = REAL.stat(path, dir_fd=dir_fd)
            node = at.disk.nodes[key_of(status)] = Node(at.path, status.st_mode & 0o7777, is_folder=True)
            at.disk.add(Names(at.folder, ((at.name, node),)))


def unlink(path: Any, *, dir_fd: int | None = None) -> None:
    """See os.unlink."""
    _remove("unlink", path, dir_fd)


def remove(path: Any, *, dir_fd: int | None = None) -> None:
    """See os.remove."""
    _remove("remove", path, dir_fd)


def rmdir(path: Any, *, dir_fd: int | None = None) -> None:
    """See os.rmdir."""
    _remove("rmdir", path, dir_fd)


def _remove(call: str, path: Any, dir_fd: int | None) -> None:
    at = _before_change(call, path, dir_fd)
    with LOCK:
        at = at and place(path, dir_fd)
        getattr(REAL, call)(path, dir_fd=dir_fd)
        if at and at.folder:
            if at.last:
                at.disk.nodes.pop(at.key, None)
            at.disk.add(Names(at.folder, ((at.name, None),)))


def link(
    src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None, follow_symlinks: bool = True
) -> None:
    """See os.link."""
    source, at = _both("link", src, dst, src_dir_fd, dst_dir_fd)
    with LOCK:
        REAL.link(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, follow_symlinks=follow_symlinks)
        if at and at.folder and source and source.node:
            source.node.path = at.path
            at.disk.add(Names(at.folder, ((at.name, source.node),)))


def rename(src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
    """See os.rename."""
    _rename("rename", src, dst, src_dir_fd, dst_dir_fd)


def replace(src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
    """See os.replace."""
    _rename("replace", src, dst, src_dir_fd, dst_dir_fd)


def _rename(call: str, src: Any, dst: Any, src_dir_fd: int | None, dst_dir_fd: int | None) -> None:
    source, at = _both(call, src, dst, src_dir_fd, dst_dir_fd)
    with LOCK:
        source, at = source and place(src, src_dir_fd), at and place(dst, dst_dir_fd)
        getattr(REAL, call)(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        if source and at and source.folder and at.folder and source.node and source.node is not at.node:
            if at.last:
                at.disk.nodes.pop(at.key, None)
            source.node.path = at.path
            gone, come = (source.name, None), (at.name, source.node)
            if source.folder is at.folder:
                at.disk.add(Names(at.folder, (gone, come)))
            else:
                at.disk.add(Names(at.folder, (come,)))
                at.disk.add(Names(source.folder, (gone,)))


def _before_change(call: str, path: Any, dir_fd: int | None) -> Place | None:
    at = place(path, dir_fd)
    if at:
        at.disk.meet(call, at.path)
        at.disk.refuse_when_off(at.path)
    return at


def _both(
    call: str, src: Any, dst: Any, src_dir_fd: int | None, dst_dir_fd: int | None
) -> tuple[Place | None, Place | None]:
    source, at = place(src, src_dir_fd), place(dst, dst_dir_fd)
    if (source and source.disk) is not (at and at.disk):
        raise OSError(errno.EXDEV, "a watched tree is a file system of its own", os.fspath(src), None, os.fspath(dst))
    return source, _before_change(call, dst, dst_dir_fd)


def stat(path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
    """See os.stat."""
    _look("stat", path, dir_fd)
    status: os.stat_result = REAL.stat(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
    return status


def listdir(path: Any = ".") -> list[Any]:
    """See os.listdir."""
    _look("listdir", path)
    names: list[Any] = REAL.listdir(path)
    return names


def scandir(path: Any = ".") -> Any:
    """See os.scandir."""
    _look("scandir", path)
    return REAL.scandir(path)


def _look(call: str, path: Any, dir_fd: int | None = None) -> None:
    if isinstance(path, int):
        _spoil(call, path)
    at = place(path, dir_fd)
    if at and not at.disk.is_off:
        at.disk.meet(call, at.path)


# -- taking the place -------------------------------------------------------------------------------------------------


class _Core:
    """walcore.system.CoreCalls: C's functions don't go on by themselves after EINTR."""

    def pwrite(self, fd: int, data: bytes, offset: int, /) -> int:
        return pwrite(fd, data, offset, core=True)

    def fdatasync(self, fd: int, /) -> None:
        fdatasync(fd, core=True)

    def ftruncate(self, fd: int, size: int, /) -> None:
        ftruncate(fd, size, core=True)

    def allocate(self, fd: int, size: int, /) -> None:
        ftruncate(fd, size, core=True)

    def fstat(self, fd: int, /) -> os.stat_result:
        return fstat(fd)


def _open_file(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
    below = tracked(file) if isinstance(file, int) else place(file)
    return (
        pyfile.open_file(file, mode, *arguments, **options)
        if below
        else pyfile.REAL_OPEN(file, mode, *arguments, **options)
    )


_OF_OS: Final[dict[str, Callable[..., Any]]] = {
    call.__name__: call
    for call in (
        open, close, read, pread, preadv, write, pwrite, ftruncate, lseek, fsync, fdatasync, fchmod, fstat, stat,
        listdir, scandir, fchown, link, rename, replace, unlink, remove, mkdir, rmdir, sendfile,
    )
}  # fmt: skip
_OF_WALCORE: Final = {name: _OF_OS.get(name) for name in vars(Calls())} | {
    "fcntl": lock_by_fcntl,
    "lockf": lockf,
    "core": _Core(),
}
assert all(_OF_WALCORE.values()), _OF_WALCORE


def begin(disk: Disk) -> None:
    """Watch the tree of `disk`."""
    with LOCK:
        if not _disks:
            opens = {"open": _open_file}
            for owner, taken in ((os, _OF_OS), (calls, _OF_WALCORE), (builtins, opens), (io, opens)):
                _before.extend((owner, name, getattr(owner, name)) for name in taken)
                for name, call in taken.items():
                    setattr(owner, name, call)
        _disks.append(disk)


def end(disk: Disk) -> None:
    """Watch it no more."""
    with LOCK:
        _disks.remove(disk)
        if not _disks:
            for owner, name, call in _before:
                setattr(owner, name, call)
            _before.clear()
