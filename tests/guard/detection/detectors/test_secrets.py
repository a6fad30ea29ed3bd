"""Secrets are found by prefix, by the name next to them, and by credential syntax; little else is."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from somatrace.guard import redact_text
from somatrace.guard.redaction.redact import detectors, find
from tests.guard.detection.corpus import CONTEXT, EXACT, context_texts, exact_texts, harmless_texts, password


def missed(planted):
    return Counter((one.type, one.carrier) for one in planted if one.needle in redact_text(one.text))


# -- the labelled corpus ------------------------------------------------------------------------------------


def test_at_least_95_of_100_planted_values_are_found(capsys):
    exact, context = list(exact_texts()), list(context_texts())

    missing = missed(exact), missed(context)

    recall = [1 - count.total() / len(texts) for count, texts in zip(missing, (exact, context), strict=True)]
    with capsys.disabled():
        print(
            f"\nrecall: {recall[0]:.1%} of {len(exact)} values in {len(EXACT)} forms by shape, "
            f"{recall[1]:.1%} of {len(context)} by context"
        )
    assert min(recall) >= 0.95, missing


def test_at_most_15_of_1000_harmless_texts_are_touched(capsys):
    harmless = list(harmless_texts())

    touched = [text for text in harmless if redact_text(text) != text]

    with capsys.disabled():
        print(f"\nfalse hits: {len(touched) / len(harmless):.2%} of {len(harmless)} harmless texts")
    assert len(touched) / len(harmless) <= 0.015, touched[:20]


def test_a_marker_names_the_type_of_the_value():
    for planted in exact_texts(rounds=1):
        if planted.carrier == "prose":
            assert f"[{planted.type.split()[0]}]" in redact_text(planted.text), planted


@pytest.mark.parametrize("type_", sorted(CONTEXT))
def test_a_value_found_by_context_is_named_after_its_type(type_):
    named = [f"[{type_}]" in redact_text(one.text) for one in context_texts(rounds=1) if one.type == type_]

    assert sum(named) / len(named) >= 0.9


# -- known prefixes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        # the text of a gateway's 401 response, which echoes the key
        (
            "Incorrect API key provided: sk-proj-Zx81" + "a1B2" * 12 + ". You can find your API key at",
            "Incorrect API key provided: [OPENAI_KEY]. You can find your API key at",
        ),
        (
            "id AKIAQ3EGTXKLRZ6HVSOM secret wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzKEY",
            "id [AWS_KEY_ID] secret [AWS_SECRET]",
        ),
        (
            '{"private_key": "-----BEGIN PRIVATE KEY-----\\nMIIEvQ\\n-----END PRIVATE KEY-----\\n"}',
            '{"private_key": "[SECRET]"}',
        ),
        (
            "key:\\n-----BEGIN PRIVATE KEY-----\\nMIIEvQ\\n-----END PRIVATE KEY-----\\nend",
            "key:\\n[PRIVATE_KEY]\\nend",
        ),
        (
            "cut -----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtLYX5CB04fSeQ6tF1aY",
            "cut [PRIVATE_KEY]",
        ),
        ("MHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtL\n-----END EC PRIVATE KEY----- rest", "[PRIVATE_KEY] rest"),
    ],
)
def test_keys_are_found_whole_or_cut(text, clean):
    assert redact_text(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "sk-loading-spinner-component-wrapper-2",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----",
        "SKU SK1234, key-value, xoxo, npm_config_registry, hf_hub_download, glance-",
        "AKIAlowercaseisnokey eyJ eyJhbGciOi shpat_ dapi whsec_",
        "pypi-publish-action-for-github-workflows-and-friends",
    ],
)
def test_texts_that_only_begin_like_keys_stay(text):
    assert redact_text(text) == text


# -- names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("password=hunter2;user=bob", "password=[PASSWORD];user=bob"),
        ("password=a&b!c&x=c", "password=[PASSWORD]&x=c"),
        ('password: "with space and \\" quote" x', 'password: "[PASSWORD]" x'),
        ("passwords: 'a1b2c3'", "passwords: '[PASSWORD]'"),
        ('{"Authorization":["Bearer abcdef123456"]}', '{"Authorization":["[AUTHORIZATION]"]}'),
        ("(b'authorization', b'Bearer abcdef123456')", "(b'authorization', b'[AUTHORIZATION]')"),
        ("Cookie: a=1; b=2\r\nHost: x", "Cookie: [COOKIE]\r\nHost: x"),
        ('Set-Cookie: sid="z1x2c3v4"; Path=/\nHost: x', "Set-Cookie: [COOKIE]\nHost: x"),
        ('cookie: theme=dark; sid="z1x2c3v4"; x=1', "cookie: [COOKIE]"),
        ('Cookie: a="q9w8e7r6"; sid="z1x2c3v4"', "Cookie: [COOKIE]"),
        (
            'Authorization: Digest username="Mufasa", response="6629fae4c0ffee0011223344"',
            "Authorization: [AUTHORIZATION]",
        ),
        ('{"h":"Cookie: sid=\\"z1x2c3v4\\"; a=1","n":"b"}', '{"h":"Cookie: [COOKIE]","n":"b"}'),
        ('{"h":"Cookie: a=1; sid=","n":"b"}', '{"h":"Cookie: [COOKIE]","n":"b"}'),
        ('["Cookie: a=1; sid=" , "n"]', '["Cookie: [COOKIE]" , "n"]'),
        (
            '{"a":"{\\"h\\":\\"Cookie: a=1; b=\\",\\"n\\":\\"b\\"}"}',
            '{"a":"{\\"h\\":\\"Cookie: [COOKIE]\\",\\"n\\":\\"b\\"}"}',
        ),
        (
            'curl -H "Cookie: a=" -H "X: y" -H "Cookie: a=12"',
            'curl -H "Cookie: a=" -H "X: y" -H "Cookie: [COOKIE]"',
        ),
        ("curl -H 'Cookie: a=\"b1\"; c=2' -H 'X: y'", "curl -H 'Cookie: [COOKIE]' -H 'X: y'"),
        ("GET /?api_key=abcdef HTTP/1.1", "GET /?api_key=[SECRET] HTTP/1.1"),
        ("AccountKey=" + "Ab3" * 20 + "==;EndpointSuffix=x", "AccountKey=[SECRET];EndpointSuffix=x"),
        ('export TOKEN="abc123def456"', 'export TOKEN="[SECRET]"'),
        ("(password=hunter2)", "(password=[PASSWORD])"),
        ("password is: hunter2!", "password is: [PASSWORD]"),
        ("mot de passe : s3same", "mot de passe : [PASSWORD]"),
    ],
)
def test_only_the_value_is_replaced(text, clean):
    assert redact_text(text) == clean


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (
            "Command '['false', '--password', 'hunter2Secret9']' returned non-zero exit status 1.",
            "Command '['false', '--password', '[PASSWORD]']' returned non-zero exit status 1.",
        ),
        ('["run", "--api-key", "abc123def456", "-v"]', '["run", "--api-key", "[SECRET]", "-v"]'),
        (
            "[(b'Host', b'x'), (b'x-api-key', b'a1b2c3d4e5')]",
            "[(b'Host', b'x'), (b'x-api-key', b'[SECRET]')]",
        ),
        (
            "[('Authorization', 'Bearer a1b2c3d4'), ('X-Auth-Token', 'a1b2c3d4e5f6a7b8')]",
            "[('Authorization', '[AUTHORIZATION]'), ('X-Auth-Token', '[SECRET]')]",
        ),
        ("('api-key', 'abcdef0123456789abcdef0123456789')", "('api-key', '[SECRET]')"),
        (
            '[["x-auth-token","9f8e7d6c5b4a3210ffee"],["host","x"]]',
            '[["x-auth-token","[SECRET]"],["host","x"]]',
        ),
        (
            '{"a":"[ [ \\"x-auth-token\\", \\"9f8e7d6c5b4a3210ffee\\" ] ]"}',
            '{"a":"[ [ \\"x-auth-token\\", \\"[SECRET]\\" ] ]"}',
        ),
        ("[('password', 'hunter2')]", "[('password', '[PASSWORD]')]"),
        ('{"passwords": ["hunter2", "other", ""]}', '{"passwords": ["[PASSWORD]", "[PASSWORD]", ""]}'),
        ('{"passwords":[\n  "a1b",\n  "c2d"\n]}', '{"passwords":[\n  "[PASSWORD]",\n  "[PASSWORD]"\n]}'),
        ('{"api_keys":["abcdefghij12345678901234"]}', '{"api_keys":["[SECRET]"]}'),
        ('{"value":"hunter2","name":"password"}', '{"value":"[PASSWORD]","name":"password"}'),
        ('{"name":"password","value":"hunter2"}', '{"name":"password","value":"[PASSWORD]"}'),
        (
            '{"key": "password", "type": "text", "value": "hunter2"}',
            '{"key": "password", "type": "text", "value": "[PASSWORD]"}',
        ),
        (
            '{"a": "{\\"value\\": \\"hunter2\\", \\"name\\": \\"password\\"}"}',
            '{"a": "{\\"value\\": \\"[PASSWORD]\\", \\"name\\": \\"password\\"}"}',
        ),
        ('{"password":{"value":"hunter2"}}', '{"password":{"value":"[PASSWORD]"}}'),
        ('"password":\n   "hunter2"', '"password":\n   "[PASSWORD]"'),
        ('"{\\n  \\"password\\":\\n  \\"hunter2\\"}"', '"{\\n  \\"password\\":\\n  \\"[PASSWORD]\\"}"'),
        ("password:\n  hunter2\nuser: bob", "password:\n  [PASSWORD]\nuser: bob"),
        ("password: |\n  one two\n  three\nuser: bob", "password: |\n  [PASSWORD]\nuser: bob"),
        ("password: >-\n  hunter2\n", "password: >-\n  [PASSWORD]\n"),
        ('"password:\\n  hunter2\\nuser: bob"', '"password:\\n  [PASSWORD]\\nuser: bob"'),
        ("password -> hunter2Secret9", "password -> [PASSWORD]"),
        ("password → hunter2Secret9", "password → [PASSWORD]"),
        ("Server=x;User Id=sa;Password=a1 b2;", "Server=x;User Id=sa;Password=[PASSWORD];"),
        ("Password=a1 b2;Server=x", "Password=[PASSWORD];Server=x"),
        ("host=h password=hunter2 user=bob;", "host=h password=[PASSWORD] user=bob;"),
    ],
)
def test_a_value_may_be_separated_from_its_name(text, clean):
    assert redact_text(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "the password: is required",
        "password:\n  type: string\n  description: of the user",
        "password:\n  required\n",
        "Password:\n\nChoose one that nobody guesses.",
        "password: |\n",
        "def check(password) -> bool: ...",
        "reset_password -> login -> home",
        "secret::Value, password :: Text",
        "parser.add_argument('--password', '-p', help='of the user')",
        '@click.option("--password", "db_password", prompt=True)',
        "['--token', '--verbose']",
        '["password", "token"]',
        '{"required": ["password", "email"]}',
        '("password", "hunter") ("password", "hunter2", "x") (1, "password", "hunter2")',
        '[("password", "Your password, 8 letters"), ("token", "Token 2")]',
        'bytes("password", "utf-8")',
        '{"name": "password", "type": "string", "required": true}',
        '{"name": "reset_password", "parameters": {"value": "email"}}',
        '{"value": "Bob", "name": "user"}, {"name": "password"}',
        '{"properties": {"password": {"type": "string"}}, "api_keys": 12345}',
        "mysql -u root -p mydb; docker run -p3306:3306 mysql; mysql -p$PASSWORD",
        "Basic Knowledge, basic information, Basic introduction",
    ],
)
def test_sentences_schemas_and_code_about_passwords_stay(text):
    assert redact_text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "password=[PASSWORD]",
        "password=$PASSWORD token=${TOKEN}",
        "password: ********",
        "api_key=<your key>",
        'token="{token}"',
        "password=%s",
        "token=self.token, password=get_password()",
        "pwd=/srv/app",
        "cookie consent: accepted",
        '{"password": [], "token": {}, "secret": null}',
    ],
)
def test_a_name_without_a_value_stays(text):
    assert redact_text(text) == text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("DB_PASS_PROD=hunter2", "DB_PASS_PROD=[PASSWORD]"),
        ("DB_PASS_TEST_OLD=hunter2", "DB_PASS_TEST_OLD=[PASSWORD]"),
        ("API_TOKEN_DEV=abcdef123456", "API_TOKEN_DEV=[SECRET]"),
        ("TOKEN_LIVE=abcdef123456", "TOKEN_LIVE=[SECRET]"),
        ("CLIENT_SECRET_STAGING=abcdef123456", "CLIENT_SECRET_STAGING=[SECRET]"),
        ('{"api_key_prod":"abcdef123456"}', '{"api_key_prod":"[SECRET]"}'),
        ('{"secretString":"abcdef123456"}', '{"secretString":"[SECRET]"}'),
        ('{"secret_value":"abcdef"}', '{"secret_value":"[SECRET]"}'),
        ('{"apiKeyValue":"abcdef123456"}', '{"apiKeyValue":"[SECRET]"}'),
        (
            "password_text=hunter2 password_plain_text=x1y2z3",
            "password_text=[PASSWORD] password_plain_text=[PASSWORD]",
        ),
    ],
)
def test_a_name_may_end_in_an_environment_or_format(text, clean):
    assert redact_text(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "password_text=Password",
        '{"password_text": "Forgot your password 1?", "password_policy_text": "abc12345"}',
        '{"token_text": "internationalization12", "token_value": "a1b2c3d4e5f6"}',
        '{"key_value": "a1b2c3d4e5f6a7b8c9d0e1", "key_text": "a1b2c3d4e5f6a7b8c9d0e1"}',
        '{"cookie_value": "a=b12", "cookie_text": "a=b12"}',
        '{"prompt_tokens_test": 12345678901, "max_tokens_prod": "12345678901a"}',
        '{"next_token_value": "12345678901a", "secret_name_test": "abc12345"}',
        "pass_test=42 pass_value=12 first_pass_value=0.25 pass_new: 4",
        '{"new": "a1b2c3", "value": "b1c2d3", "text": "c1d2e3", "plain_text_value": "a1b2c3d4e5"}',
    ],
)
def test_a_text_or_a_count_of_secrets_stays(text):
    assert redact_text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        '{"s3":{"object":{"key":"uploads/2024/11/28/report-123456.pdf"}}}',
        '{"key":"550e8400-e29b-41d4-a716-446655440000"}',
        '{"key":"users/550e8400-e29b-41d4-a716-446655440000/avatar.png"}',
        '{"key": "chunk-0001-of-0128-abcdef"}',
        "Kafka record key=order-2024-000123456",
        "the key is order-2024-000123456, | key | order-2024-000123456 |",
        *(
            f'{{"{name}_key": "a1b2c3d4e5f6a7b8c9d0e1f2"}}'
            for name in "s3 blob file redis document map lock object record cache row partition".split()  # noqa: SIM905
        ),
    ],
)
def test_record_keys_are_not_secrets(text):
    assert redact_text(text) == text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ('{"key":"a1b2c3d4e5f6a7b8c9d0e1f2"}', '{"key":"[SECRET]"}'),
        ('{"key":"QxRtYuIoPaSdFgHjKlZxCvBnMq"}', '{"key":"[SECRET]"}'),
        ("key: Zx81-a1b2c3d4e5f6a7b8", "key: [SECRET]"),
        ("GET /v1?key=550e8400-e29b-41d4-a716-446655440000", "GET /v1?key=[SECRET]"),
        ("HEROKU_KEY=550e8400-e29b-41d4-a716-446655440000", "HEROKU_KEY=[SECRET]"),
    ],
)
def test_a_key_other_than_an_id_is_replaced(text, clean):
    assert redact_text(text) == clean


@pytest.mark.parametrize("depth", range(5))
def test_a_name_and_its_value_are_found_in_json_in_strings_in_json(depth):
    import json
    import random

    value = password(random.Random(depth))
    text = json.dumps({"password": value, "next": 1})
    for _ in range(depth):
        text = json.dumps({"body": text})

    clean = redact_text(text)

    assert value not in clean
    for _ in range(depth):
        clean = json.loads(clean)["body"]
    assert json.loads(clean) == {"password": "[PASSWORD]", "next": 1}


@pytest.mark.parametrize(
    "value", ["marigold9", 'mari"gold9', "mari\\gold9", "mari'gold9", "mari}gold]9", "mari gold 9"]
)
@pytest.mark.parametrize("depth", range(4))
@pytest.mark.parametrize("write", [json.dumps, repr], ids=["json", "repr"])
def test_a_value_with_quotes_is_found_whole_in_nested_texts(write, depth, value):
    text = json.dumps({"user": "kim", "password": value, "next": 1})
    for _ in range(depth):
        text = write({"body": text, "size": 7})

    clean = redact_text(text)

    assert "mari" not in clean
    assert "gold" not in clean
    assert "[PASSWORD]" in clean
    assert "next" in clean


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ('password = """marigold9"""', 'password = """[PASSWORD]"""'),
        ("password = '''mari gold9'''", "password = '''[PASSWORD]'''"),
        ('login(password=r"""mari"gold9""", user="kim")', 'login(password=r"""[PASSWORD]""", user="kim")'),
        ('conf = {"password": """marigold9"""}', 'conf = {"password": """[PASSWORD]"""}'),
        ('password = """\n  mari\n  gold9\n"""\nuser = 1', 'password = """\n  [PASSWORD]\n"""\nuser = 1'),
        ('api_key: """marigold9"""', 'api_key: """[SECRET]"""'),
    ],
)
@pytest.mark.parametrize("depth", range(3))
def test_a_value_in_triple_quotes_is_replaced(text, clean, depth):
    for _ in range(depth):
        text, clean = json.dumps({"code": text}), json.dumps({"code": clean})
    assert redact_text(text) == clean


