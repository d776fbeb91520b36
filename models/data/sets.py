"""The labelled sets: what they are, under which licence, and how their files are read.

A set trains weights that are given away only if its licence allows commercial use. The others
evaluate; they train nothing unless somebody asks for it (`--all-licences`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from models.data.table import Channel, Task

Entities = Literal["none", "cashtags", "required", "optional"]
"""How a set names what a label is about: not at all; by cashtags in the text; by a name that the
text must hold; by a name that the text may hold."""


@dataclass(frozen=True, slots=True)
class SetInfo:
    """One labelled set; its file is `<name>.jsonl.gz`."""

    name: str
    title: str
    attribution: str
    about: str
    """what its labels say"""
    licence: str
    permissive: bool
    channel: Channel
    task: Task
    entities: Entities
    own_split: bool = False
    """whether `split` of its records is the authors' train and valid"""
    lang: str = "en"
    channels: Mapping[str, Channel] = field(default_factory=dict)
    """channel of the records with this `source`, where a set has both"""

    @property
    def file(self) -> str:
        """Name of the set's file."""
        return f"{self.name}.jsonl.gz"


NO_LICENCE: Final = "none stated"

_ALL = (
    SetInfo(
        name="en_sentiment_twitter",
        title="Twitter Financial News Sentiment",
        attribution="zeroshot/twitter-financial-news-sentiment",
        about="sentiment of news-style tweets",
        licence="MIT",
        permissive=True,
        channel="social",
        task="sentiment",
        entities="cashtags",
        own_split=True,
    ),
    SetInfo(
        name="en_topic_twitter",
        title="Twitter Financial News Topic",
        attribution="zeroshot/twitter-financial-news-topic",
        about="topic of news-style tweets",
        licence="MIT",
        permissive=True,
        channel="social",
        task="topic",
        entities="cashtags",
        own_split=True,
    ),
    SetInfo(
        name="en_entity_sentfin",
        title="SEntFiN 1.1",
        attribution="Sinha, Kedas, Kumar, Malo: SEntFiN 1.0: Entity-aware sentiment analysis for "
        "financial news. JASIST 73(9), 2022; github.com/pyRis/SEntFiN",
        about="sentiment about each company of a headline",
        licence="MIT",
        permissive=True,
        channel="news",
        task="sentiment",
        entities="required",
    ),
    SetInfo(
        name="en_entity_finentity",
        title="FinEntity",
        attribution="contains information from FinEntity (Tang, Yang, Huang, Tam, Tang, EMNLP "
        "2023; github.com/yixuantt/FinEntity), which is made available under the ODC Attribution "
        "License (ODC-BY 1.0)",
        about="sentiment about each company of a news paragraph",
        licence="ODC-BY 1.0",
        permissive=True,
        channel="news",
        task="sentiment",
        entities="required",
    ),
    SetInfo(
        name="en_sentiment_phrasebank",
        title="Financial PhraseBank 1.0",
        attribution="Malo, Sinha, Korhonen, Wallenius, Takala: Good debt or bad debt: Detecting "
        "semantic orientations in economic texts. JASIST 65(4), 2014",
        about="sentiment of news sentences",
        licence="CC BY-NC-SA 3.0",
        permissive=False,
        channel="news",
        task="sentiment",
        entities="none",
    ),
    SetInfo(
        name="en_sentiment_semeval",
        title="SemEval-2017 Task 5",
        attribution="Cortis et al.: SemEval-2017 Task 5: Fine-Grained Sentiment Analysis on "
        "Financial Microblogs and News. SemEval 2017",
        about="sentiment about a company in headlines and parts of microblogs",
        licence=NO_LICENCE,
        permissive=False,
        channel="news",
        task="sentiment",
        entities="optional",
        channels={"semeval2017-task5-microblog": "social"},
    ),
    SetInfo(
        name="en_sentiment_stocktweets_noisy",
        title="Stock-Market Sentiment Dataset",
        attribution="yash612 on Kaggle; how it was labelled is not known",
        about="sentiment of tweets, two classes, low trust",
        licence=NO_LICENCE,
        permissive=False,
        channel="social",
        task="sentiment",
        entities="none",
    ),
    SetInfo(
        name="zh_sentiment_finfe",
        title="FinFE of BBT-FinCUGE",
        attribution="Lu et al.: BBT-Fin: Comprehensive Construction of Chinese Financial Domain "
        "Pre-trained Language Model, Corpus and Benchmark. arXiv:2302.09432",
        about="sentiment of forum posts",
        licence=NO_LICENCE,
        permissive=False,
        channel="social",
        task="sentiment",
        entities="none",
        lang="zh",
    ),
    SetInfo(
        name="zh_entity_cfsc",
        title="CFSC-ABSA",
        attribution="github.com/Ya-dongLi/CFSC",
        about="sentiment about each aspect term of a news text",
        licence=NO_LICENCE,
        permissive=False,
        channel="news",
        task="sentiment",
        entities="required",
        lang="zh",
    ),
    SetInfo(
        name="zh_sentiment_windnews",
        title="Wind titles on Xueqiu",
        attribution="github.com/wwwxmu/Dataset-of-financial-news-sentiment-classification",
        about="good or bad news about a company, sorted by the publisher",
        licence=NO_LICENCE,
        permissive=False,
        channel="news",
        task="sentiment",
        entities="optional",
        lang="zh",
    ),
)

SETS: Final[Mapping[str, SetInfo]] = {one.name: one for one in _ALL}
"""Every set that can be prepared, by name."""

CONTRAST: Final = SetInfo(
    name="contrast",
    title="Contrast pairs",
    attribution="written for Tickertone: models/data/contrast.toml",
    about="sentiment about each company of a text that judges several",
    licence="Apache-2.0",
    permissive=True,
    channel="news",
    task="sentiment",
    entities="required",
    own_split=True,
)
"""The pairs made by `models.data.contrast`; they have no file of their own."""

STATEMENTS: Final = SetInfo(
    name="statements",
    title="Statements of companies",
    attribution="written for Tickertone: models/data/statements.toml",
    about="sentiment of sentences of reports and company news",
    licence="Apache-2.0",
    permissive=True,
    channel="news",
    task="sentiment",
    entities="optional",
    own_split=True,
)
"""The sentences made by `models.data.statements`."""

WRITTEN: Final[Mapping[str, SetInfo]] = {one.name: one for one in (CONTRAST, STATEMENTS)}
"""Sets made from templates of ours: they have no file, and no final figure counts them."""
