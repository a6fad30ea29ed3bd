"""A labeled corpus: planted values, their contexts and encodings, and texts that must stay unchanged.

Values are generated from a fixed seed in the format of their issuers; none of them is a working credential.
"""

from __future__ import annotations

import base64
import html
import json
import random
import string
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

ALNUM = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
URLSAFE = ALNUM + "-_"


@dataclass(frozen=True)
class Planted:
    """A text that contains a value, and the form of the value in it."""

    type: str
    carrier: str
    encoding: str
    text: str
    needle: str


def letters(rng: random.Random, alphabet: str, length: int) -> str:
    return "".join(rng.choice(alphabet) for _ in range(length))


def luhn_card(rng: random.Random, prefix: str, length: int) -> str:
    body = prefix + letters(rng, string.digits, length - 1 - len(prefix))
    for check in string.digits:
        digits = [int(digit) for digit in (body + check)[::-1]]
        if sum(sum(divmod(digit * (1 + place % 2), 10)) for place, digit in enumerate(digits)) % 10 == 0:
            return body + check
    raise AssertionError


def iban(rng: random.Random, country: str, length: int) -> str:
    body = letters(rng, string.digits, length - 4)
    number = "".join(str(int(character, 36)) for character in body + country + "00")
    return f"{country}{98 - int(number) % 97:02d}{body}"


def jwt(rng: random.Random) -> str:
    parts = [{"alg": "HS256", "typ": "JWT"}, {"sub": letters(rng, ALNUM, 12), "iat": rng.randrange(10**9)}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, letters(rng, URLSAFE, 43)])


