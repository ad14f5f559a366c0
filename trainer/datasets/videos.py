"""Folders of raw video: what `surgiclear curate` takes. A folder of videos is one case."""

from __future__ import annotations

from pathlib import Path

from trainer.datasets.item import VIDEOS, Found, Item, hidden


class Videos:
    """Reads the layout: any folder that holds video, however deep."""

    name = "videos"
    about = "video files, at any depth; a folder below the first is one case"

    def recognise(self, folder: Path) -> Path | None:
        return folder if video_files(folder) else None

    def read(self, root: Path) -> Found:
        found = Found(self.name, root)
        for path in video_files(root):
            if path.stat().st_size == 0:
                found.wrong(path, "is empty")
                continue
            name = path.relative_to(root).as_posix()
            found.items.append(Item(name=name, scene=case_of(path, root), video=path))
        return found


def video_files(folder: Path) -> list[Path]:
    """The videos of a folder, at any depth, in the order of their paths."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in VIDEOS and path.is_file() and not hidden(path)
    )


def case_of(path: Path, root: Path) -> str:
    """The first folder below the root, else the file's own stem."""
    parts = path.relative_to(root).parts
    return parts[0] if len(parts) > 1 else path.stem