def test_a_value_in_triple_quotes_may_be_cut_off():
    assert redact_text('password = """mari"gold9') == 'password = """[PASSWORD]'


@pytest.mark.parametrize(
    "text",
    [
        'x = input("""Enter your password: """)\ny = """of the user"""',
        '"""The password module."""',
        'password = """"""\ntext = """nothing here"""',
        'password = """{password}"""',
        'def f(password=""""""): ...',
        "'''Sets the password:''' and then '''the name'''",
    ],
)
def test_triple_quotes_around_other_texts_stay(text):
    assert redact_text(text) == text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Key", "Value"),
        ("Name", "Value"),
        ("NAME", "VALUE"),
        ("key", "value"),
        ("header", "val"),
        ("k", "v"),
        ("ParameterKey", "ParameterValue"),
        ("headerName", "headerValue"),
        ("OptionName", "Value"),
        ("Name", "StringValue"),
        ("env", "value"),
    ],
)
@pytest.mark.parametrize("depth", range(3))
def test_the_value_of_an_object_with_a_name_and_a_value_is_replaced(name, value, depth):
    for entry in (
        {name: "DB_PASSWORD", value: "%s"},
        {value: "%s", name: "DB_PASSWORD"},
        {name: "DB_PASSWORD", "Type": "SecureString", "PropagateAtLaunch": True, value: "%s"},
    ):
        text = json.dumps([entry, {name: "REGION", value: "eu-west-1"}], indent=2)
        for _ in range(depth):
            text = json.dumps({"body": text})
        assert redact_text(text % "marigold9") == text % "[PASSWORD]"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (
            '{"key": "db.password", "value": {"stringValue": "marigold9"}}',
            '{"key": "db.password", "value": {"stringValue": "[PASSWORD]"}}',
        ),
        ("- Key: DB_PASSWORD\n  Val: marigold9", "- Key: DB_PASSWORD\n  Val: [PASSWORD]"),
        (
            "<key>Password</key>\n<string>marigold9</string>",
            "<key>Password</key>\n<string>[PASSWORD]</string>",
        ),
        (
            "<Name>DB_PASSWORD</Name><Value>marigold9</Value>",
            "<Name>DB_PASSWORD</Name><Value>[PASSWORD]</Value>",
        ),
        ("Key=DB_PASSWORD,Value=marigold9", "Key=DB_PASSWORD,Value=[PASSWORD]"),
    ],
)
def test_entries_of_other_formats_are_replaced(text, clean):
    assert redact_text(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        '{"Key": "Environment", "Value": "production-eu-west-1"}',
        '{"Name": "PasswordPolicy", "Type": "String", "Value": "at least 12 characters"}',
        '{"name": "reset_password", "content": "A link was sent to you."}',
        '{"name": "password-hasher", "v": "2.0.1"}',
        '{"k": "3", "v": "password"}',
        '[{"Key": "Name", "Value": "password service"}, {"Key": "Owner", "Value": "auth team"}]',
        "<key>PasswordLabel</key><string>Your password</string>",
        "<label>Password</label><input type=text>",
    ],
)
def test_objects_with_other_names_stay(text):
    assert redact_text(text) == text