#: Values that show what they are.
EXACT: dict[str, Callable[[random.Random], str]] = {
    "OPENAI_KEY": lambda r: "sk-" + letters(r, ALNUM, 48),
    "OPENAI_KEY (project)": lambda r: (
        "sk-proj-" + letters(r, URLSAFE, 120) + "T3Blbk" + letters(r, ALNUM, 20)
    ),
    "ANTHROPIC_KEY": lambda r: "sk-ant-api03-" + letters(r, URLSAFE, 93) + "AA",
    "OPENROUTER_KEY": lambda r: "sk-or-v1-" + letters(r, HEX, 64),
    "LANGFUSE_KEY (secret)": lambda r: "sk-lf-" + uuid(r),
    "LANGFUSE_KEY (public)": lambda r: "pk-lf-" + uuid(r),
    "LANGSMITH_KEY": lambda r: f"lsv2_pt_{letters(r, HEX, 32)}_{letters(r, HEX, 10)}",
    "AWS_KEY_ID": lambda r: r.choice(["AKIA", "ASIA"]) + letters(r, string.ascii_uppercase + "234567", 16),
    "GOOGLE_KEY": lambda r: "AIza" + letters(r, URLSAFE, 35),
    "GOOGLE_SECRET": lambda r: "GOCSPX-" + letters(r, URLSAFE, 28),
    "GOOGLE_TOKEN": lambda r: "ya29." + letters(r, URLSAFE, 120),
    "AZURE_SECRET": lambda r: letters(r, ALNUM, 3) + "8Q~" + letters(r, ALNUM + "_.~-", 33) + "a",
    "GITHUB_TOKEN": lambda r: r.choice(["ghp_", "gho_", "ghs_"]) + letters(r, ALNUM, 36),
    "GITHUB_TOKEN (fine)": lambda r: "github_pat_" + letters(r, ALNUM, 22) + "_" + letters(r, ALNUM, 59),
    "GITLAB_TOKEN": lambda r: "glpat-" + letters(r, ALNUM, 20),
    "SLACK_TOKEN": lambda r: f"xoxb-{letters(r, string.digits, 12)}-{letters(r, ALNUM, 24)}",
    "SLACK_WEBHOOK": lambda r: f"T{letters(r, ALNUM, 8)}/B{letters(r, ALNUM, 8)}/{letters(r, ALNUM, 24)}",
    "STRIPE_KEY": lambda r: r.choice(["sk_live_", "rk_test_"]) + letters(r, ALNUM, 24),
    "WEBHOOK_SECRET": lambda r: "whsec_" + letters(r, ALNUM, 32),
    "HUGGINGFACE_TOKEN": lambda r: "hf_" + letters(r, string.ascii_letters, 34),
    "GROQ_KEY": lambda r: "gsk_" + letters(r, ALNUM, 52),
    "SENDGRID_KEY": lambda r: f"SG.{letters(r, URLSAFE, 22)}.{letters(r, URLSAFE, 43)}",
    "NPM_TOKEN": lambda r: "npm_" + letters(r, ALNUM, 36),
    "PYPI_TOKEN": lambda r: "pypi-AgEIcHlwaS5vcmc" + letters(r, URLSAFE, 80) + "1",
    "DIGITALOCEAN_TOKEN": lambda r: "dop_v1_" + letters(r, HEX, 64),
    "VAULT_TOKEN": lambda r: "hvs." + letters(r, ALNUM, 90),
    "DATABRICKS_TOKEN": lambda r: "dapi" + letters(r, HEX, 32),
    "SHOPIFY_TOKEN": lambda r: "shpat_" + letters(r, HEX, 32),
    "NEWRELIC_KEY": lambda r: "NRAK-" + letters(r, string.ascii_uppercase + string.digits, 27),
    "TWILIO_KEY": lambda r: "SK" + letters(r, HEX, 32),
    "MAILGUN_KEY": lambda r: "key-" + letters(r, HEX, 32),
    "NVIDIA_KEY": lambda r: "nvapi-" + letters(r, URLSAFE, 64),
    "FIREWORKS_KEY": lambda r: "fw_3Za" + letters(r, ALNUM, 19),
    "CEREBRAS_KEY": lambda r: "csk-7" + letters(r, string.ascii_lowercase + string.digits, 47),
    "TOGETHER_KEY": lambda r: "tgp_v1_" + letters(r, URLSAFE, 43),
    "JINA_KEY": lambda r: f"jina_{letters(r, HEX, 32)}{letters(r, URLSAFE, 28)}",
    "ELEVENLABS_KEY": lambda r: "sk_" + letters(r, HEX, 48),
    "VOYAGE_KEY": lambda r: "pa-xA1" + letters(r, URLSAFE, 40),
    "ANYSCALE_KEY": lambda r: "esecret_xA1" + letters(r, ALNUM, 23),
    "GOOGLE_KEY (new)": lambda r: "AQ.Ab8RN6" + letters(r, URLSAFE, 44),
    "DOCKER_TOKEN": lambda r: "dckr_pat_" + letters(r, URLSAFE, 27),
    "DOPPLER_TOKEN": lambda r: "dp.pt." + letters(r, ALNUM, 43),
    "TAILSCALE_KEY": lambda r: f"tskey-auth-{letters(r, ALNUM, 12)}-{letters(r, ALNUM, 32)}",
    "BREVO_KEY": lambda r: f"xkeysib-{letters(r, HEX, 64)}-{letters(r, ALNUM, 16)}",
    "BITBUCKET_TOKEN": lambda r: "ATBBxA1" + letters(r, ALNUM, 29),
    "FIGMA_TOKEN": lambda r: "figd_7" + letters(r, URLSAFE, 39),
    "POSTHOG_KEY": lambda r: "phx_" + letters(r, ALNUM, 43),
    "PULUMI_TOKEN": lambda r: "pul-" + letters(r, HEX, 40),
    "TERRAFORM_TOKEN": lambda r: f"{letters(r, ALNUM, 14)}.atlasv1.{letters(r, URLSAFE, 67)}",
    "AGE_KEY": lambda r: "AGE-SECRET-KEY-1" + letters(r, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58),
    "FACEBOOK_TOKEN": lambda r: "EAACxA1" + letters(r, ALNUM, 150),
    "TELEGRAM_TOKEN": lambda r: f"{letters(r, '123456789', 9)}:AA{letters(r, URLSAFE, 33)}",
    "DISCORD_TOKEN": lambda r: (
        base64.b64encode(letters(r, "123456789", 18).encode()).decode()
        + f".{letters(r, ALNUM, 6)}.{letters(r, URLSAFE, 37)}a"
    ),
    "JWT": jwt,
    "PRIVATE_KEY": lambda r: (
        "-----BEGIN RSA PRIVATE KEY-----\n"
        + "\n".join(letters(r, ALNUM + "+/", 64) for _ in range(6))
        + "\n-----END RSA PRIVATE KEY-----"
    ),
    "EMAIL": lambda r: f"{r.choice(NAMES)}.{r.choice(NAMES)}{r.randrange(99)}@{r.choice(HOSTS)}",
    "CARD": lambda r: luhn_card(r, *r.choice([("4", 16), ("51", 16), ("34", 15), ("6011", 16), ("36", 14)])),
    "CARD (grouped)": lambda r: grouped(luhn_card(r, r.choice(["4", "52", "2221"]), 16), r.choice(" -")),
    "IBAN": lambda r: iban(r, *r.choice([("DE", 22), ("FR", 27), ("ES", 24), ("AT", 20), ("CH", 21)])),
    "IBAN (grouped)": lambda r: grouped(iban(r, "DE", 22), " "),
    "PHONE": lambda r: (
        r.choice(["+49 151 ", "+44 7700 9", "+33 6 12 ", "+39 347 "]) + letters(r, "123456789", 7)
    ),
    "PHONE (US)": lambda r: f"+1 {r.randrange(201, 989)}-{r.randrange(201, 989)}-{r.randrange(1000, 9999)}",
    "IP_ADDRESS": lambda r: ".".join(str(r.randrange(11, 120)) for _ in range(4)),
    "IP_ADDRESS (6)": lambda r: (
        f"2001:db8:{letters(r, HEX[1:], 4)}::{letters(r, HEX[1:], 3)}:{r.randrange(1, 9999)}"
    ),
}
NAMES = ["ada", "grace", "linus", "margaret", "alan", "barbara", "donald", "edsger"]
HOSTS = ["example.com", "mail.example.org", "firma.de", "example.co.uk", "sub.dept.university.edu"]


