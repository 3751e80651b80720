"""The fixed texts that the reference vectors in ``minilm.npz`` belong to.

A server that computes embeddings by itself has to give the same vectors as the library the
model was published for, not only on well-behaved English sentences.  The texts here are picked
for the places where two implementations come apart: the truncation limit, text that becomes no
token at all, characters that the tokenizer drops, folds or splits, words longer than the
tokenizer accepts, and scripts that its vocabulary covers badly.

The list is a constant in all but form: no file, no network, no clock, and what looks random
comes from a small seeded generator below, so that it depends on no release of any library.  The
order matters, because row ``i`` of the stored vectors belongs to text ``i``.  After any change
here the stored vectors have to be made anew (see ``make_reference``); ``digest`` is stored beside
them so that a test notices when that was forgotten.

Characters that an editor does not show, that it might rewrite into another normal form, or that
are easily taken for an ASCII character are written as escapes.
"""

import hashlib
from collections.abc import Iterable

_SEED = 20817

# Sentences that the composed paragraphs and long texts are put together from.
_POOL: tuple[str, ...] = (
    "The ferry left the harbour an hour late because the fog refused to lift.",
    "My neighbour repairs old radios and gives them away to anyone who asks.",
    "Three of the five sensors stopped reporting shortly after midnight.",
    "A good index makes a thick book feel thin.",
    "Nobody had told the new gardener that the pond was home to a heron.",
    "The committee postponed the vote until the missing figures could be found.",
    "Bread dough rises faster in summer, so the bakers start later in July.",
    "She wrote the address on her hand and then washed it off without thinking.",
    "When the river is low you can see the stones of the former mill.",
    "Our train was diverted through a valley that none of us had ever heard of.",
    "Every recipe in the notebook assumed an oven that could be trusted.",
    "The patch fixes a memory leak that only showed up under heavy load.",
    "Children in the courtyard were arguing about the rules of a game they had just invented.",
    "It rained so hard that the street lamps came on in the middle of the afternoon.",
    "The museum keeps its oldest map in a drawer because light would fade the ink.",
    "After the merger, both companies discovered that they had bought the same warehouse.",
    "He learned to play the cello at sixty and never performed for anyone.",
    "A single loose bolt had been rattling inside the turbine for eleven years.",
    "The doctor advised less salt, more sleep, and fewer late meetings.",
    "Two hikers followed the wrong markers and ended up at a very good restaurant.",
    "Cached results are served for ten minutes, after which the query runs again.",
    "The orchard produced more plums than the village could possibly eat.",
    "Because the contract was silent on the matter, the judge looked at earlier practice.",
    "Salt water crept into the wells, and the farmers switched to barley.",
    "The library stays open until nine, although the heating is turned off at seven.",
    "An engineer measured the bridge twice and trusted neither number.",
    "Whales passing the island in spring can be heard through the hull of a small boat.",
    "The translation was accurate, elegant, and forty pages longer than the original.",
    "Somebody left a bicycle leaning against the monument, and it stayed there for a year.",
    "Prices for copper fell again, which surprised only those who had been buying it.",
    "The old clock in the station runs four minutes fast so that people hurry.",
    "Glass recycled from bottles is ground into sand and mixed with asphalt.",
    "Each request carries an identifier that appears in every line of the log.",
    "The cat slept on the manuscript, and the editor worked around it.",
    "Fresh snow hid the ditch, and the postman found it with his left foot.",
    "Astronomers pointed the dish at an empty patch of sky and waited.",
    "Half of the audience laughed at the wrong moment, which pleased the author.",
    "The tunnel took nine years to dig and eight minutes to cross.",
    "A spoonful of vinegar keeps the colour of red cabbage from turning blue.",
    "The backup was complete, tested, and stored in the building that burned down.",
)


