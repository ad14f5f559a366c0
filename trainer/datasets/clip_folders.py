"""Generic clips: a folder a clip, frames by the last number in their names, the first one clear."""

from __future__ import annotations

from pathlib import Path

from trainer.datasets.item import Found, Item, folders, last_number, led, pictures


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
            frames = led(found, clip, last_number)
            if frames is None:
                continue
            clear, smoky = frames
            for position, path in smoky:
                found.items.append(
                    Item(
                        name=f"{clip.name}/{path.name}",
                        scene=clip.name,
                        degraded=path,
                        clear=clear,
                        position=position,
                    )
                )
        return found


def _clip(folder: Path) -> bool:
    return sum(last_number(p.stem) is not None for p in pictures(folder)) > 1