PIECES = ("the", "ing", "\\n", " of", "2024", ".", "ization")


def uuid(rng: random.Random) -> str:
    return "-".join(letters(rng, HEX, length) for length in (8, 4, 4, 4, 12))


def grouped(value: str, separator: str) -> str:
    return separator.join(value[at : at + 4] for at in range(0, len(value), 4))


def password(rng: random.Random) -> str:
    return rng.choice(["hunter", "Tr0ub4dor", "s3cr3t!", "Pa$$w0rd", "correct-horse"]) + letters(
        rng, ALNUM, 5
    )


def token(rng: random.Random) -> str:
    return letters(rng, ALNUM, 32)


#: Values that only their surroundings give away: {} is the value.
CONTEXT: dict[str, tuple[Callable[[random.Random], str], tuple[str, ...]]] = {
    "PASSWORD": (
        password,
        (
            "password={}",
            "password: {}",
            "PASSWORD = '{}'",
            '{{"password": "{}"}}',
            '{{"user": "x", "db_password":"{}", "n": 1}}',
            "{{'passwd': '{}'}}",
            '{{"a": "{{\\"password\\": \\"{}\\"}}"}}',
            "login --user bob --password {} --verbose",
            "PGPASSWORD={} psql",
            "export MYSQL_PWD={}",
            "spring.datasource.password={}",
            "<password>{}</password>",
            '<add key="Password" value="{}"/>',
            "my password is {}, thanks",
            "Passwort: {}",
            "- name: DB_PASSWORD\n  value: {}",
            "Server=db;User Id=sa;Password={};Encrypt=true",
            "postgres://app:{}@db.example.internal:5432/app",
            "redis://:{}@cache:6379/0",
            "amqp://guest:{}@mq.example.com/vhost",
            "mongodb+srv://root:{}@cluster0.example.net/?retryWrites=true",
            "https://user:{}@git.example.com/r.git",
            "curl -u admin:{} https://example.com",
            "user=bob&password={}&next=%2Fhome",
            "пароль: {}",
            "密码：{}",
            "password=>{}",
            "**Password:** {}",
            '{{"key": "password", "value": "{}"}}',
            'password: str = "{}"',
            "'password' => '{}'",
        ),
    ),
    "SECRET": (
        token,
        (
            "api_key={}",
            "apiKey: '{}'",
            '{{"api_key":"{}"}}',
            '{{"accessToken": "{}"}}',
            "aws_secret_access_key = {}",
            "AZURE_OPENAI_API_KEY={}",
            "client_secret={}&grant_type=x",
            "https://example.com/cb?token={}&x=1",
            "https://acct.blob.core.windows.net/c/f?sv=2024&sig={}",
            "https://example.com/v1?key={}",
            "X-Amz-Signature={}",
            "DefaultEndpointsProtocol=https;AccountName=a;AccountKey={};EndpointSuffix=x",
            "Endpoint=sb://x/;SharedAccessKeyName=k;SharedAccessKey={}",
            "--token {}",
            "--api-key={}",
            "refresh_token: {}",
            "headers={{'x-api-key': '{}'}}",
            "x-api-key: {}",
            'SECRET_KEY = "{}"',
            "auth_token={}",
            "token: {}",
            "Incorrect API key provided: {}.",
            "| api key | {} |",
            "Access token - {}",
            "token\t{}",
            "https://{}@example.com/repo.git",
        ),
    ),
    "AUTHORIZATION": (
        token,
        (
            "Authorization: Bearer {}",
            "authorization: Basic {}",
            '{{"Authorization": "Bearer {}"}}',
            "{{'authorization': 'Token {}'}}",
            "Proxy-Authorization: Digest {}",
            "('Authorization', 'Bearer {}')",
            "-H 'Authorization: Bearer {}'",
            "sent bearer {} to the server",
            '"headers": "{{\\"authorization\\": \\"Bearer {}\\"}}"',
        ),
    ),
    "COOKIE": (
        token,
        (
            "Cookie: session={}; theme=dark",
            "Set-Cookie: sid={}; HttpOnly",
            '{{"cookie": "a=1; sid={}"}}',
            "'set-cookie': 'auth={}; Path=/'",
        ),
    ),
}

