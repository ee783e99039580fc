"""The style sheet of a report: quiet, one accent an arm, light and dark."""

from __future__ import annotations

from typing import Final

__all__ = ["ACCENTS", "STYLE"]

_LIGHT: Final = {
    "bg": "#ffffff", "faint": "#f3f5f7", "line": "#d8dde3", "ink": "#1f2328", "soft": "#59636e", "bad": "#59636e",
}  # fmt: skip
_DARK: Final = {
    "bg": "#111417", "faint": "#1b2026", "line": "#333b43", "ink": "#e4e8ec", "soft": "#9aa5b0", "bad": "#9aa5b0",
}  # fmt: skip
# Okabe and Ito, "Color Universal Design", 2008: told apart by every kind of colour vision. Yellow is left out, as it
# cannot be seen on white; on dark ground the others are lightened.
_ON_LIGHT: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1f2328")
_ON_DARK: Final = ("#4fa6e0", "#f5843c", "#2fc196", "#e3a0c6", "#f0b23c", "#8fd0f5", "#e4e8ec")
ACCENTS: Final = len(_ON_LIGHT)


def _palette(colours: dict[str, str], accents: tuple[str, ...]) -> str:
    named = {**colours, **{f"a{i}": colour for i, colour in enumerate(accents)}}
    return ";".join(f"--{name}:{colour}" for name, colour in named.items())


_FONT: Final = '-apple-system,system-ui,"Segoe UI",Roboto,Inter,"Helvetica Neue","DejaVu Sans",Arial,sans-serif'
_RULES: Final = """
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.55 FONT;font-variant-numeric:tabular-nums}
main{max-width:1000px;margin:0 auto;padding:56px 32px 48px}
h1{font-size:32px;line-height:1.2;letter-spacing:-.015em;margin:2px 0 14px;overflow-wrap:anywhere}
h2{font-size:18px;letter-spacing:-.005em;margin:0 0 4px}
h3{font-size:14px;margin:22px 0 4px}
section{margin-top:44px;padding-top:26px;border-top:1px solid var(--line)}
p{margin:0 0 12px;max-width:72ch;overflow-wrap:anywhere}
.note{max-width:88ch}
.lead{font-size:18px;line-height:1.5;margin-bottom:6px}
.eyebrow,.note,footer{color:var(--soft);font-size:13px}
.eyebrow{margin:0;letter-spacing:.02em}
.warn{border-left:3px solid var(--ink);padding:2px 0 2px 12px;margin:14px 0}
.wide{overflow-x:auto;margin:14px 0 0}
.wide>svg{display:block;max-width:100%;height:auto}
ul.short{list-style:none;margin:16px 0 0;padding:0}
ul.short li{padding:9px 0;border-top:1px solid var(--line);display:grid;grid-template-columns:210px 1fr;gap:4px 20px}
ul.short li:first-child{border-top:0}
ul.short div{overflow-wrap:anywhere}
ul.short p{margin:0 0 2px;max-width:none}
table{border-collapse:collapse;width:100%;font-size:13.5px;line-height:1.4}
th,td{text-align:left;vertical-align:top;padding:8px 16px 8px 0;border-bottom:1px solid var(--line)}
th{font-weight:600;font-size:12.5px;color:var(--soft);white-space:nowrap}
tbody th{color:var(--ink);font-size:13.5px;white-space:normal;overflow-wrap:anywhere;min-width:130px}
tr:last-child>*{border-bottom:0}
td.num,th.num{text-align:right;white-space:nowrap}
td.num:last-child,th.num:last-child{padding-right:0}
td small{display:block;color:var(--soft);font-size:12px}
tbody.next tr:first-child>*{border-top:1px solid var(--soft)}
.soft{color:var(--soft)}
h3 .soft{font-weight:400}
.decided{font-weight:600}
code{font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
code i{font-style:normal;color:var(--soft)}
.tag{font-weight:600;overflow-wrap:anywhere}
.tag svg{vertical-align:-1px;margin-right:7px}
svg.fig text{font-size:12px;fill:var(--soft)}
svg.fig .strong{fill:var(--ink);font-weight:600}
svg.fig .plain{fill:var(--ink)}
svg.fig .small{font-size:11px}
.grid{stroke:var(--line);stroke-width:1}
.axis{stroke:var(--soft);stroke-width:1}
.dot{fill:var(--c)}
.range{stroke:var(--c);stroke-width:2;fill:none;stroke-linecap:round}
.bar{fill:var(--c)}
.hollow{fill:var(--bg);stroke:var(--c);stroke-width:1.5}
.tint{fill:var(--c);fill-opacity:.22;stroke:var(--c);stroke-width:1}
.rest{fill:none;stroke:var(--c);stroke-width:1.5;stroke-dasharray:.1 4;stroke-linecap:round}
.cross{fill:none;stroke:var(--c);stroke-width:1.75;stroke-linecap:round}
.whisker{stroke:var(--ink);stroke-width:1.5;fill:none}
.cut{fill:var(--bg)}
.tear{stroke:var(--soft);stroke-width:1;fill:none}
dl{display:grid;grid-template-columns:max-content 1fr;gap:3px 18px;margin:0 0 18px}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
footer p{max-width:84ch}
footer h2{color:var(--ink)}
footer b{color:var(--ink);font-weight:600}
@media(max-width:640px){main{padding:28px 16px}ul.short li{grid-template-columns:1fr}}
@media print{main{max-width:none;padding:0}section{break-inside:avoid}}
"""
STYLE: Final = "".join(
    [
        f":root{{color-scheme:light dark;{_palette(_LIGHT, _ON_LIGHT)}}}",
        f"@media(prefers-color-scheme:dark){{:root{{{_palette(_DARK, _ON_DARK)}}}}}",
        *(f".a{i}{{--c:var(--a{i})}}" for i in range(ACCENTS)),
        _RULES.replace("FONT", _FONT),
    ]
)
