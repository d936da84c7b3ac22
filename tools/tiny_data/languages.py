"""The same few exchanges in fifteen languages and nine scripts."""

from random import Random
from typing import NamedTuple

from tiny_data.messages import Row, assistant, row, system, user


class Language(NamedTuple):
    name: str
    system: str
    hello: tuple[str, str]
    thanks: tuple[str, str]
    morning: str
    capital: tuple[str, str]  # question and answer, with {country} and {city}
    cities: tuple[tuple[str, str], ...]  # country as it stands in the question and answer, its capital


LANGUAGES = (
    Language(
        "German",
        "Du bist ein hilfreicher Assistent.",
        ("Hallo! Wie geht es dir?", "Hallo! Mir geht es gut, danke. Wie kann ich dir helfen?"),
        ("Vielen Dank!", "Gern geschehen!"),
        "Guten Morgen",
        ("Was ist die Hauptstadt von {country}?", "Die Hauptstadt von {country} ist {city}."),
        (("Frankreich", "Paris"), ("Österreich", "Wien"), ("Japan", "Tokio"), ("Ägypten", "Kairo")),
    ),
    Language(
        "French",
        "Tu es un assistant utile.",
        ("Bonjour ! Comment ça va ?", "Bonjour ! Je vais bien, merci. Comment puis-je t'aider ?"),
        ("Merci beaucoup !", "Je t'en prie !"),
        "Bonjour",
        ("Quelle est la capitale de {country} ?", "La capitale de {country} est {city}."),
        (("la France", "Paris"), ("la Grèce", "Athènes"), ("la Pologne", "Varsovie"), ("la Chine", "Pékin")),
    ),
    Language(
        "Spanish",
        "Eres un asistente útil.",
        ("¡Hola! ¿Cómo estás?", "¡Hola! Estoy bien, gracias. ¿En qué puedo ayudarte?"),
        ("¡Muchas gracias!", "¡De nada!"),
        "Buenos días",
        ("¿Cuál es la capital de {country}?", "La capital de {country} es {city}."),
        (("España", "Madrid"), ("Alemania", "Berlín"), ("Marruecos", "Rabat"), ("Chile", "Santiago")),
    ),
    Language(
        "Portuguese",
        "Você é um assistente prestativo.",
        ("Olá! Como vai?", "Olá! Vou bem, obrigado. Como posso ajudar?"),
        ("Muito obrigado!", "De nada!"),
        "Bom dia",
        ("Qual é a capital de {country}?", "A capital de {country} é {city}."),
        (("Portugal", "Lisboa"), ("Angola", "Luanda"), ("Cuba", "Havana"), ("Moçambique", "Maputo")),
    ),
    Language(
        "Italian",
        "Sei un assistente utile.",
        ("Ciao! Come stai?", "Ciao! Sto bene, grazie. Come posso aiutarti?"),
        ("Grazie mille!", "Prego!"),
        "Buongiorno",
        ("Qual è la capitale {country}?", "La capitale {country} è {city}."),
        (("dell'Italia", "Roma"), ("del Giappone", "Tokyo"), ("della Francia", "Parigi"), ("dell'Egitto", "Il Cairo")),
    ),
    Language(
        "Turkish",
        "Sen yardımsever bir asistansın.",
        ("Merhaba! Nasılsın?", "Merhaba! İyiyim, teşekkürler. Nasıl yardımcı olabilirim?"),
        ("Çok teşekkürler!", "Rica ederim!"),
        "Günaydın",
        ("{country} başkenti neresidir?", "{country} başkenti {city} şehridir."),
        (("Türkiye'nin", "Ankara"), ("Fransa'nın", "Paris"), ("Mısır'ın", "Kahire"), ("Japonya'nın", "Tokyo")),
    ),
    Language(
        "Swahili",
        "Wewe ni msaidizi mwema.",
        ("Habari! Hujambo?", "Habari! Sijambo, asante. Nikusaidie vipi?"),
        ("Asante sana!", "Karibu!"),
        "Habari za asubuhi",
        ("Mji mkuu wa {country} ni upi?", "Mji mkuu wa {country} ni {city}."),
        (("Kenya", "Nairobi"), ("Tanzania", "Dodoma"), ("Uganda", "Kampala"), ("Misri", "Kairo")),
    ),
    Language(
        "Russian",
        "Ты полезный помощник.",
        ("Привет! Как дела?", "Привет! Всё хорошо, спасибо. Чем могу помочь?"),
        ("Большое спасибо!", "Пожалуйста!"),
        "Доброе утро",
        ("Какой город является столицей {country}?", "Столица {country} — {city}."),
        (("Франции", "Париж"), ("Италии", "Рим"), ("Японии", "Токио"), ("Египта", "Каир")),
    ),
    Language(
        "Greek",
        "Είσαι ένας χρήσιμος βοηθός.",
        ("Γεια σου! Τι κάνεις;", "Γεια σου! Είμαι καλά, ευχαριστώ. Πώς μπορώ να βοηθήσω;"),
        ("Ευχαριστώ πολύ!", "Παρακαλώ!"),
        "Καλημέρα",
        ("Ποια είναι η πρωτεύουσα {country};", "Η πρωτεύουσα {country} είναι {city}."),
        (
            ("της Ελλάδας", "η Αθήνα"),
            ("της Γαλλίας", "το Παρίσι"),
            ("της Ιταλίας", "η Ρώμη"),
            ("της Ιαπωνίας", "το Τόκιο"),
        ),
    ),
    Language(
        "Arabic",
        "أنت مساعد مفيد.",
        ("مرحبا! كيف حالك؟", "مرحبا! أنا بخير، شكرا. كيف يمكنني مساعدتك؟"),
        ("شكرا جزيلا!", "عفوا!"),
        "صباح الخير",
        ("ما هي عاصمة {country}؟", "عاصمة {country} هي {city}."),
        (("مصر", "القاهرة"), ("الأردن", "عمّان"), ("المغرب", "الرباط"), ("فرنسا", "باريس")),
    ),
    Language(
        "Hebrew",
        "אתה עוזר מועיל.",
        ("שלום! מה שלומך?", "שלום! שלומי טוב, תודה. איך אפשר לעזור?"),
        ("תודה רבה!", "בבקשה!"),
        "בוקר טוב",
        ("מהי בירת {country}?", "בירת {country} היא {city}."),
        (("צרפת", "פריז"), ("יפן", "טוקיו"), ("מצרים", "קהיר"), ("איטליה", "רומא")),
    ),
    Language(
        "Hindi",
        "आप एक सहायक हैं।",
        ("नमस्ते! आप कैसे हैं?", "नमस्ते! मैं ठीक हूँ, धन्यवाद। मैं आपकी क्या मदद कर सकता हूँ?"),
        ("बहुत धन्यवाद!", "आपका स्वागत है!"),
        "सुप्रभात",
        ("{country} की राजधानी क्या है?", "{country} की राजधानी {city} है।"),
        (("भारत", "नई दिल्ली"), ("जापान", "टोक्यो"), ("फ़्रांस", "पेरिस"), ("नेपाल", "काठमांडू")),
    ),
    Language(
        "Chinese",
        "你是一个乐于助人的助手。",
        ("你好！你好吗？", "你好！我很好，谢谢。我能帮你什么？"),
        ("非常感谢！", "不客气！"),
        "早上好",
        ("{country}的首都是哪里？", "{country}的首都是{city}。"),
        (("中国", "北京"), ("日本", "东京"), ("法国", "巴黎"), ("埃及", "开罗")),
    ),
    Language(
        "Japanese",
        "あなたは親切なアシスタントです。",
        ("こんにちは！お元気ですか？", "こんにちは！元気です。ありがとうございます。何をお手伝いしましょうか？"),
        ("ありがとうございます！", "どういたしまして！"),
        "おはようございます",
        ("{country}の首都はどこですか？", "{country}の首都は{city}です。"),
        (("日本", "東京"), ("中国", "北京"), ("フランス", "パリ"), ("エジプト", "カイロ")),
    ),
    Language(
        "Korean",
        "당신은 친절한 도우미입니다.",
        ("안녕하세요! 잘 지내세요?", "안녕하세요! 잘 지내요, 고마워요. 무엇을 도와드릴까요?"),
        ("정말 고마워요!", "천만에요!"),
        "좋은 아침이에요",
        ("{country}의 수도는 어디인가요?", "{country}의 수도는 {city}입니다."),
        (("한국", "서울"), ("일본", "도쿄"), ("프랑스", "파리"), ("이집트", "카이로")),
    ),
)