#: What carries an exact value: prose, logs, JSON at two depths, rows, addresses, tracebacks, markup.
CARRIERS: dict[str, str] = {
    "alone": "{}",
    "prose": "Please use {} for that, and tell me when it is done.",
    "end of sentence": "It is {}.",
    "brackets": "see ({}) or <{}>",
    "json": '{{"role": "user", "content": "it is {} ok"}}',
    "json value": '{{"field": "{}", "n": 3}}',
    "json in json": '{{"arguments": "{{\\"value\\": \\"{}\\"}}"}}',
    "json, new line": '{{"text": "first\\n{}\\nlast"}}',
    "python": "{{'value': '{}', 'n': None}}",
    "csv": "17,{},x",
    "log": "2026-11-21T10:00:00Z INFO handler value={} took 12ms",
    "query": "https://example.com/p?x={}&y=2",
    "markdown": "- **value**: `{}`\n- other",
    "xml": "<v>{}</v>",
    "traceback": 'File "/srv/app.py", line 3, in run\nValueError: bad value {}',
    "tab": "value\t{}\tend",
}
#: Carriers of which the form of an exact value is no part of.
UNSUITABLE = {
    ("query", "PHONE"),
    ("query", "PHONE (US)"),
    ("query", "CARD (grouped)"),
    ("query", "IBAN (grouped)"),
}


