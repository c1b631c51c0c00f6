"""A process of its own that changes a model store, for tests of what two processes do to one.

`python store_child.py HOME create NAME BASE [hold]` creates a model of one file. With `hold` it
stops after the first mebibyte: it prints "copying" and goes on when it reads a line.
`python store_child.py HOME limit NAME BASE BYTES` creates while no file may grow past BYTES.
`python store_child.py HOME remove NAME` removes a model.
It prints "done" at the end, or the error.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from modelfiles.errors import ModelfilesError
from modelfiles.model import Model
from modelfiles.store.blobs import CopyProgress
from modelfiles.store.created import ModelStore
from modelfiles.store.packaged import PackagedModels


def main(home: str, action: str, name: str, *rest: str) -> None:
    store = ModelStore(Path(home), PackagedModels({}))
    n_seen = 0

    def hold(progress: CopyProgress) -> None:
        nonlocal n_seen
        n_seen += 1
        if n_seen == 1 and rest[1:] == ("hold",):
            print("copying", flush=True)
            sys.stdin.readline()

    try:
        if action == "remove":
            store.remove(name)
        else:
            if action == "limit":
                limit = int(rest[1])
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            store.create(name, Model(name="", base=Path(rest[0])), hold)
    except ModelfilesError as error:
        print(error, flush=True)
    else:
        print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
