"""Only texts that are surely not English are filtered."""

import pytest

from streams.core.language import ENGLISH, Language, language


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("Deutsche Bank cuts jobs after the merger talks with Commerzbank", None),
        ("Deutsche Bank Commerzbank merger talk", None),
        ("$AAPL $GOOG $FB lol", "und"),
        ("bullish af on $NVDA", "in"),
        ("Shares of the company rise", "tl"),
        ("", None),
        ("12.4% $5 +3", None),
        ("𝕬𝖕𝖕𝖑𝖊 ᴀᴘᴘʟᴇ sʜᴀʀᴇs", None),
        ("Alibaba (阿里巴巴) beats estimates", "en"),
    ],
)
def test_english_short_and_doubtful_texts_are_scored(text: str, hint: str | None) -> None:
    assert language(text, hint).scorable


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("贵州茅台股价上涨,创历史新高", "zh"),
        ("時価総額が上がりました", "ja"),
        ("삼성전자 주가 상승", "ko"),
        ("Акции Газпрома упали", "ru"),
        ("ارتفاع اسهم ارامكو", "ar"),
        ("四方精创股东Systex Solutions减持1%股份", "zh"),
    ],
)
def test_another_script_is_filtered_however_short(text: str, code: str) -> None:
    assert language(text, "en") == Language(code, False)


def test_a_script_without_a_language_of_its_own_is_filtered_as_unknown() -> None:
    assert language("ႠႡႢႣ ႤႥႦ") == Language("und", False)


SPANISH = "los mercados caen hoy por la inflación y el miedo a una recesión en estados unidos"


def test_a_confident_detection_on_a_long_text_filters_it() -> None:
    assert language(SPANISH) == Language("es", False)
    assert language(SPANISH, "es-MX") == Language("es", False)


def test_a_hint_of_english_is_believed() -> None:
    assert language(SPANISH, "en_GB") is ENGLISH


def test_a_short_text_is_never_judged_by_detection() -> None:
    assert language("los mercados caen hoy") == Language(None, True)


def test_the_detector_may_find_english() -> None:
    assert language("quarterly revenue beats analyst estimates amid strong cloud demand") is ENGLISH


def test_a_doubtful_detection_filters_nothing() -> None:
    assert language("xq zzv kkw qqp mmn vvb ttr wws").scorable


def test_amounts_of_dollars_and_names_are_not_words() -> None:
    assert language("@user $AAPL #bourse 12.5 http://x.y/z 3Q14 $MSFT q4 p/e 7x 9y 10z").scorable