def exact_texts(seed: int = 7, rounds: int = 3) -> Iterator[Planted]:
    rng = random.Random(seed)
    for _ in range(rounds):
        for type_, make in EXACT.items():
            for carrier, form in CARRIERS.items():
                value = make(rng)
                if "json" in carrier:
                    value = value.replace("\n", "\\n")
                if (carrier, type_) in UNSUITABLE:
                    continue
                if type_ == "SLACK_WEBHOOK":
                    yield Planted(
                        type_,
                        carrier,
                        "",
                        form.replace("{}", "https://hooks.slack.com/services/{}").format(value, value),
                        value,
                    )
                else:
                    yield Planted(type_, carrier, "", form.format(*[value] * form.count("{}")), value)


def context_texts(seed: int = 7, rounds: int = 4) -> Iterator[Planted]:
    rng = random.Random(seed)
    for _ in range(rounds):
        for type_, (make, forms) in CONTEXT.items():
            for form in forms:
                value = make(rng)
                if "Basic {}" in form:
                    value = base64.b64encode(f"user:{value}".encode()).decode()
                yield Planted(type_, form, "", form.format(value), value)


def slash_u(value: str) -> str:
    return "".join(c if c.isalnum() else f"\\u{ord(c):04x}" for c in value)


ENCODINGS: dict[str, Callable[[str], str]] = {
    "\\u of signs": slash_u,
    "\\u of all": lambda v: "".join(f"\\u{ord(c):04x}" for c in v),
    "\\\\u": lambda v: slash_u(v).replace("\\", "\\\\"),
    "\\\\\\\\u": lambda v: slash_u(v).replace("\\", "\\\\\\\\"),
    "percent": lambda v: urllib.parse.quote(v, safe=""),
    "percent of all": lambda v: "".join(f"%{ord(c):02X}" for c in v),
    "percent twice": lambda v: urllib.parse.quote(urllib.parse.quote(v, safe=""), safe=""),
    "entities": lambda v: "".join(c if c.isalnum() else f"&#{ord(c)};" for c in v),
    "entities in hex": lambda v: "".join(f"&#x{ord(c):x};" for c in v),
    "entities by name": lambda v: html.escape(v).replace("@", "&commat;").replace(".", "&period;"),
    "zero width": "\u200b".join,
    "soft hyphens": lambda v: v[: len(v) // 2] + "\u00ad" + v[len(v) // 2 :],
    "full width": lambda v: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in v),
    "full-width signs": lambda v: v.replace("@", "\uff20").replace(".", "\uff0e"),
    "base64": lambda v: base64.b64encode(f"note: {v}; end".encode()).decode(),
    "base64, bare": lambda v: base64.b64encode(v.encode()).decode(),
    "base64url, bare": lambda v: base64.urlsafe_b64encode(v.encode()).decode().rstrip("="),
}
ENCODED_CARRIERS = ("alone", "prose", "json value", "log", "markdown")
ONLY_DIGITS = {
    "Arabic digits": lambda v: "".join(chr(0x660 + int(c)) if c.isdigit() else c for c in v),
    "no-break spaces": lambda v: v.replace(" ", "\u00a0"),
    "thin spaces": lambda v: v.replace(" ", "\u2009"),
    "en dashes": lambda v: v.replace("-", "\u2013"),
}


