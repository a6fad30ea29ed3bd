"""Detect secrets by known prefixes: provider and cloud keys, tokens, private keys.

The prefixes are documented by the issuers or appear in the keys they display.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from somatrace.guard.detection.detectors.prefixes import prefixed
from somatrace.guard.detection.detectors.secret_names import looks_random
from somatrace.guard.detection.engine import LEFT, Detector, Locate, ValueSpan, compiled

_PEM_BEGIN: Final = r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_PEM_BODY: Final = r"[A-Za-z0-9+/=\s\\,:.()-]"
#: A body without an end marker, or the reverse: the text was truncated within a key.
_PEM_CUT: Final = r"(?:[A-Za-z0-9+/=\s]|\\[nr]){0,8192}"
_PEM_LIMIT: Final = 16384


def _long_segment(value: str) -> bool:
    """Whether a part between dashes is long and mixed like a key, unlike names made of words."""
    if looks_random(value, 20):
        return True
    return (
        compiled(r"[0-9].*[0-9]").search(value) is not None
        and compiled(r"[A-Za-z0-9]{16}|(?=[\w-]{40})").search(value) is not None
    )


def _mixed(value: str) -> bool:
    return not value.isdigit() and any(character.isdigit() for character in value)


def _key_like(value: str) -> bool:
    """Whether a value mixes uppercase letters, lowercase letters and digits."""
    return all(re.search(one, value[3:]) for one in ("[0-9]", "[a-z]", "[A-Z]"))


def _private_key(text: str, at: int) -> ValueSpan | None:
    begin = compiled(_PEM_BEGIN).match(text, at)
    if begin is None:
        return None
    end = compiled(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----").search(
        text, begin.end(), at + _PEM_LIMIT
    )
    if end is not None and compiled(_PEM_BODY + "*+").fullmatch(text, begin.end(), end.start()):
        return ValueSpan(at, end.end(), "PRIVATE_KEY")
    cut = compiled(_PEM_CUT).match(text, begin.end())
    return ValueSpan(at, cut.end() if cut else begin.end(), "PRIVATE_KEY")


def _private_key_end(text: str, at: int) -> ValueSpan | None:
    end = compiled(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----").match(text, at)
    if end is None:
        return None
    before = text[max(0, at - 8192) : at]
    body = len(before) - len(
        before.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\\\r\n ")
    )
    return ValueSpan(at - body, end.end(), "PRIVATE_KEY")


def _aws_secret(text: str, at: int) -> ValueSpan | None:
    """40 characters of base64 within 120 characters after an access key id."""
    if compiled(LEFT + r"A[KS]IA[A-Z0-9]{16}").match(text, at) is None:
        return None
    token = compiled(r"(?<![A-Za-z0-9/+=])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])").search(
        text, at + 20, at + 180
    )
    if token is None or compiled(r"[0-9a-f]{40}").fullmatch(token[0]):
        return None
    return ValueSpan(*token.span(), "AWS_SECRET")


def _telegram(text: str, at: int) -> ValueSpan | None:
    digits = len(text[max(0, at - 11) : at]) - len(text[max(0, at - 11) : at].rstrip("0123456789"))
    match = compiled(r":AA[\w-]{33}(?![\w-])").match(text, at)
    return ValueSpan(at - digits, match.end(), "TELEGRAM_TOKEN") if match and 8 <= digits <= 10 else None


def _discord(text: str, at: int) -> ValueSpan | None:
    """Three parts, the first a numeric user id in base64."""
    at += text[at - 1 : at] == "\\"
    match = compiled(LEFT + r"[MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,40}(?![\w-])").match(text, at)
    if match is None:
        return None
    try:
        number = base64.urlsafe_b64decode(match[0].partition(".")[0] + "==")
    except (binascii.Error, ValueError):
        return None
    return ValueSpan(*match.span(), "DISCORD_TOKEN") if number.isdigit() else None


def _raw(type_: str, about: str, stems: tuple[bytes, ...], locate: Locate, reach: int = 256) -> Detector:
    return Detector((type_,), "secrets", about, "raw", stems, locate, reach=reach)


PREFIXED: Final[tuple[Detector, ...]] = (
    prefixed(
        "OPENAI_KEY",
        "`sk-`, `sk-proj-`, `sk-svcacct-`, `sk-admin-`; also keys of this form from gateways",
        ("sk-",),
        r"sk-(?!ant-|lf-|or-)[A-Za-z0-9_-]{20,220}",
        check=_long_segment,
    ),
    prefixed(
        "OPENAI_KEY",
        "the beginning of an OpenAI key at the end of a text",
        ("sk-proj-", "sk-svcacct-", "sk-admin-"),
        r"sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{20,220}",
        check=_long_segment,
        cut=True,
    ),
    prefixed("ANTHROPIC_KEY", "`sk-ant-`", ("sk-ant-",), r"sk-ant-[\w-]{16,220}", cut=True),
    prefixed("OPENROUTER_KEY", "`sk-or-`", ("sk-or-",), r"sk-or-[\w-]{16,140}", check=_mixed, cut=True),
    prefixed(
        "LANGFUSE_KEY",
        "`sk-lf-`, `pk-lf-`",
        ("sk-lf-", "pk-lf-"),
        r"[sp]k-lf-[\w-]{8,64}",
        check=_mixed,
        cut=True,
    ),
    prefixed("LANGSMITH_KEY", "`lsv2_pt_`, `lsv2_sk_`", ("lsv2_",), r"lsv2_[a-z]{2}_\w{30,100}", cut=True),
    prefixed(
        "HUGGINGFACE_TOKEN", "`hf_`, `api_org_`", ("hf_", "api_org_"), r"(?:hf|api_org)_[A-Za-z0-9]{28,64}"
    ),
    prefixed("GROQ_KEY", "`gsk_`", ("gsk_",), r"gsk_[A-Za-z0-9]{20,80}", cut=True),
    prefixed("XAI_KEY", "`xai-`", ("xai-",), r"xai-[A-Za-z0-9]{40,120}", cut=True),
    prefixed("PERPLEXITY_KEY", "`pplx-`", ("pplx-",), r"pplx-[A-Za-z0-9]{32,64}", cut=True),
    prefixed("REPLICATE_TOKEN", "`r8_`", ("r8_",), r"r8_[A-Za-z0-9]{36,44}", cut=True),
    prefixed("PINECONE_KEY", "`pcsk_`", ("pcsk_",), r"pcsk_[A-Za-z0-9_]{30,120}", cut=True),
    prefixed("NVIDIA_KEY", "`nvapi-`", ("nvapi-",), r"nvapi-[\w-]{40,80}", cut=True),
    prefixed("FIREWORKS_KEY", "`fw_`", ("fw_",), r"fw_[A-Za-z0-9]{20,24}(?!\w)", check=_key_like),
    prefixed("CEREBRAS_KEY", "`csk-`", ("csk-",), r"csk-[a-z0-9]{40,64}(?![\w-])", check=_mixed, cut=True),
    prefixed("TOGETHER_KEY", "`tgp_v1_`", ("tgp_v1_",), r"tgp_v1_[\w-]{40,50}", cut=True),
    prefixed("JINA_KEY", "`jina_` and 32 hex digits", ("jina_",), r"jina_[0-9a-f]{32}[\w-]{20,40}", cut=True),
    prefixed("ELEVENLABS_KEY", "`sk_` and 48 hex digits", ("sk_",), r"sk_[0-9a-f]{48}(?!\w)"),
    prefixed("VOYAGE_KEY", "`pa-` and 43 characters", ("pa-",), r"pa-[\w-]{43}(?![\w-])", check=_key_like),
    prefixed(
        "ANYSCALE_KEY", "`esecret_`", ("esecret_",), r"esecret_[A-Za-z0-9]{20,40}", check=_key_like, cut=True
    ),
    prefixed("GOOGLE_KEY", "`AQ.Ab`", ("AQ.Ab",), r"AQ\.Ab[\w-]{40,60}", cut=True),
    prefixed("DOCKER_TOKEN", "`dckr_pat_`, `dckr_oat_`", ("dckr_",), r"dckr_[op]at_[\w-]{20,40}", cut=True),
    prefixed(
        "DOPPLER_TOKEN",
        "`dp.pt.`, `dp.st.` and similar",
        ("dp.",),
        r"dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[\w-]{2,35}\.)?[A-Za-z0-9]{40,44}(?!\w)",
    ),
    prefixed(
        "TAILSCALE_KEY",
        "`tskey-`",
        ("tskey-",),
        r"tskey-(?:[a-z]{2,10}-)?[A-Za-z0-9]{8,20}-[A-Za-z0-9]{20,40}",
    ),
    prefixed(
        "BREVO_KEY", "`xkeysib-`", ("xkeysib-",), r"xkeysib-[0-9a-f]{64}-[A-Za-z0-9]{16}(?!\w)", cut=True
    ),
    prefixed("BITBUCKET_TOKEN", "`ATBB`", ("ATBB",), r"ATBB[A-Za-z0-9]{28,32}(?!\w)", check=_key_like),
    prefixed("FIGMA_TOKEN", "`figd_`", ("figd_",), r"figd_[\w-]{36,48}", check=_mixed, cut=True),
    prefixed("POSTHOG_KEY", "`phx_`, `phc_`", ("phx_", "phc_"), r"ph[xc]_[A-Za-z0-9]{40,56}(?!\w)", cut=True),
    prefixed("PULUMI_TOKEN", "`pul-` and 40 hex digits", ("pul-",), r"pul-[0-9a-f]{40}(?!\w)", cut=True),
    prefixed(
        "TERRAFORM_TOKEN",
        "14 characters, `.atlasv1.` and 60 to 70 more",
        (".atlasv1.",),
        r"[A-Za-z0-9]{14}\.atlasv1\.[\w-]{60,70}",
        back=14,
    ),
    prefixed(
        "AGE_KEY",
        "`AGE-SECRET-KEY-1` and Bech32",
        ("AGE-SECRET-KEY-1",),
        r"AGE-SECRET-KEY-1[02-9A-Z]{52,64}",
        cut=True,
    ),
    prefixed(
        "FACEBOOK_TOKEN",
        "`EAA` and 80 or more characters",
        ("EAA",),
        r"EAA[A-Za-z0-9]{80,300}(?!\w)",
        check=_key_like,
    ),
    prefixed("TAVILY_KEY", "`tvly-`", ("tvly-",), r"tvly-[\w-]{20,64}", check=_mixed, cut=True),
    prefixed(
        "AWS_KEY_ID",
        "`AKIA`, `ASIA`, `ABIA`, `ACCA` and 16 uppercase letters and digits",
        ("AKIA", "ASIA", "ABIA", "ACCA"),
        r"(?:A[KSB]IA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])",
        cut=True,
    ),
    _raw("AWS_SECRET", "40 characters of base64 at most 160 after a key id", (b"AKIA", b"ASIA"), _aws_secret),
    prefixed("GOOGLE_KEY", "`AIza` and 35 characters", ("AIza",), r"AIza[\w-]{35}", cut=True),
    prefixed("GOOGLE_SECRET", "`GOCSPX-`", ("GOCSPX-",), r"GOCSPX-[\w-]{20,40}", cut=True),
    prefixed(
        "GOOGLE_TOKEN", "`ya29.`, refresh tokens `1//0`", ("ya29.", "1//0"), r"(?:ya29\.|1//0)[\w.-]{20,500}"
    ),
    prefixed(
        "AZURE_SECRET",
        "Entra ID client secrets: `Q~` in fifth position",
        ("Q~",),
        r"[\w.~-]{3}\dQ~[\w.~-]{31,34}(?![\w~-])",
        back=4,
    ),
    prefixed(
        "GITHUB_TOKEN",
        "`ghp_`, `gho_`, `ghu_`, `ghs_`, `ghr_`, `github_pat_`",
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        r"(?:gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_\w{22,255})",
        cut=True,
    ),
    prefixed(
        "GITLAB_TOKEN",
        "`glpat-` and the other `gl…-` tokens",
        ("glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glsoat-", "glagent-", "gloas-", "glimt-"),
        r"gl[a-z]{2,6}-[\w.-]{18,120}",
        cut=True,
    ),
    prefixed(
        "SLACK_TOKEN",
        "`xoxb-`, `xoxp-` and similar, `xapp-`",
        ("xox", "xapp-"),
        r"(?:xox[a-z](?:\.xox[a-z])?-|xapp-)[\w-]{10,260}",
        check=_mixed,
        cut=True,
    ),
    prefixed(
        "SLACK_WEBHOOK",
        "URLs under `hooks.slack.com`",
        ("hooks.slack.com/",),
        r"hooks\.slack\.com/(?:services|workflows|triggers)/([\w/+-]{20,140})",
    ),
    prefixed(
        "STRIPE_KEY",
        "`sk_`, `rk_`, `pk_` followed by `live_` or `test_`",
        ("k_live_", "k_test_"),
        r"[srp]k_(?:live|test)_[A-Za-z0-9]{10,255}",
        back=1,
        cut=True,
    ),
    prefixed("WEBHOOK_SECRET", "`whsec_`", ("whsec_",), r"whsec_[A-Za-z0-9+/=]{20,100}", cut=True),
    prefixed("SENDGRID_KEY", "`SG.` and two parts", ("SG.",), r"SG\.[\w-]{16,32}\.[\w-]{16,64}", cut=True),
    prefixed("MAILGUN_KEY", "`key-` and 32 hex digits", ("key-",), r"key-[0-9a-f]{32}(?![\w-])"),
    prefixed("TWILIO_KEY", "`SK` and 32 hex digits", ("SK",), r"SK[0-9a-f]{32}(?!\w)"),
    prefixed("NPM_TOKEN", "`npm_`", ("npm_",), r"npm_[A-Za-z0-9]{30,64}", cut=True),
    prefixed("PYPI_TOKEN", "`pypi-`", ("pypi-",), r"pypi-[\w-]{40,500}", check=_mixed, cut=True),
    prefixed(
        "DIGITALOCEAN_TOKEN",
        "`dop_v1_`, `doo_v1_`, `dor_v1_`",
        ("_v1_",),
        r"do[opr]_v1_[0-9a-f]{40,64}",
        back=3,
        cut=True,
    ),
    prefixed(
        "VAULT_TOKEN", "`hvs.`, `hvb.`, `hvr.`", ("hvs.", "hvb.", "hvr."), r"hv[sbr]\.[\w-]{20,400}", cut=True
    ),
    prefixed(
        "DATABRICKS_TOKEN", "`dapi` and 32 hex digits", ("dapi",), r"dapi[0-9a-f]{32}(?:-\d)?(?!\w)", cut=True
    ),
    prefixed(
        "SHOPIFY_TOKEN",
        "`shpat_`, `shpca_`, `shppa_`, `shpss_`",
        ("shpat_", "shpca_", "shppa_", "shpss_"),
        r"shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}",
        cut=True,
    ),
    prefixed(
        "NEWRELIC_KEY",
        "`NRAK-`, `NRII-`, `NRJS-`, `NRAA-`",
        ("NRAK-", "NRII-", "NRJS-", "NRAA-"),
        r"NR[A-Z]{2}-[\w-]{19,40}",
        cut=True,
    ),
    prefixed(
        "SUPABASE_KEY",
        "`sbp_`, `sb_secret_`",
        ("sbp_", "sb_secret_"),
        r"(?:sbp|sb_secret)_[\w-]{20,80}",
        cut=True,
    ),
    prefixed(
        "GRAFANA_TOKEN", "`glsa_`, `glc_`", ("glsa_", "glc_"), r"gl(?:sa|c)_[A-Za-z0-9_+/=]{30,400}", cut=True
    ),
    prefixed(
        "ATLASSIAN_TOKEN", "`ATATT3`, `ATCTT3`", ("ATATT3", "ATCTT3"), r"AT[AC]TT3[\w=-]{40,260}", cut=True
    ),
    prefixed("POSTMAN_KEY", "`PMAK-`", ("PMAK-",), r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}", cut=True),
    prefixed("NOTION_TOKEN", "`ntn_`", ("ntn_",), r"ntn_[A-Za-z0-9]{40,60}", cut=True),
    prefixed("LINEAR_KEY", "`lin_api_`", ("lin_api_",), r"lin_api_[A-Za-z0-9]{32,64}", cut=True),
    prefixed(
        "SENTRY_TOKEN",
        "`sntrys_`, `sntryu_`",
        ("sntrys_", "sntryu_"),
        r"sntry[su]_[A-Za-z0-9+/=_-]{40,400}",
        cut=True,
    ),
    _raw("TELEGRAM_TOKEN", "a bot's number, `:AA` and 33 characters", (b":AA",), _telegram),
    Detector(
        ("DISCORD_TOKEN",),
        "secrets",
        "three parts, the first a number in base64",
        "runs",
        (b"A" * 16,),
        _discord,
        needs=".",
    ),
    prefixed(
        "DISCORD_WEBHOOK",
        "URLs under `/api/webhooks/`",
        ("api/webhooks/",),
        r"api/webhooks/(\d{15,22}/[\w-]{40,100})",
    ),
    prefixed(
        "JWT",
        "`eyJ`, a dot, one to four more parts",
        ("eyJ",),
        r"eyJ[\w-]{8,4096}\.(?:[\w-]{8,8192}(?:\.[\w-]{0,4096}){0,3}|\.[\w-]{8,64}\.[\w-]{4,8192}\.[\w-]{8,64})",
        cut=True,
    ),
    _raw(
        "PRIVATE_KEY",
        "PEM and PGP private keys, complete or truncated",
        (b"-----BEGIN ",),
        _private_key,
        4096,
    ),
    _raw("PRIVATE_KEY", "the end of a truncated private key", (b"-----END ",), _private_key_end, 2048),
)
