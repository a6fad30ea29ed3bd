"""A cost report as one HTML page that needs nothing else: no script, no font, no file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape
from string import Template
from typing import Final

_PAGE: Final = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>$title</title>
<style>
:root { color-scheme: light dark; --background: #ffffff; --text: #1a1f26; --muted: #545d68; --line: #dde2e8;
  --bar: #1369ad; --track: #f0f3f6; }
@media (prefers-color-scheme: dark) { :root { --background: #12161b; --text: #e6e9ed; --muted: #a3adb8;
  --line: #2c343d; --bar: #5c98ff; --track: #1f262e; } }
body { margin: 0; padding: 16px; background: var(--background); color: var(--text);
  font: 14px/1.4 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
main { max-width: 1440px; margin: auto; }
h1 { font-size: 20px; font-weight: 600; margin: 8px 0; overflow-wrap: anywhere; }
p { margin: 4px 0; max-width: 80ch; color: var(--muted); overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: 16px 0; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: 6px 8px; border-bottom: 1px solid var(--line); vertical-align: top; text-align: right;
  white-space: nowrap; }
thead th { font-size: 12px; font-weight: 600; color: var(--muted); vertical-align: bottom; }
.label { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: clamp(9ch, 7vw, 26ch); }
.bar { display: block; height: 6px; min-width: 88px; margin-top: 3px; border-radius: 3px;
  background: var(--track); }
.bar i { display: block; height: 6px; border-radius: 3px; background: var(--bar); }
tfoot td { font-weight: 600; border-bottom: 0; }
@media print { .scroll { overflow: visible; } }
</style>
</head>
<body>
<main>
<h1>$title</h1>
$table$remarks
</main>
</body>
</html>""")
_TABLE: Final = Template("""\
<div class="scroll" role="region" aria-label="Costs" tabindex="0">
<table>
<thead>
$head
</thead>
<tbody>
$body
</tbody>
<tfoot>
$foot
</tfoot>
</table>
</div>
""")


def cost_page(title: str, remarks: Iterable[str], table: str = "") -> str:
    """A page with a title, a `cost_table` and remarks, which are texts."""
    paragraphs = "\n".join(f"<p>{escape(remark)}</p>" for remark in remarks)
    return _PAGE.substitute(title=escape(title), table=table, remarks=paragraphs)


def cost_table(
    labels: int,
    money: int,
    headings: Sequence[str],
    rows: Sequence[tuple[Sequence[str], Decimal | None]],
    total: Sequence[str],
) -> str:
    """The table of a page. A row is its cells, of which the first `labels` say what it is of, and its cost.

    The amount in column `money` comes next, for narrow screens, with a bar, which is longest in the dearest
    row, and the share in the sum of the rows.
    """
    known = [cost for _, cost in rows if cost is not None]
    whole, most = sum(known, Decimal()), max(known, default=Decimal())
    others = [column for column in range(labels, len(headings)) if column != money]

    def ordered(cells: Sequence[str]) -> list[str]:
        return [cells[column] for column in (*range(labels), money, *others)]

    body = [_row(ordered(cells), labels, _share(cost, whole), _bar(cost, most)) for cells, cost in rows]
    return _TABLE.substitute(
        head=_row(ordered(headings), labels, "share", tag='th scope="col"'),
        body="\n".join(body),
        foot=_row(ordered(total), labels),
    )


def _row(cells: Sequence[str], labels: int, share: str = "", bar: str = "", *, tag: str = "td") -> str:
    end = tag.partition(" ")[0]
    named = "".join(f'<{tag} class="label">{escape(cell)}</{end}>' for cell in cells[:labels])
    money, *others = (escape(cell) for cell in cells[labels:])
    figures = "".join(f"<{tag}>{cell}</{end}>" for cell in (money + bar, share, *others))
    return f"<tr>{named}{figures}</tr>"


def _bar(cost: Decimal | None, most: Decimal) -> str:
    if cost is None or cost <= 0:
        return ""
    return f'<span class="bar"><i style="width:{100 * cost / most:.1f}%"></i></span>'


def _share(cost: Decimal | None, whole: Decimal) -> str:
    return "-" if cost is None or whole <= 0 else f"{100 * cost / whole:.1f} %"