def encoded_texts(seed: int = 11) -> Iterator[Planted]:
    rng = random.Random(seed)
    for type_, make in EXACT.items():
        if type_ == "SLACK_WEBHOOK":
            continue
        digits = type_.split()[0] in ("CARD", "PHONE", "IBAN")
        for name, encode in {**ENCODINGS, **(ONLY_DIGITS if digits else {})}.items():
            value = make(rng)
            if encode(value) == value:
                continue
            if name == "base64, bare" and len(base64.b64encode(value.encode()).rstrip(b"=")) < 16:
                continue
            if name == "base64url, bare" and len(base64.b64encode(value.encode()).rstrip(b"=")) < 16:
                continue
            for carrier in ENCODED_CARRIERS:
                needle = encode(value)
                text = CARRIERS[carrier].format(*[needle] * CARRIERS[carrier].count("{}"))
                yield Planted(type_, carrier, name, text, needle)


def harmless_texts(seed: int = 3) -> Iterator[str]:
    """Texts that resemble values and must stay byte for byte."""
    rng = random.Random(seed)
    h = lambda n: letters(rng, HEX, n)  # noqa: E731
    a = lambda n: letters(rng, ALNUM, n)  # noqa: E731
    d = lambda n: letters(rng, string.digits, n)  # noqa: E731
    for _ in range(20):
        yield f"request_id: {uuid(rng)}"
        yield f'{{"id": "{uuid(rng)}", "trace_id": "{h(32)}", "span_id": "{h(16)}"}}'
        yield f"sha256:{h(64)}"
        yield f"commit {h(40)}"
        yield f"traceparent: 00-{h(32)}-{h(16)}-01"
        yield f'{{"id": "chatcmpl-{a(29)}", "object": "chat.completion"}}'
        yield f'{{"tool_call_id": "call_{a(24)}", "type": "function"}}'
        yield f'{{"type": "tool_use", "id": "toolu_{a(24)}"}}'
        yield f'{{"id": "resp_{h(48)}", "previous_response_id": "resp_{h(48)}"}}'
        yield f'{{"id": "msg_{a(24)}", "run": "run_{a(24)}", "thread": "thread_{a(24)}"}}'
        yield f'{{"system_fingerprint": "fp_{h(10)}", "created": 17{d(8)}}}'
        yield f"version {rng.randrange(20)}.{rng.randrange(20)}.{rng.randrange(30)}.{rng.randrange(99)}"
        yield f"langfuse=={rng.randrange(9)}.{rng.randrange(20)}.{rng.randrange(20)}"
        yield f"Mozilla/5.0 (X11; Linux x86_64) Chrome/{rng.randrange(90, 140)}.0.0.0 Safari/537.36"
        yield f"[{rng.random():.12f}, {-rng.random():.9f}, {rng.random() * 1e9:.3f}]"
        yield f'{{"token": " {rng.choice(NAMES)}", "logprob": {-rng.random():.8f}, "bytes": [32, 116]}}'
        yield f'{{"token": "{rng.choice(PIECES)}", "logprob": -0.1}}'
        yield f'{{"prompt_tokens": {d(3)}, "completion_tokens": {d(4)}, "total_tokens": {d(4)}}}'
        yield f'"max_tokens": {rng.randrange(4000)}, "temperature": {rng.random():.2f}'
        yield f"gen_ai.usage.input_tokens={d(4)} cached_tokens={d(3)}"
        yield f"created_at: 2026-{rng.randrange(1, 13):02}-21T10:{rng.randrange(60):02}:00.123456Z"
        yield f"2026-11-21 10:00:{rng.randrange(60):02},{d(3)} INFO on port {rng.randrange(1024, 65535)}"
        yield f"http://localhost:{rng.randrange(1024, 65535)}/v1/traces and 127.0.0.1:{d(4)}, ::1"
        yield f"{rng.randrange(10**9)} rows in {rng.random():.3f} s, 1,234,567 bytes, 100 000 000 more"
        yield f'{{"duration_ns": {d(12)}, "start": 17{d(17)}, "time": 17{d(11)}}}'
        yield f'{{"cache_key": "{h(24)}", "idempotency_key": "{uuid(rng)}"}}'
        yield f"std::vector<int> v; crate::module::{rng.choice(NAMES)}"
        yield f"0x{h(16)} 00:1a:2b:{h(2)}:{h(2)}:{h(2)}"
    yield from FIXED_HARMLESS


