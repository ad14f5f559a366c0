"""Generic clips: a folder a clip, frames by the last number in their names, the first one clear."""

from __future__ import annotations

from pathlib import Path

from trainer.datasets.item import Found, Item, folders, last_number, ordered, pictures


class ClipFolders:
    """Reads the layout."""

    name = "clips"
    about = "<clip>/*.png by number, the first frame clear"

    def recognise(self, folder: Path) -> Path | None:
        return folder if any(_clip(p) for p in folders(folder)) else None

    def read(self, root: Path) -> Found:
        found = Found(self.name, root, assumed=True)
        found.notes.append("the first frame of each folder is taken for its clear one")
        # plain order, not natural: training numbers its samples by it
        for clip in sorted(folders(root)):
            frames = [path for _, path in ordered(found, clip, last_number)]
            if len(frames) < 2:
                found.wrong(clip, f"holds {len(frames)} frames: a clear and a smoky one at least")
                continue
            for position, path in enumerate(frames[1:], start=1):
                found.items.append(
                    Item(
                        name=f"{clip.name}/{path.name}",
                        scene=clip.name,
                        degraded=path,
                        clear=frames[0],
                        position=position,
                    )
                )
        return found


def _clip(folder: Path) -> bool:
    return sum(last_number(p.stem) is not None for p in pictures(folder)) > 1
