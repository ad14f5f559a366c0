"""What the recipes train on: pairs, crops of them, clips, and pools without pairs."""
