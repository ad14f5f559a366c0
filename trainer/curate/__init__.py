"""Raw surgical video to graded pairs; trainer/curate/order.py is the way in."""
