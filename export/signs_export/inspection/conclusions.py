"""What an inspection has found, in sentences."""

from dataclasses import asdict

from signs_export.inspection.ranking import Stage, Tried
from signs_export.inspection.search import Inspection


def conclusions(found: Inspection) -> list[str]:
    """What was found, in sentences."""
    best = " ".join(found.options)
    sentences = []
    if not found.beats_chance:
        sentences.append(
            f"Whatever is tried, the model gets no more right than chance explains: {found.right} with {best}. Does it "
            "know these labels? Are the pictures of the kind that it was trained on?"
        )
    elif found.is_sure:
        sentences.append(f"The model was trained with {best}: {found.right} are right so.")
    elif not found.stages[0].rivals:
        sentences.append(f"Every scaling gives the same answers, of which {found.right} are right.")
    else:
        rivals = "; ".join(" ".join(each.setting.options(found.began)) for each in found.stages[0].rivals[:4])
        sentences.append(
            f"{best} is likeliest ({found.right} are right), and these pictures cannot tell it from: {rivals}."
        )
    for stage in found.stages[1:]:
        if stage.rivals:
            others = ", ".join(_differing(each, stage) for each in stage.rivals[:6])
            sentences.append(f"These pictures cannot tell the {stage.name} from {others}.")
    if found.other_order is not None:
        shown = ", ".join(found.other_order[:12]) + (", ..." if len(found.labels) > 12 else "")
        sentences.append(
            f"The labels are in another order than the outputs: as they are, {found.order.own} are right, and "
            f"{found.order.other} in the order {shown} (p {found.order.p_value:.1g})."
        )
    return sentences


def _differing(tried: Tried, stage: Stage) -> str:
    """What sets it apart from the best of its stage."""
    theirs, best = asdict(tried.setting.reading), asdict(stage.tried[0].setting.reading)
    return " ".join(str(value) for name, value in theirs.items() if value != best[name])
