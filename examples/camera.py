"""Labels what a camera sees, with OpenCV (`pip install opencv-python`).

    python camera.py BUNDLE [CAMERA]      CAMERA is its number, by default 0, or a video file

A line is printed when the label changes, and the frames a second at the end.
"""

import sys
import time
from collections.abc import Iterator

import cv2

from signs_runtime import Classifier


def frames(camera: cv2.VideoCapture) -> Iterator[cv2.typing.MatLike]:
    """The camera's pictures, blue first, until it has no more."""
    while True:
        there, frame = camera.read()
        if not there:
            return
        yield frame


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    bundle, source = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "0"
    classifier = Classifier(bundle, verify=True)  # proves the bundle, once on each device
    print(f"{classifier.placement.variant} on {classifier.placement.device}", file=sys.stderr)
    camera = cv2.VideoCapture(int(source) if source.isdecimal() else source)
    if not camera.isOpened():
        sys.exit(f"No camera or video at {source}.")
    shown, count, start = "", 0, time.perf_counter()
    for outcome in classifier.stream(frames(camera), channels="BGR", batch=1):
        count += 1
        if outcome.error is not None:
            print(outcome.error, file=sys.stderr)
        elif outcome.prediction.label != shown:
            shown = outcome.prediction.label
            print(f"{shown}  {outcome.prediction.probability:.2f}", flush=True)
    print(f"{count / (time.perf_counter() - start):.1f} frames a second", file=sys.stderr)


if __name__ == "__main__":
    main()