FIXED_HARMLESS = (
    "gpt-4o-mini-2024-07-18",
    "claude-sonnet-4-5-20250929",
    "text-embedding-3-large",
    "openai/gpt-4o-mini",
    '{"finish_reason": "stop", "stop_reason": "end_turn", "index": 0}',
    '{"finish_reason": "tool_calls", "model": "gpt-5-mini-2025-08-07"}',
    "The token limit is 8192 tokens per request.",
    "token: a unit of text that a model reads",
    "Token usage: 12 prompt, 34 completion",
    "The password is wrong.",
    "password: must be at least eight characters long",
    "Please reset your password, then sign in again.",
    "Passwords are stored hashed. A secret is something you do not tell.",
    "Forgot password? Enter your email address.",
    "The API key is missing or invalid.",
    "api_key: required",
    "Set OPENAI_API_KEY=$OPENAI_API_KEY in the environment",
    "password=${DB_PASSWORD}",
    "password: {{ vault.password }}",
    "client = OpenAI(api_key=api_key, token=self.token)",
    "api_key=os.environ['OPENAI_API_KEY']",
    "def login(user: str, password: str, token: str | None = None) -> bool:",
    '{"properties": {"password": {"type": "string"}, "token": {"type": "string"}}}',
    '{"required": ["user", "password", "token"]}',
    '{"tokenizer": "cl100k_base", "token_type": "Bearer", "tokens": ["a", "b"]}',
    '{"password": null, "secret": "", "token": false}',
    '{"next_page_token": "CAUQAA", "key": "value", "keys": ["a"]}',
    "basic authentication is not enough; a bearer of good news",
    "Authorization failed: the caller is not allowed to do this",
    "author: Ada, authors: 3, authority: none",
    "monkey=banana, keyboard: qwerty, hockey: yes",
    "import { x } from '@scope/package'; @app.route('/x'); icon@2x.png",
    "pip install 'requests>=2.32,<3' lodash@4.17.21 react@18",
    "git clone git@github.com:org/repo.git",
    "pytest: pass: 12, fail: 3; compass: north; bypass=1",
    "fw_update_firmware_version, pa-system, jina_embeddings_v3, csk-learn, pul-ley, figd_ and dp.pt.example",
    "call sk_init(0), sk_buff_head; EAAB; AQ.About; tskey-; xkeysib-; dckr_pat_; EAAAAAAAAAAAAAAAAAAAAAA",
    "sk-learn is scikit-learn; task-force-one-hundred-and-twenty",
    "class='sk-loading-indicator-wrapper-element'",
    "Section 1.2.3.4.5 of RFC 9110, 3.14159265358979",
    "Cookies are small files. Cookie: a small sweet cake.",
    "The signature of the function is f(x: int) -> str",
    "signature: verified, sign: positive, signal: SIGTERM",
    "https://example.com/a/b?page=2&sort=key&order=desc#section",
    "SELECT id, name FROM users WHERE token_id = ? AND api_key_id = %s",
    "arn:aws:iam::role/service-role/x",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    "the-quick-brown-fox-jumps-over-the-lazy-dog_and_runs_away_internationalization",
    "100% of it, 50%off, a & b &c, AT&T; x&y=z",
    "C:\\users\\new\\table and \\n \\t",
    "Die Straße, naïve café, 東京, Привет мир, שלום",
    "ISBN 978-3-16-148410-0, EAN 4006381333931, order 1234567890123",
    "call me at extension 4711, room 00 12, +5 points, -3 °C, 1+1=2",
    "a += 100000; b = +12345678; timezone +0100, UTC+02:00",
)