def test_names_within_an_argon2_hash_do_not_end_the_value():
    text = "password: $argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsg"

    assert redact_text(text) == "password: [PASSWORD]"
    assert redact_text("password=hunter2,t=5 s") == "password=[PASSWORD],t=5 s"


# -- truncated texts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ('password="correct horse batt', 'password="[PASSWORD]'),
        ('{"password":"correct hors', '{"password":"[PASSWORD]'),
        ('{"a": "{\\"password\\": \\"correct hors', '{"a": "{\\"password\\": \\"[PASSWORD]'),
        ("the key is sk-proj-Ab1Ab1Ab", "the key is [OPENAI_KEY]"),
        ('{"text": "sk-ant-api03-aB3dE6', '{"text": "[ANTHROPIC_KEY]'),
        ("ghp_aB3dE6", "[GITHUB_TOKEN]"),
        ("id AKIAQ3EGTX", "id [AWS_KEY_ID]"),
        ("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWI", "[JWT]"),
        ("mail ada.lovelace@example", "mail [EMAIL]"),
        ("mail ada.lovelace@example.c", "mail [EMAIL]"),
    ],
)
def test_half_a_value_at_the_end_of_a_text_is_replaced(text, clean):
    assert redact_text(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "npm_config_registry2",
        "see xai-grok-4-fast",
        "user@localhost",
        "first.last@localhost",
        "react@18.2.0",
        "foo@v1.2.3",
        "pypi-publish2",
        "AKIAQ3EGTX and more",
        "whsec_",
        "paid with 411111111111",
    ],
)
def test_other_text_endings_are_not_taken_for_half_a_value(text):
    assert redact_text(text) == text


