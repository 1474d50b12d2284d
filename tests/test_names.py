"""Specifications are read as people write them, and wrong names suggest the right ones."""

from collections.abc import Sequence

import pytest

from hush.errors import MissingExtra, UsageError, need
from hush.names import Call, Range, check_options, find, parse_call, parse_chain, parse_sum


def test_options_are_literals_ranges_and_words():
    call = parse_call("part(a=25, b=0..75, c=[48, 96], d=1e-3, e=true, f=none, g='x, y', h=-1.5..2e1, i=word)")
    assert call.name == "part"
    assert call.options == {
        "a": 25, "b": Range(0, 75), "c": [48, 96], "d": 1e-3, "e": True, "f": None, "g": "x, y",
        "h": Range(-1.5, 20), "i": "word",
    }  # fmt: skip


def test_paths_are_no_ranges():
    assert parse_call("pairs(noisy=../a, clean=a/../b)").options == {"noisy": "../a", "clean": "a/../b"}


@pytest.mark.parametrize("text", ["gaussian", "gaussian(sigma=25)", "gaussian(sigma=0..75)", "a.b:c(x=[1, 2], y='z')"])
def test_what_is_written_reads_back(text):
    assert str(parse_call(text)) == text
    assert parse_call(str(parse_call(text))) == parse_call(text)


def test_chains_and_sums():
    assert parse_chain("gaussian(sigma=102) + salt_pepper(amount=0.05)") == (
        Call("gaussian", {"sigma": 102}),
        Call("salt_pepper", {"amount": 0.05}),
    )
    assert parse_sum("0.8*l1 + 0.2*ssim(window=11) + mse") == (
        (0.8, Call("l1")), (0.2, Call("ssim", {"window": 11})), (1.0, Call("mse")),
    )  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "a(", "a(b)", "a(b=1, b=2)", "a + ", "a(b=9..1)", "a(b=x..y)", "a(b=[1)", "a b", "two*l1", "a(b={})("]
)
def test_nonsense_is_a_usage_error(text):
    read = parse_sum if "*" in text else parse_chain if "+" in text else parse_call
    with pytest.raises(UsageError):
        read(text)


def test_find_in_table_by_reference_and_nearest():
    table = {"gaussian": len, "lazy": "math:sqrt"}
    assert find(table, "gaussian", "noise") is len
    assert find(table, "lazy", "noise")(9) == 3
    assert find(table, "math:floor", "noise")(2.5) == 2
    with pytest.raises(UsageError, match="did you mean 'gaussian'"):
        find(table, "gausian", "noise")
    with pytest.raises(UsageError, match="no module"):
        find(table, "no_such_module:x", "noise")
    with pytest.raises(UsageError, match="has no 'nothing'"):
        find(table, "math:nothing", "noise")


def test_a_missing_extra_says_what_to_install():
    with pytest.raises(MissingExtra, match=r"pip install 'hush\[search\]'"):
        need("a_module_that_is_not_there", "search")


def loose(*, power: float = 2, padding: int | str = 1, dilation: int | None = 2, free=3, level: float = 1.0) -> None:
    """Options as outsiders write them."""


class Tensor:
    """Stands for torch's."""


def drawn(*, level: float | Tensor = 1.0) -> None:
    """Options that may be drawn for each image."""


def hidden(*, level: "float | torch.Tensor" = 1.0) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Options annotated with a name that only type checkers know."""


class Strict:
    """A part that is a class."""

    def __init__(self, widths: Sequence[int] = (1,), *, flag: bool = False, word: str = "a") -> None: ...


@pytest.mark.parametrize(
    ("part", "text", "word"),
    [
        (loose, "x(power=1.5)", ""),
        (loose, "x(power=2)", ""),
        (loose, "x(padding=same)", ""),
        (loose, "x(dilation=none)", ""),
        (loose, "x(free=word)", ""),
        (loose, "x(dilation=two)", "dilation is 'two'; it must be a whole number"),
        (loose, "x(level=true)", "level is True; it must be a number"),
        (loose, "x(level=0..1)", "level is 0..1; it must be a number"),
        (Strict, "x(widths=[1, 2], flag=true, word=b)", ""),
        (Strict, "x(widths=8)", "widths is 8; it must be a list"),
        (Strict, "x(flag=1)", "flag is 1; it must be true or false"),
        (Strict, "x(word=3)", "word is 3; it must be text"),
    ],
)
def test_options_are_of_the_type_that_they_are_annotated_with(part, text, word):
    if not word:
        check_options(part, parse_call(text), "part")
        return
    with pytest.raises(UsageError, match=word):
        check_options(part, parse_call(text), "part")


def test_numbers_that_are_drawn_may_be_ranges():
    check_options(drawn, parse_call("x(level=0..1)"), "noise", ranges=True)
    with pytest.raises(UsageError, match=r"a number or a range such as 0\.\.75"):
        check_options(drawn, parse_call("x(level=word)"), "noise", ranges=True)
    with pytest.raises(UsageError, match=r"must be a number; a range is drawn for options annotated float \| Tensor"):
        check_options(loose, parse_call("x(level=0..1)"), "noise", ranges=True)
    with pytest.raises(UsageError, match=r"free is 0\.\.1; a range is drawn for options annotated float \| Tensor"):
        check_options(loose, parse_call("x(free=0..1)"), "noise", ranges=True)  # it may not know what to do with (N,)
    check_options(hidden, parse_call("x(level=0..1)"), "noise", ranges=True)
