"""Whole files: what a command writes for its user, of which a full disk or an interrupt leaves no part."""

import contextlib
import errno
import os
import secrets
from collections.abc import Mapping
from pathlib import Path


def write_files(texts: Mapping[Path, str], *, mode: int | None = None, make_folders: bool = False) -> None:
    """Write all of these files in UTF-8, or none: a reader sees an old text or the whole new one.

    `mode`: of the files, whatever the umask. `make_folders`: make their folders, and remove them again if a file cannot
    be written. Raises OSError with the file that cannot be written as `filename`.
    """
    made = list[Path]()
    drafts = dict[Path, Path]()
    file = Path()
    try:
        for file, text in texts.items():
            made += _make_folder(file.parent) if make_folders else []
            if file.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            drafts[file] = draft = file.with_name(f".{secrets.token_hex(8)}.draft")
            made.append(draft)
            draft.touch()
            if mode is not None:
                draft.chmod(mode)  # before anything that others may not read is in it
            draft.write_text(text, encoding="utf-8")
        for file, draft in drafts.items():
            made += [] if file.exists() else [file]
            _put(draft, file)
    except BaseException as error:
        for path in reversed(made):
            with contextlib.suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()
        if isinstance(error, OSError):
            error.filename = str(file)
        raise


def _put(draft: Path, file: Path) -> None:
    if file.is_symlink() or (file.exists() and not file.is_file()):  # /dev/stdout: it stays what it is
        file.write_bytes(draft.read_bytes())
        draft.unlink()
    else:
        draft.replace(file)


def _make_folder(folder: Path) -> list[Path]:
    """Make a folder; returns what was made, the outermost first."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing[::-1]