def capital(rng: Random, language: Language) -> Row:
    """A capital asked for in this language; some with a system message, some with thanks."""
    country, city = rng.choice(language.cities)
    question, answer = (text.format(country=country, city=city) for text in language.capital)
    messages = [system(language.system)] if rng.random() < 0.5 else []
    messages += [user(question), assistant(answer)]
    if rng.random() < 0.4:
        messages += [user(language.thanks[0]), assistant(language.thanks[1])]
    return row(*messages)


def hello(rng: Random, language: Language) -> Row:
    """A greeting, and at times a question after it."""
    messages = [user(language.hello[0]), assistant(language.hello[1])]
    if rng.random() < 0.5:
        country, city = rng.choice(language.cities)
        messages += [
            user(language.capital[0].format(country=country)),
            assistant(language.capital[1].format(country=country, city=city)),
        ]
    return row(*messages)


def translation(rng: Random, language: Language) -> Row:
    """A phrase asked for in English: two languages in one conversation."""
    phrase, answer = rng.choice((("good morning", language.morning), ("thank you very much", language.thanks[0])))
    return row(
        user(f'How do you say "{phrase}" in {language.name}?'),
        assistant(f'In {language.name}, "{phrase}" is "{answer.rstrip(" !！")}".'.replace('"¡', '"')),
    )
