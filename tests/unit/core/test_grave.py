"""Which texts report a grave event, and which only sound like it. All texts are made up."""

import time
from pathlib import Path

import pytest

from streams.core.errors import ConfigurationError
from streams.core.grave import SHIPPED, PhraseBook, grave

BOOK = PhraseBook.load(trial=True)

EXAMPLES = {
    "fraud/charged": "Prosecutors charge Contoso with wire fraud",
    "fraud/charges": "The bribery case costs Contoso its chairman",
    "fraud/guilty": "Contoso admits large bribery",
    "fraud/paid": "Contoso pays millions over its kickbacks",
    "fraud/committed": "Contoso hid a fraud",
    "fraud/over": "Two leave Contoso amid alleged fraud",
    "fraud/ponzi": "Contoso was a Ponzi scheme",
    "default/defaults-on": "Contoso defaults on its bonds",
    "default/missed": "Contoso misses an interest payment",
    "default/technical": "Technical default at Contoso",
    "default/declared": "Ruritania, declared in default",
    "default/unpaid": "Contoso failed to repay its loans",
    "bankruptcy/files": "Contoso files for Chapter 11",
    "bankruptcy/protection": "Contoso seeks bankruptcy protection",
    "bankruptcy/falls-into": "Contoso falls into administration",
    "bankruptcy/goes-bankrupt": "Contoso goes bankrupt",
    "bankruptcy/bankrupt-firm": "Northwind buys the bankrupt toy retailer",
    "bankruptcy/in-bankruptcy": "Contoso sells shops out of bankruptcy",
    "bankruptcy/process": "A bankruptcy judge hears Contoso",
    "bankruptcy/administrators": "Contoso calls in administrators",
    "bankruptcy/firm-collapses": "Holidaymakers stranded as airline collapses",
    "bankruptcy/name-collapses": "Suppliers unpaid after Contoso collapse",
    "bankruptcy/liquidation": "Contoso starts liquidation sales",
    "recall/recalls-number": "Contoso recalls 40,000 cars",
    "recall/recalls-count": "Contoso recalls 40,000 kettles",
    "recall/recalls-product": "Contoso recalls baby powder after tests",
    "recall/product-recalled": "Contoso has its toys recalled",
    "recall/recall-of": "Contoso doubles its safety recalls",
    "recall/recall-of-product": "Agency seeks recall of Contoso cars",
    "recall/orders": "Agency orders Contoso recall",
    "recall/over": "Contoso recalls kettles over fire hazard",
    "data-breach/breach": "Contoso says data breach is contained",
    "data-breach/victims": "Contoso says a million accounts hacked",
    "data-breach/hacked": "Contoso was hacked",
    "data-breach/hackers-did": "Hackers took the files of Contoso",
    "data-breach/attack": "Ransomware cripples Contoso",
    "data-breach/stolen-data": "Thieves leaked Contoso customer records",
    "data-breach/after-hack": "Contoso chief quits after hack",
    "investigation/authority-probes": "SEC investigates Contoso",
    "investigation/authority-opens": "Regulators said on Monday they opened an inquiry at Contoso",
    "investigation/authority-probe": "Contoso falls on an antitrust probe",
    "investigation/settles": "Contoso settles a long running inquiry",
    "investigation/probed-by": "Contoso probed by the watchdog",
    "investigation/under": "Contoso is under investigation",
    "investigation/investigated": "Contoso investigated over wages",
    "investigation/raids": "Contoso headquarters raided",
    "investigation/subpoena": "Contoso received two subpoenas",
    "investigation/charges": "Cartel charges against Contoso",
    "delisting/delisted": "Contoso is delisted",
    "delisting/delists": "Contoso to delist",
    "delisting/delisting": "Contoso gets a delisting notice",
    "profit-warning/profit-warning": "Contoso issues a profit warning",
    "profit-warning/warns-on": "Contoso warns on annual profit",
    "profit-warning/warns-of": "Contoso warns of a weak fourth quarter",
    "profit-warning/cuts": "Contoso cuts its full-year profit forecast",
    "profit-warning/cuts-outlook": "Contoso slashes its outlook",
    "profit-warning/withdraws": "Contoso withdraws its guidance",
    "profit-warning/lower-guidance": "Contoso sinks on weak guidance",
    "accounting/restates": "Contoso restates three years of earnings",
    "accounting/scandal": "Contoso chief leaves in accounting scandal",
    "accounting/false": "Contoso charged with false accounting",
    "accounting/weakness": "Contoso finds a material weakness",
    "accounting/auditor": "Contoso auditors resign",
    "accounting/books": "Contoso has cooked the books",
    "trading-halt/trading": "Trading in Contoso is suspended",
    "trading-halt/halts": "Exchange halts Contoso share trading",
    "trading-halt/shares": "Contoso shares halted",
    "trading-halt/bracketed": "Northwind bids for Contoso (CTSO halted)",
    "trading-halt/halted-tag": "$CTSO halted",
    "trading-halt/shares-of": "Shares of Contoso are now suspended",
    "sanctions/blacklists": "Contoso blacklisted by Ruritania",
    "sanctions/sanctions-company": "Ruritania sanctions two shipping companies",
    "sanctions/breaches": "Contoso admits sanctions violations",
    "sanctions/settles": "Contoso fined for dealings under sanctions",
    "sanctions/export-ban": "Ruritania adds Contoso to its entity list",
    "accident/site-blast": "Refinery fire hits Contoso",
    "accident/spill": "Oil spill costs Contoso its licence",
    "accident/plane": "Contoso plane crash stuns island",
    "accident/fatal": "Contoso closes quarry after fatal explosion",
    "accident/derail": "Train of Contoso derails",
    "accident/kills": "Blast kills five at Contoso",
    "accident/catches": "Contoso phones catch fire",
    "accident/dam": "Contoso dam burst floods valley",
    "credit-downgrade/to-junk": "Contoso cut to junk",
    "credit-downgrade/agency": "Fitch downgrades Contoso",
    "credit-downgrade/by-agency": "Contoso downgraded by Moody's",
    "credit-downgrade/rating": "Contoso has its credit rating cut",
}


