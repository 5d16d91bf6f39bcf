"""Counts how many of a model's nodes each execution provider runs, because onnxruntime may fall back to the CPU."""

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_RECORD = "session.record_ep_graph_assignment_info"

Count = Callable[[Any], dict[str, int] | None]  # of an onnxruntime.InferenceSession


@contextmanager
def recording(onnxruntime: Any, options: Any, *, always: bool) -> Iterator[Count]:  # Any: onnxruntime has no type hints
    """Prepare a session's options for counting its nodes; yields the function that counts, for use in the context.

    onnxruntime before 1.24 does not report them. There, a run is profiled, which takes time, but only if `always`.
    """
    options.add_session_config_entry(_RECORD, "1")
    if hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info") or not always:
        yield count_nodes
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # a failed session leaves its file open
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder, "profile"))
        yield _count_in_a_run


def count_nodes(session: Any) -> dict[str, int] | None:  # Any: onnxruntime.InferenceSession
    """Nodes of the optimised graph by execution provider; None if onnxruntime, before 1.24, does not report them."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return None
    counted: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        counted[part.ep_name] += len(part.get_nodes())
    return dict(counted.most_common())


def _count_in_a_run(session: Any) -> dict[str, int]:  # Any: onnxruntime.InferenceSession
    """Count the nodes in the profile of one picture's run, and end profiling."""
    import numpy as np  # `signs doctor` works without it

    given = session.get_inputs()[0]
    shape = [side if isinstance(side, int) else 1 for side in given.shape]
    session.run(None, {given.name: np.zeros(shape, np.uint8)})
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    ran = {event["name"]: event["args"]["provider"] for event in events if event.get("args", {}).get("provider")}
    return dict(Counter(ran.values()).most_common())
