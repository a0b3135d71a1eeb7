"""What a call costs and how much a model reads, by the price list that ships with genai-prices."""

from __future__ import annotations

import genai_prices
from genai_prices.data_snapshot import get_snapshot

from models import catalogue
from workers.clients.llm.base import Usage

FREE = frozenset({"local", "scripted"})


def cost_usd(provider: str, model: str, usage: Usage) -> float | None:
    """None if the price is not known."""
    if provider in FREE:
        return 0.0
    info = catalogue.find(provider)
    if info is None or not info.prices:
        return None
    try:
        price = genai_prices.calc_price(_counted(usage), model, provider_id=info.prices)
    except LookupError:  # neither the provider nor the model is in the list
        return None
    return float(price.total_price)


def context_window(provider: str, model: str) -> int | None:
    """Tokens that the model reads and writes at once, None if that is not known."""
    info = catalogue.find(provider)
    if info is None or not info.prices:
        return None
    try:
        return get_snapshot().find_provider_model(model, None, info.prices, None)[1].context_window
    except LookupError:
        return None


def _counted(usage: Usage) -> genai_prices.Usage:
    return genai_prices.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
    )
