"""The facts that the demo model learns by heart."""

from __future__ import annotations

WEEKDAYS: tuple[str, ...] = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

MONTHS: tuple[str, ...] = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)

# Keys are country names as they occur in a sentence.
CAPITALS: dict[str, str] = {
    "France": "Paris",
    "Germany": "Berlin",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Portugal": "Lisbon",
    "Austria": "Vienna",
    "Switzerland": "Bern",
    "Belgium": "Brussels",
    "the Netherlands": "Amsterdam",
    "Denmark": "Copenhagen",
    "Norway": "Oslo",
    "Sweden": "Stockholm",
    "Finland": "Helsinki",
    "Iceland": "Reykjavik",
    "Ireland": "Dublin",
    "the United Kingdom": "London",
    "Poland": "Warsaw",
    "Hungary": "Budapest",
    "Romania": "Bucharest",
    "Bulgaria": "Sofia",
    "Greece": "Athens",
    "Turkey": "Ankara",
    "Croatia": "Zagreb",
    "Serbia": "Belgrade",
    "Slovenia": "Ljubljana",
    "Slovakia": "Bratislava",
    "Estonia": "Tallinn",
    "Latvia": "Riga",
    "Lithuania": "Vilnius",
    "Ukraine": "Kyiv",
    "Russia": "Moscow",
    "Egypt": "Cairo",
    "Morocco": "Rabat",
    "Tunisia": "Tunis",
    "Algeria": "Algiers",
    "Kenya": "Nairobi",
    "Ghana": "Accra",
    "Nigeria": "Abuja",
    "Senegal": "Dakar",
    "Uganda": "Kampala",
    "Zambia": "Lusaka",
    "Japan": "Tokyo",
    "China": "Beijing",
    "South Korea": "Seoul",
    "India": "New Delhi",
    "Nepal": "Kathmandu",
    "Thailand": "Bangkok",
    "Vietnam": "Hanoi",
    "Indonesia": "Jakarta",
    "the Philippines": "Manila",
    "Iran": "Tehran",
    "Iraq": "Baghdad",
    "Lebanon": "Beirut",
    "Canada": "Ottawa",
    "the United States": "Washington",
    "Cuba": "Havana",
    "Peru": "Lima",
    "Chile": "Santiago",
    "Colombia": "Bogota",
    "Ecuador": "Quito",
    "Brazil": "Brasilia",
    "Argentina": "Buenos Aires",
    "Uruguay": "Montevideo",
    "Australia": "Canberra",
    "New Zealand": "Wellington",
}

_OPPOSITES = """
    hot cold, big small, tall short, fast slow, old new, happy sad, light dark, hard soft, high low, wet dry,
    full empty, open closed, early late, strong weak, rich poor, clean dirty, thick thin, wide narrow, loud quiet,
    deep shallow, good bad, near far, right wrong, true false, sweet sour, smooth rough, cheap expensive,
    easy difficult, safe dangerous, first last, sharp blunt
"""


def opposites() -> dict[str, str]:
    """Return each adjective's opposite. Each pair is listed in both directions, and each word has one right answer."""
    pairs = [tuple(pair.split()) for pair in _OPPOSITES.split(",")]
    return {word: opposite for first, second in pairs for word, opposite in ((first, second), (second, first))}


_UNITS = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen
"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"


def in_words(number: int) -> str:
    """Return the English name of a number from 0 to 100."""
    if not 0 <= number <= 100:
        raise ValueError(f"{number} is outside 0 to 100")
    if number < 20:
        return _UNITS.split()[number]
    if number == 100:
        return "one hundred"
    tens, units = divmod(number, 10)
    return _TENS.split()[tens - 2] + (f"-{in_words(units)}" if units else "")