def slugs(text: str) -> list[str]:
    return [report.slug for report in BOOK.find(text)]


@pytest.mark.parametrize(("phrase", "text"), EXAMPLES.items(), ids=EXAMPLES)
def test_every_phrase_matches_its_example(phrase: str, text: str) -> None:
    assert phrase in [report.phrase for report in BOOK.find(text)]


def test_every_phrase_has_an_example() -> None:
    assert set(EXAMPLES) == {
        f"{slug}/{name}" for slug, entry in BOOK.file.classes.items() for name in entry.phrases
    }


@pytest.mark.parametrize(
    "text",
    [
        "Contoso denies wire fraud charges",
        "Contoso chairman cleared of fraud charges",
        "Judge dismisses fraud case against Contoso",
        "Fraud charges against Contoso were dismissed",
        "Contoso launches fraud detection software",
        "Contoso did not default on its bonds",
        "Contoso could file for bankruptcy",
        "Contoso escapes bankruptcy filing",
        "Contoso averts bankruptcy filing with a loan",
        "Contoso on the brink of collapse",
        "Contoso bankruptcy filing unlikely",
        "Is Contoso under investigation?",
        "Regulators drop Contoso antitrust probe",
        "Contoso rules out a profit warning",
        "If Contoso cuts its profit forecast, the share falls",
        "We watched Total Recall; no cars recalled, though",
        "I recall that 40,000 cars were sold",
        "Contoso opens the map by default on its phones",
        "Contoso sells anti-fraud charges tracking",
        "Cyber Monday starts a data breach sale at Contoso",
        "Contoso trials an investigational drug under investigation",
        "Analysts lower the Contoso price target",
        "IMF cuts its growth forecast",
        "The Contoso share is on fire after plant visit",
        "",
    ],
)
def test_what_is_denied_supposed_asked_or_something_else_is_no_report(text: str) -> None:
    assert slugs(text) == []


def test_a_denial_reaches_neither_past_a_comma_nor_into_another_clause() -> None:
    assert slugs("Not Northwind, Contoso files for bankruptcy") == ["bankruptcy"]
    assert slugs("Northwind denies all. Contoso files for bankruptcy") == ["bankruptcy"]
    assert slugs("Northwind could rise; Contoso files for bankruptcy") == ["bankruptcy"]


def test_a_question_after_a_colon_leaves_the_report_before_it() -> None:
    assert slugs("Contoso files for bankruptcy: what happens now?") == ["bankruptcy"]


def test_a_full_stop_of_an_abbreviation_ends_no_clause() -> None:
    assert slugs("U.S. Justice Department investigates Contoso") == ["investigation"]
    assert slugs("No fraud charges for Contoso Inc. chief") == []


def test_a_phrase_needs_word_borders() -> None:
    assert slugs("$RECALL 40,000 cars") == slugs("Contosorecalls 40,000 cars") == []


def test_spans_are_those_of_the_phrase_in_the_text() -> None:
    text = "Update – Contoso: CEO quits; Contoso’s toys recalled, SEC investigates"
    assert [(r.slug, text[r.start : r.end]) for r in BOOK.find(text)] == [
        ("recall", "toys recalled"),
        ("investigation", "SEC investigates"),
    ]


def test_a_class_is_reported_once_at_its_first_place() -> None:
    text = "Contoso goes bankrupt. Northwind files for bankruptcy."
    assert [report.phrase for report in BOOK.find(text)] == ["bankruptcy/goes-bankrupt"]


def test_classes_on_trial_are_measured_and_not_reported() -> None:
    on_trial = {slug for slug, entry in BOOK.file.classes.items() if entry.trial}
    assert "default" in on_trial
    assert slugs("Contoso defaults on its bonds") == ["default"]
    assert grave("Contoso defaults on its bonds") == ()
    assert [report.slug for report in grave("Contoso recalls 40,000 cars")] == ["recall"]


@pytest.mark.parametrize(
    "text", ["fraud " * 700, "bribery, " * 440, "x" * 4000, "recalls 1 " * 400]
)
def test_a_hostile_text_takes_milliseconds(text: str) -> None:
    BOOK.find(text)
    start = time.perf_counter()
    BOOK.find(text)
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("reach = 8", "reach = 0", "reach"),
        ("reach = 8", "reach = ", "grave.toml"),
        ('ponzi = "ponzi scheme"', 'ponzi = "ponzi ("', "fraud/ponzi"),
        ('ponzi = "ponzi scheme"', 'ponzi = "{nothing}"', "fraud/ponzi: no words 'nothing'"),
        ("[classes.fraud]", "[classes.Fraud]\n[classes.fraud]", "Fraud"),
    ],
)
def test_a_faulty_file_is_named_with_its_entry(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = tmp_path / "grave.toml"
    source = SHIPPED.read_text(encoding="utf-8")
    assert old in source
    path.write_text(source.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=message):
        PhraseBook.load(path)
    with pytest.raises(ConfigurationError, match="no phrase file"):
        PhraseBook.load(tmp_path / "none.toml")