# -- credential syntax --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("postgresql+psycopg://app:p%40ss@db:5432/app", "postgresql+psycopg://app:[PASSWORD]@db:5432/app"),
        ("redis://:s3cret@cache:6379/0", "redis://:[PASSWORD]@cache:6379/0"),
        ("amqp://u:a@b@mq.example.com/v", "amqp://u:[PASSWORD]@mq.example.com/v"),
        ("https://example.com:8080/a/user@x", "https://example.com:8080/a/user@x"),
        ("postgresql://app:K8x/aB3dEf+9Zw==@db:5432/app", "postgresql://app:[PASSWORD]@db:5432/app"),
        ("URI=postgresql://u:Zx9/Kq2w@h/d?x=a@b", "URI=postgresql://u:[PASSWORD]@h/d?x=a@b"),
        ("redis://default:AbC/dEf123+x=@host:6379/0", "redis://default:[PASSWORD]@host:6379/0"),
        ("dsn postgres://u:hunt/er2zz@h/d", "dsn postgres://u:[PASSWORD]@h/d"),
        ("mq amqp://u:a/b@c@h/v", "mq amqp://u:[PASSWORD]@h/v"),
        ("Basic dXNlcjpodW50ZXIy", "Basic [AUTHORIZATION]"),
        ("Basic Ym9iOnDDpHNzd8O2cmQtOTk=", "Basic [AUTHORIZATION]"),
        ("Basic Ym9iOnDkc3N39nJk", "Basic [AUTHORIZATION]"),
        ("curl -u me:hunter2 https://x", "curl -u me:[PASSWORD] https://x"),
        ("mysql -uroot -phunter2 db", "mysql -uroot -p[PASSWORD] db"),
        ("mysqldump -h x -p'hunter2' db", "mysqldump -h x -p'[PASSWORD]' db"),
        ("sshpass -p hunter2 ssh x", "sshpass -p [PASSWORD] ssh x"),
        ("jdbc:oracle:thin:scott/tiger9@db:1521", "jdbc:oracle:thin:scott/[PASSWORD]@db:1521"),
        ("postgres://u:pa'ss@h/db", "postgres://u:[PASSWORD]@h/db"),
        ("postgresql://app:K8x/aB3d+9Zw==@db:5432/app", "postgresql://app:[PASSWORD]@db:5432/app"),
        ("URI=postgresql+psycopg://u:Zx9/Kq2w@h/d", "URI=postgresql+psycopg://u:[PASSWORD]@h/d"),
        ("redis://default:AbC/dE+x=@cache:6379/0", "redis://default:[PASSWORD]@cache:6379/0"),
        ("postgresql://db:5432/app?x=a@b", "postgresql://db:5432/app?x=a@b"),
        ("git://host/path:x/y@v1", "git://host/path:x/y@v1"),
        ("['http://a:80','c@example.com']", "['http://a:80','[EMAIL]']"),
        ("eyJhbGciOiJkaXIifQ..abcdefghijklm.abcdefghijklmnop.abcdefghijk", "[JWT]"),
    ],
)
def test_credentials_are_replaced_and_the_url_stays(text, clean):
    assert redact_text(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://db:5432/app?x=a@b",
        "git://host/path@v1",
        "git://host:9418/path@v1",
        "git+https://host:path/of/it@v1",
        "WSS://host:path/of/it@v1",
        "git+ssh://example.com:org/repository@v1",
        "mongodb://a:27017,b:27017/db?x=a@b",
        "postgresql://db:${PORT}/app/a@b",
        "postgresql://host:port/app?x=a@b",
        "file://C:/dir/icon@2x",
        "oci://registry:5000/image@sha256",
    ],
)
def test_an_at_sign_in_a_url_path_does_not_end_a_password(text):
    assert redact_text(text) == text