class _Picker:
    """Choices out of a linear congruential generator, the same on every machine."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def number_below(self, bound: int) -> int:
        """A whole number from 0 up to, not including, ``bound``."""
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self._state >> 32) * bound >> 32

    def sentences(self, count: int) -> str:
        """``count`` sentences of the pool, joined by spaces."""
        return " ".join(_POOL[self.number_below(len(_POOL))] for _ in range(count))

    def words(self, count: int) -> str:
        """``count`` words of the pool without punctuation, in random order."""
        vocabulary = [word.strip(",.") for sentence in _POOL for word in sentence.split()]
        return " ".join(vocabulary[self.number_below(len(vocabulary))] for _ in range(count))

    def letters(self, count: int, alphabet: str = "abcdefghijklmnopqrstuvwxyz") -> str:
        """A word of ``count`` random letters."""
        return "".join(alphabet[self.number_below(len(alphabet))] for _ in range(count))


def _words() -> list[str]:
    return [
        "a",
        "I",
        "dog",
        "Water",
        "KEYBOARD",
        "seven",
        "running",
        "unbelievable",
        "embedding",
        "tokenization",
        "antidisestablishmentarianism",
        "McIntosh",
        "x",
        "Zzyzx",
    ]


def _short() -> list[str]:
    return [
        "red apple",
        "cheap flights to oslo in march",
        "How do I reset my password?",
        "best soup for a cold",
        "what is the boiling point of ethanol",
        "opening hours town hall",
        "lost my keys again",
        "Is it safe to eat raw mushrooms?",
        "python list vs tuple",
        "Where did I park the car?",
        "PLEASE STOP SHOUTING",
        "please stop shouting",
        "not bad at all",
        "not at all bad",
        "bank of the river",
        "bank account overdrawn",
        "Dr. Ames will see you now.",
        "e.g. this, i.e. that",
        "it's John's, isn't it?",
        "state-of-the-art, off-the-shelf",
        "Thank you!",
        "error: connection refused",
        "song about a yellow umbrella",
        "distance between two points on a sphere",
    ]


def _sentences() -> list[str]:
    # The pool is used as it is, then pairs that mean the same or nearly so.
    return [
        *_POOL[:22],
        "A man is riding a horse along the beach.",
        "Someone on horseback follows the shoreline.",
        "A woman is slicing an onion in the kitchen.",
        "The stock exchange closed early on account of the holiday.",
        "Because of the holiday, trading ended sooner than usual.",
        "The holiday did not affect trading at all.",
        "You can cancel the order within fourteen days, free of charge.",
        "Orders cannot be cancelled.",
        'He said, "I\'ll be there at five," and arrived at six.',
        "The results (see table 4) are, with one exception, not significant.",
    ]


def _paragraphs(picker: _Picker) -> list[str]:
    return [
        *(picker.sentences(count) for count in (2, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10, 11)),
        "First paragraph, on one line.\n\nSecond one, after an empty line.\n\n\tThird, indented.",
        "Dear Ms Okafor,\r\n\r\nthe spare part is on its way.\r\n\r\nKind regards,\r\nthe workshop",
        "- buy screws\n- measure the shelf\n- return the drill\n- call the landlord about the roof",
    ]


def _long(picker: _Picker) -> list[str]:
    return [
        *(picker.sentences(count) for count in (14, 16, 18, 20, 22, 24, 28, 32, 40, 50, 64, 90)),
        *(picker.words(count) for count in (180, 230, 260, 400, 700, 1500)),
        "\n".join(f"{line}. {picker.sentences(1)}" for line in range(1, 31)),
        # The same first 254 tokens with different ends: the vectors must be equal.
        "stone " * 254 + "the end of the first one",
        "stone " * 254 + "a wholly different ending, about volcanoes",
    ]


def _boundary() -> list[str]:
    # Each of these words is one token of the vocabulary, so a text has its number of words and
    # two specials.  The counts lie around 128 (which the tokenizer file sets), around 256 (the
    # model's own limit) and around 512 (the number of positions the network has).
    cycle = ("river", "house", "music", "green", "paper", "winter", "table", "light")

    def of_tokens(tokens: int) -> str:
        return " ".join(cycle[i % len(cycle)] for i in range(tokens - 2))

    sizes = (3, 4, 31, 32, 33, 64, 127, 128, 129, 253, 254, 255, 256, 257, 258, 511, 512, 513, 1024)
    return [
        *(of_tokens(size) for size in sizes),
        # A last word of two pieces: it just fits, and it is cut between its pieces.
        of_tokens(254) + " tokenization",
        of_tokens(255) + " tokenization",
        # Trailing white space must not count.
        of_tokens(256) + "   \n",
    ]


def _latin() -> list[str]:
    return [
        "Über den Dächern läuten süße Glöckchen, während Käthe Öl holt.",
        "Der Fußgänger genießt heiße Maße.",
        "GROẞE STRASSE",
        "Le garçon naïf a mangé une crêpe près de l'hôtel où Zoé dort.",
        "L'œuvre complète coûte trop cher à la bibliothèque.",
        "El niño pequeño soñó con un pingüino. ¿Qué pasó después?",
        "¡Mañana habrá más café!",
        "A irmã do João não põe açúcar no pão.",
        "Příliš mnoho žáků čekalo u školních dveří.",
        "Żółta łódź płynęła wśród gęstej mgły.",
        "Az őszi erdőben hűvös szél fújt.",
        "Blåbær og rømme smaker best på hytta.",
        "Þórður fór á bæinn og keypti sér ís.",
        "İstanbul'da yağmurlu bir gün, \u0131slak sokaklar ve s\u0131cak çay.",
        "Buổi sáng ở Hà Nội, tôi uống cà phê và đọc báo.",
        "Ștefan și Ioana au plecat în pădure după ciuperci.",
        "Ķirši un āboli šogad nogatavojās agri.",
        "Sõbrad jõudsid õhtul järve äärde.",
        "café CAFÉ cafe Café",
    ]


def _cyrillic() -> list[str]:
    return [
        "Привет",
        "Сегодня утром шёл снег, и дворник не успел расчистить дорожку.",
        "Какая завтра будет погода?",
        "Бабушка испекла пирог, но гости опоздали.",
        "\u0423 лісі виросли великі гриби, їх зібрали діти.",
        "Їжак ґречно відповів сусідові.",
        "Ђак \u0458\u0435 понео књигу, љубазно поздравио учитеља.",
        "Щастливото куче тичаше край морето.",
        "ЁЛКА ёлка",
        "Поезд отправился вовремя, хотя машинист забыл дома очки. " * 14,
    ]


def _greek() -> list[str]:
    return [
        "Καλημέρα",
        "\u03a4\u03bf καράβι έφυγε νωρίς το πρωί \u03b3\u03b9\u03b1 την Κρήτη.",
        "Πόσο κοστίζει αυτό το βιβλίο;",
        "ΟΔΥΣΣΕΥΣ, Οδυσσεύς, ὀδυσσεύς",
        "ἄνθρωπος ᾠδή ῥόδον",
        "\u0397 γάτα κοιμάται πάνω στο τραπέζι της κουζίνας.",
    ]


def _arabic() -> list[str]:
    return [
        "مرحبا",
        "وصل القطار متأخرا لأن الثلج أغلق الطريق.",
        "كم سعر هذا الكتاب؟",
        "كَتَبَ الوَلَدُ رِسالَةً طَويلَةً",
        "يوجد ١٢٣ كتابا في الغرفة رقم ٤٥.",
        "امروز هوا خیلی سرد است و پنجره باز نمی\u200cشود.",
        "آج بازار میں بہت بھیڑ تھی\u06d4",
        "جمـــــيل",
    ]


def _hebrew() -> list[str]:
    return [
        "שלום",
        "הרכבת איחרה בשעה בגלל השלג.",
        "כמה עולה הספר הזה?",
        "הַיֶּלֶד כָּתַב מִכְתָּב",
        "החתול ישן על השולחן במטבח, והכלב מחכה ליד הדלת.",
        "צה״ל וחז״ל",
    ]


def _devanagari() -> list[str]:
    return [
        "नमस्ते",
        "आज सुबह बाज़ार में बहुत भीड़ थी।",
        "यह किताब कितने की है?",
        "मेरी बहन हर शाम नदी के किनारे टहलती है।",
        "कमरा नंबर १२३",
        "माझ्या मित्राने नवीन सायकल घेतली.",
    ]


def _thai() -> list[str]:
    return [
        "สวัสดี",
        "วันนี้ฝนตกหนักมากจนรถติดทั้งเมือง",
        "หนังสือเล่มนี้ราคาเท่าไร",
        "แมวนอนอยู่บนโต๊ะในครัว ส่วนหมารออยู่หน้าประตู",
        "ห้อง ๑๒๓",
        "กา กิน น้ำ",
    ]


def _chinese() -> list[str]:
    return [
        "你好",
        "今天早上下雪了\uff0c火车晚点一个小时。",
        "这本书多少钱\uff1f",
        "我的邻居喜欢修理旧收音机\uff0c然后送给别人。",
        "圖書館晚上九點關門\uff0c但是七點就不開暖氣了。",
        "北京2024年的冬天很冷",
        "𠮷野家的𩸽",
        "河边的老磨坊只剩下几块石头\uff0c水浅的时候才看得见。" * 14,
    ]


def _japanese() -> list[str]:
    return [
        "こんにちは",
        "今朝は雪が降って、電車が一時間遅れました。",
        "この本はいくらですか\uff1f",
        "コーヒーとケーキをください。",
        "ｶﾀｶﾅ と カタカナ と ひらがな",
        "がぎぐげご ぱぴぷぺぽ",
        "隣の人は古いラジオを直すのが好きです。",
        "人々は「静かに」と言った。",
    ]


def _korean() -> list[str]:
    return [
        "안녕하세요",
        "오늘 아침에 눈이 와서 기차가 한 시간 늦었다.",
        "이 책은 얼마예요?",
        "고양이는 부엌 식탁 위에서 자고 있다.",
        "\u1112\u1161\u11ab\u1100\u1173\u11af",
        "도서관은 아홉 시에 문을 닫지만 난방은 일곱 시에 꺼진다. " * 9,
    ]


def _other_scripts() -> list[str]:
    return [
        "დღეს დილით თოვდა.",
        "Այսօր շատ ցուրտ է\u0589",
        "இன்று காலை மழை பெய்தது.",
        "আজ সকালে বৃষ্টি হয়েছে।",
        "ዛሬ ጠዋት ዝናብ ዘነበ።",
        "ព្រឹកនេះមានភ្លៀងធ្លាក់។",
        "དེ་རིང་ཆར་པ་བབས་སོང་།",
        "𐌲𐌿𐌸 𐍅𐌰𐍃",
    ]


def _emoji() -> list[str]:
    return [
        "\U0001f600",
        "\U0001f600\U0001f601\U0001f602",
        "good morning \u2600\ufe0f",
        "\u2764 \u2764\ufe0f \u2764\ufe0e",
        # A family and two professions, joined by ZWJ.
        "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
        "the \U0001f469\u200d\U0001f692 and the \U0001f468\U0001f3fd\u200d\U0001f373 had lunch",
        # The rainbow flag and two flags of regional indicators.
        "\U0001f3f3\ufe0f\u200d\U0001f308",
        "\U0001f1f3\U0001f1f4 \U0001f1ef\U0001f1f5",
        # A flag spelled with tag characters.
        "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
        # Skin tones and a keycap.
        "\U0001f44d\U0001f44d\U0001f3fb\U0001f44d\U0001f3ff",
        "press 1\ufe0f\u20e3 or #\ufe0f\u20e3",
        "I love this!!! \U0001f60d\U0001f60d\U0001f60d",
        "cat\U0001f408dog\U0001f415bird",
        "\U0001fae0\U0001faf6 newer ones",
        "\U0001f389" * 300,
    ]


def _numbers() -> list[str]:
    return [
        "0",
        "7",
        "42",
        "3.14159265358979",
        "-273.15",
        "1,234,567.89",
        "1.234.567,89",
        "6.022e23",
        "2031-02-29T23:59:60Z",
        "+47 22 00 00 00",
        "0xDEADBEEF 0b1011 0o755",
        "10 20 30 40 50 60 70 80 90",
        "1/2 of 2/3 is 1/3",
        "½ ¼ ² ³ ① Ⅳ",
        "12345678901234567890123456789012345678901234567890",
        " ".join(str(number) for number in range(200)),
    ]


def _urls() -> list[str]:
    return [
        "https://www.example.com/",
        "http://example.org:8080/path/to/page.html?query=one&lang=en#section-2",
        "see https://docs.example.net/a_b-c~d/%7Euser/%E2%82%AC for more",
        "someone.else+tag@mail.example.com",
        "ftp://files.example.com/pub/archive.tar.gz",
        "git@host.example:group/project.git",
        "C:\\Program Files\\Example\\bin\\tool.exe",
        "/usr/local/share/doc/example/README.txt",
        "https://www.example.com/images/cat.jpg",
        "192.0.2.17 2001:db8::8a2e:370:7334",
    ]


def _code() -> list[str]:
    return [
        "def add(a: int, b: int) -> int:\n    return a + b\n",
        "for (int i = 0; i < n; ++i) { sum += v[i]; }",
        "SELECT name, COUNT(*) FROM orders WHERE total >= 10 GROUP BY name ORDER BY 2 DESC;",
        'fn main() {\n\tlet x: Option<&str> = None;\n\tprintln!("{:?}", x);\n}',
        "const f = async (x) => await g(x?.y ?? 0);",
        "ls -la | grep '^d' | awk '{print $9}' > dirs.txt 2>&1",
        "<div class=\"card\"><a href='#'>Link</a>&nbsp;&amp;&#8364;</div>",
        "\\frac{1}{n}\\sum_{i=1}^{n} (x_i - \\bar{x})^2",
        "^(?:[a-z0-9_]+\\.)*[a-z]{2,}$",
        "# Title\n\n* item *one*\n* item **two**\n\n```sh\nmake\n```\n",
        "getHTTPResponseCode my_variable_name SCREAMING_SNAKE kebab-case-name",
        "--- a/x.c\n+++ b/x.c\n@@ -1,2 +1,2 @@\n-int a;\n+long a;\n",
    ]


def _json() -> list[str]:
    return [
        "{}",
        "[]",
        "null",
        '{"name": "lamp", "price": 19.5, "tags": ["light", "desk"], "stock": null}',
        '[{"id":1,"ok":true},{"id":2,"ok":false}]',
        '{"text": "a \\"quoted\\" word\\n and \\u00e9"}',
        "id,name,city\n1,Ana,Porto\n2,Bo,Malmo\n",
        "<?xml version='1.0'?><root><item n='1'/></root>",
        "[" + ", ".join(f'{{"id": {number}, "ok": true}}' for number in range(40)) + "]",
    ]


def _punctuation() -> list[str]:
    return [
        ".",
        "...",
        "\u2026",
        "?!",
        "!!!!!!!!!!!!!!!!",
        "---",
        "\u2013 \u2014 \u2015 \u2212 \u2010",
        "()[]{}<>",
        "\"'`\u00b4\u2018\u2019\u201c\u201d\u00ab\u00bb",
        "@#$%^&*_+=|\\~",
        "\u20ac \u00a3 \u00a5 \u20b9 \u00a2 \u20bf",
        "\u00a9 \u00ae \u2122 \u00b0 \u00a7 \u00b6 \u2020",
        "\u2190\u2191\u2192\u2193 \u2200x\u2203y: x\u2264y \u2227 \u221e\u2260\u2205",
        "\u3002\u3001\u300c\u300d\uff01\uff1f",
        "; , ; , ; ,",
        "." * 400,
    ]


def _empty_ish() -> list[str]:
    return [
        "",
        " ",
        "  ",
        "\n",
        "\t",
        "\r\n",
        " \n\t \r\n ",
        "\u00a0",
        "\u2003\u2009",
        "\u3000",
        "\u2028\u2029",
        "\x0b\x0c",
        "\x85",
        " " * 2000,
        "\n" * 600,
        "   leading and trailing   ",
        "leading and trailing",
        "leading   and\ttrailing\n",
        "non\u00a0breaking\u3000spaces",
    ]


def _long_words(picker: _Picker) -> list[str]:
    return [
        # The tokenizer takes words of at most 100 characters; longer ones become one unknown.
        picker.letters(99),
        picker.letters(100),
        picker.letters(101),
        picker.letters(150),
        picker.letters(1200),
        "x" * 100,
        "x" * 101,
        "x" * 5000,
        f"before {picker.letters(130)} after",
        picker.letters(300, "0123456789abcdef"),
        "_".join(picker.letters(30) for _ in range(6)),
        " ".join(picker.letters(90) for _ in range(8)),
        "\u00e9" * 101,
        "\u0436" * 120,
    ]


def _repeated() -> list[str]:
    return [
        "no no",
        "no no no no no no no no",
        "buffalo " * 30,
        "the " * 120,
        "word " * 300,
        "very " * 1000 + "long",
        "ha" * 40,
        "again and again and again and again",
        "[UNK] " * 10,
        "\u0e01 " * 50,
    ]


def _mixed() -> list[str]:
    return [
        "The word мир means both peace and world.",
        "東京 is the capital, 大阪 is not.",
        "Meeting at 10:30 in München mit Ольга и 田中さん",
        "hello שלום مرحبا שוב hello",
        "\u03b1-helix and \u03b2-sheet, 5 \u00b5m wide",
        "KFC吃炸鸡 WiFi密码12345678",
        "p\u0430yp\u0430l with Cyrillic letters inside",
        "\uff21\uff22\uff23 fullwidth \uff11\uff12\uff13",
        "\U0001d407\U0001d41e\U0001d425\U0001d425\U0001d428 in mathematical bold",
        "\ufb01ve \ufb02oors of o\ufb03ce space",
        "ελληνικά, кириллица, عربي, हिन्दी, ไทย, 中文, 한국어, and English",
        "안녕 world こんにちは 世界 \U0001f30d",
    ]


def _control() -> list[str]:
    return [
        "\x00",
        "nul\x00inside",
        "nul at the end\x00",
        "\x00\x00\x00",
        "\x01\x02\x03\x04",
        "bell\x07 and backspace\x08",
        "\x1b[31mred\x1b[0m",
        "delete\x7fd",
        "c1 \x80\x9f controls",
        "a\x0bb\x0cc",
        "line\u2028separator\u2029paragraph",
        "replacement \ufffd character",
        "private \ue000 use",
        "noncharacter \ufdd0 \uffff \U0010ffff",
        "unassigned \u0378",
    ]


def _combining() -> list[str]:
    return [
        "cafe\u0301",
        "re\u0301sume\u0301 and r\u00e9sum\u00e9",
        "n\u0303andu\u0301",
        "\u0301",
        "\u0300\u0301\u0302\u0303",
        "a\u0300\u0316\u0317\u0318\u0319\u031c\u031d\u031e\u031f b",
        "Z\u0335\u0321\u0322a\u0334\u0327l\u0336\u0328g\u0337\u0323o\u0338\u0324",
        "\u212b \u00c5 A\u030a",
        "\u1e69 s\u0323\u0307 s\u0307\u0323",
        "e" + "\u0301" * 150,
        "I\u0307 \u0130 i\u0307",
        "\u304b\u3099 \u306f\u309a",
    ]


def _zero_width() -> list[str]:
    return [
        "\u200b",
        "\ufeff",
        "zero\u200bwidth\u200bspace",
        "zero\u200cwidth\u200cnon-joiner",
        "zero\u200dwidth\u200djoiner",
        "\ufeffbyte order mark first",
        "soft\u00adhyphen in a hyphen\u00adation",
        "word\u2060joiner",
        "\u202ereversed\u202c and back",
        "\u2066isolated\u2069 \u200eleft\u200f right",
        "variation\ufe0f selector",
        "\u115f\u3164 hangul fillers",
        "\u0646\u0645\u06cc\u200c\u0634\u0648\u062f",
    ]


def _special_tokens() -> list[str]:
    return [
        "[CLS]",
        "[SEP]",
        "[PAD]",
        "[MASK]",
        "[UNK]",
        "[CLS] first [SEP] second [SEP]",
        "The capital of Norway is [MASK].",
        "[cls] [sep] in lower case",
        "[ SEP ] [SE P]",
        "##ing un##able",
        "[unused1] <s> </s> <pad> <|endoftext|>",
        "text[SEP]without spaces[PAD][PAD]",
    ]


def by_category() -> dict[str, list[str]]:
    """The texts by what they are there for, in the order of ``texts``."""
    picker = _Picker(_SEED)
    return {
        "words": _words(),
        "short": _short(),
        "sentences": _sentences(),
        "paragraphs": _paragraphs(picker),
        "long": _long(picker),
        "boundary": _boundary(),
        "latin": _latin(),
        "cyrillic": _cyrillic(),
        "greek": _greek(),
        "arabic": _arabic(),
        "hebrew": _hebrew(),
        "devanagari": _devanagari(),
        "thai": _thai(),
        "chinese": _chinese(),
        "japanese": _japanese(),
        "korean": _korean(),
        "other_scripts": _other_scripts(),
        "emoji": _emoji(),
        "numbers": _numbers(),
        "urls": _urls(),
        "code": _code(),
        "json": _json(),
        "punctuation": _punctuation(),
        "empty_ish": _empty_ish(),
        "long_words": _long_words(picker),
        "repeated": _repeated(),
        "mixed": _mixed(),
        "control": _control(),
        "combining": _combining(),
        "zero_width": _zero_width(),
        "special_tokens": _special_tokens(),
    }


def texts() -> list[str]:
    """All texts, in the order of the rows of the stored vectors."""
    return [text for group in by_category().values() for text in group]


def digest(items: Iterable[str]) -> str:
    r"""SHA-256 (hex) over the texts, each as its UTF-8 length in decimal, ``\x00``, its UTF-8."""
    sha = hashlib.sha256()
    for item in items:
        data = item.encode("utf-8")
        sha.update(b"%d\x00" % len(data))
        sha.update(data)
    return sha.hexdigest()
