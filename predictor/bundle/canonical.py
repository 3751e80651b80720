"""The canonical texts: whatever else changes, their vectors must not.

Short and long, several scripts, code and noise, so that a wrong tokenizer, a wrong pooling or a
missing prompt shows on at least one of them.
"""

_PARAGRAPH = (
    "The harbour master kept two books. In the first he wrote the name of every ship, the hour it "
    "came and what it carried; in the second, which nobody was meant to see, he wrote what the "
    "captains told him when the rain kept them in his office. "
)

CANONICAL_TEXTS: list[str] = [
    "",
    "a",
    ".",
    "hello world",
    "A man is playing a guitar.",
    "Someone plays an instrument.",
    "The stock market fell sharply today.",
    "How do I reset my password?",
    "Click on 'Forgot password' and follow the link in the mail.",
    "query: best hiking trails near Innsbruck",
    "passage: The Zirbenweg is a panoramic trail at two thousand metres.",
    "Der Zug nach Köln hat heute zehn Minuten Verspätung.",
    "La boulangerie ouvre à six heures du matin.",
    "¿Dónde está la biblioteca más cercana?",
    "Поезд отправляется с третьего пути.",
    "Η θάλασσα ήταν ήρεμη το πρωί.",
    "القطار يغادر في الساعة الثامنة",
    "הספר נמצא על השולחן",
    "रेलगाड़ी समय पर है",
    "รถไฟออกเวลาแปดโมง",
    "列车八点出发",
    "図書館は九時に開きます",
    "기차는 여덟 시에 떠납니다",
    "🚀🔥 launch day! 👩‍👩‍👧‍👦 🇦🇹",
    "def add(a: int, b: int) -> int:\n    return a + b",
    '{"id": 42, "name": "widget", "tags": ["a", "b"]}',
    "SELECT name, count(*) FROM orders WHERE total > 100 GROUP BY name;",
    "https://example.org/path/to/page?query=value&other=1#fragment",
    "0 1 2 3 4 5 6 7 8 9 3.14159 -273.15 1e-10 0xFF",
    "kubectl get inferenceservice -n models -o yaml",
    "pneumonoultramicroscopicsilicovolcanoconiosis",
    "x" * 200,
    "the " * 60,
    _PARAGRAPH,
    _PARAGRAPH * 3,
    _PARAGRAPH * 12,
]