def test_secrets_take_precedence_over_other_types():
    [hit] = find("password=ada@example.com")

    assert (hit.type, hit.category) == ("PASSWORD", "secrets")


def test_every_detector_describes_its_values():
    for detector in detectors():
        assert detector.about
        assert detector.types
        assert all(type_.isupper() for type_ in detector.types)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("pa\u017f\u017fword: hunter2-Zq81", "pa\u017f\u017fword: [PASSWORD]"),
        ("pas\u017fword=hunter2", "pas\u017fword=[PASSWORD]"),
        ("o\ufb03ce_secret: hunter2-Zq", "o\ufb03ce_secret: [SECRET]"),
        ("\ufb01rst\uff3fpassword=hunter2", "\ufb01rst\uff3fpassword=[PASSWORD]"),
    ],
)
def test_names_are_read_through_ligatures_and_the_long_s(text, clean):
    assert redact_text(text) == clean


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ('password is: "x y"', 'password is: "[PASSWORD]"'),
        ("The password is: 'correct horse battery'", "The password is: '[PASSWORD]'"),
        ("the password is 'horse 42 battery'", "the password is '[PASSWORD]'"),
        ("Password:\nhunter2-Zq81\n", "Password:\n[PASSWORD]\n"),
        ("Password:\n\nhunter2-Zq81", "Password:\n\n[PASSWORD]"),
        ("Your password is\nhunter2-Zq81\nRegards", "Your password is\n[PASSWORD]\nRegards"),
        ("Your password is:\r\nhunter2-Zq81\r\n", "Your password is:\r\n[PASSWORD]\r\n"),
    ],
)
def test_stated_passwords_may_be_quoted_phrases_or_on_the_next_line(text, clean):
    assert redact_text(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "Password:\nconfirm password:\n",
        "Password:\nMust be 8 characters",
        "Password:\n12 characters\n",
        "password:\nname: x1234567\n",
        "Your password is\n8characters or longer",
        "the password is 'not valid'",
        'password is "too short": try again',
        "Enter your password\nThen click OK",
    ],
)
def test_lines_and_quotations_about_passwords_stay(text):
    assert redact_text(text) == text
