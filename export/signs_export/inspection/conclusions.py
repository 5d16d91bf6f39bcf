"""Writes what an inspection found, in sentences."""

from dataclasses import asdict

from signs_export.inspection.ranking import Stage, Tried
from signs_export.inspection.search import Inspection


def conclusions(found: Inspection) -> list[str]:
    """Write what was found, one sentence an item."""
    best = " ".join(found.options)
    sentences = []
    if not found.beats_chance:
        sentences.append(
            f"With every setting, the model gets no more right than chance explains. The best was {best}: "
            f"{found.right} right. Was the model trained on these labels, and on pictures like these?"
        )
    elif found.is_sure:
        sentences.append(f"The model was trained with {best}: {found.right} are right.")
    elif not found.stages[0].rivals:
        sentences.append(f"Every scaling gives the same answers: {found.right} are right.")
    else:
        rivals = "; ".join(" ".join(each.setting.options(found.began)) for each in found.stages[0].rivals[:4])
        sentences.append(
            f"{best} is most likely ({found.right} are right), but these pictures cannot distinguish it from: {rivals}."
        )
    for stage in found.stages[1:]:
        if stage.rivals:
            others = ", ".join(_differing(each, stage) for each in stage.rivals[:6])
            sentences.append(f"These pictures cannot distinguish the {stage.name} from {others}.")
    if found.other_order is not None:
        shown = ", ".join(found.other_order[:12]) + (", ..." if len(found.labels) > 12 else "")
        sentences.append(
            f"The labels are not in the order of the model's outputs: {found.order.own} are right now, and "
            f"{found.order.other} in the order {shown} (p {found.order.p_value:.1g})."
        )
    return sentences


def _differing(tried: Tried, stage: Stage) -> str:
    """The values in which it differs from the best of its stage."""
    theirs, best = asdict(tried.setting.reading), asdict(stage.tried[0].setting.reading)
    return " ".join(str(value) for name, value in theirs.items() if value != best[name])
