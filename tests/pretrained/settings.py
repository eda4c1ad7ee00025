"""Network directories whose settings do not fit."""

import json


def change(**changes):
    """Returns a function that changes settings in the network.json of a directory; None removes one."""

    def edit(folder):
        values = json.loads((folder / "network.json").read_text()) | changes
        (folder / "network.json").write_text(json.dumps({k: v for k, v in values.items() if v is not None}))

    return edit
