"""How errors of other libraries are quoted."""

from signs_builder.errors import MOST_QUOTED, end_of


def test_a_long_error_is_quoted_from_a_whole_word_on() -> None:
    assert end_of("short  and\nsweet") == "short and sweet"
    quoted = end_of("alpha " * 100 + "the end")
    assert quoted.startswith("... alpha alpha")
    assert quoted.endswith("the end")
    assert len(quoted) <= MOST_QUOTED + 4
