"""Colours, dashes and the style sheet of the SVG.

The page's theme decides where it can: JupyterLab's variables and the marks that JupyterLab, VS Code and
Sphinx themes put on the page.  Shown as an image, an SVG sees nothing of its page but the reader's preference
for light or dark, so it brings a card with its own background.  Each colour is stated twice, plain and as a
variable, because some converters (to PDF, for example) do not know variables.
"""

LIGHT = {
    "bg": "#ffffff",
    "line": "#d5d9df",
    "faint": "#eceff2",
    "ink": "#1f2328",
    "soft": "#5d6670",
    "wire": "#8b949e",
    "run": "#0069a6",
    "ok": "#007a57",
    "bad": "#c03c06",
    "wait": "#8f5e00",
    "amber": "#b77900",
    "deg": "#97417b",
}
DARK = {
    "bg": "#111417",
    "line": "#333b43",
    "faint": "#252c33",
    "ink": "#e4e8ec",
    "soft": "#9aa5b0",
    "wire": "#75808b",
    "run": "#4fb0ea",
    "ok": "#39c28f",
    "bad": "#ff7a45",
    "wait": "#f0b23c",
    "amber": "#f0b23c",
    "deg": "#e08bc3",
}
_FROM_PAGE = {"bg": "--jp-layout-color0", "ink": "--jp-content-font-color0"}

COLOURS = {
    "idle": "soft",
    "running": "run",
    "waiting": "wait",
    "completed": "ok",
    "degraded": "deg",
    "failed": "bad",
    "skipped": "soft",
    "cancelled": "soft",
}
# Text needs more contrast than lines do.
_EDGES = {"soft": "wire", "wait": "amber"}
DASHES = {
    "idle": "4 4",
    "running": "",
    "waiting": "",
    "completed": "",
    "degraded": "9 3 2 3",
    "failed": "",
    "skipped": "1 4",
    "cancelled": "4 4 1 4",
}
_LIGHT_PAGES = ('[data-jp-theme-light="true"]', ".vscode-light", '[data-theme="light"]')
_DARK_PAGES = ('[data-jp-theme-light="false"]', ".vscode-dark", '[data-theme="dark"]')
_FONT = '-apple-system,system-ui,"Segoe UI",Roboto,Inter,"Helvetica Neue","DejaVu Sans",Arial,sans-serif'


def _paint(**colours: str) -> str:
    """Return declarations of colours by name, plain and as variables; ``fill="ink"`` and the like."""
    return ";".join(f"{what}:{LIGHT[name]};{what}:var(--okd-{name})" for what, name in colours.items())


def _palette(colours: dict[str, str]) -> str:
    """Return declarations of the variables; those that a page defines come from the page."""
    pairs = []
    for name, colour in colours.items():
        page = _FROM_PAGE.get(name)
        pairs.append(f"--okd-{name}:var({page},{colour})" if page else f"--okd-{name}:{colour}")
    return ";".join(pairs)


def _on(pages: tuple[str, ...]) -> str:
    return ",".join(f"{page} .okd" for page in pages)


def _states() -> list[str]:
    rules = []
    for status, colour in COLOURS.items():
        here = f".okd-{status}"
        edge = _EDGES.get(colour, colour)
        rules.append(f"{here} .okd-edge,{here} .okd-halo{{{_paint(stroke=edge)}}}")
        rules.append(f"{here} .okd-tint,{here} .okd-full{{{_paint(fill=edge)}}}")
        rules.append(f"{here} .okd-word,{here} .okd-sign .okd-fill{{{_paint(fill=colour)}}}")
        rules.append(f"{here} .okd-sign .okd-pen{{{_paint(stroke=colour)}}}")
        if DASHES[status]:
            rules.append(f"{here} .okd-edge{{stroke-dasharray:{DASHES[status]}}}")
    return rules


def style_sheet() -> str:
    """Return the style sheet; every rule names a class of this drawing: the rest of a page is left alone."""
    return "\n".join(
        [
            f".okd,{_on(_LIGHT_PAGES)}{{{_palette(LIGHT)}}}",
            f"@media (prefers-color-scheme:dark){{.okd{{{_palette(DARK)}}}}}",
            f"{_on(_DARK_PAGES)}{{{_palette(DARK)}}}",
            f".okd{{font-family:{_FONT};font-family:var(--jp-ui-font-family,{_FONT});max-width:100%;height:auto}}",
            f".okd text{{font-size:11px;font-variant-numeric:tabular-nums;{_paint(fill='soft')}}}",
            f".okd .okd-name{{font-size:13px;font-weight:600;{_paint(fill='ink')}}}",
            f".okd-card{{{_paint(fill='bg', stroke='line')}}}",
            f".okd-rule{{fill:none;{_paint(stroke='line')}}}",
            f".okd-edge{{stroke-width:1.25;stroke-linejoin:round;{_paint(fill='bg', stroke='wire')}}}",
            ".okd-halo{fill:none;stroke-width:6;stroke-linejoin:round;stroke-opacity:.18}",
            ".okd-tint{fill-opacity:.07}",
            f".okd-pen{{fill:none;stroke-width:1.5;stroke-linecap:round;stroke-linejoin:round;{_paint(stroke='soft')}}}",
            f".okd-fill{{{_paint(fill='soft')}}}",
            ".okd-dots{stroke-dasharray:.1 3.02}",
            f".okd-wire{{fill:none;stroke-width:1.25;{_paint(stroke='wire')}}}",
            ".okd-route{stroke-dasharray:6 4}",
            ".okd-after{stroke-dasharray:.1 4.5;stroke-linecap:round;stroke-width:1.75}",
            f".okd-head{{{_paint(fill='wire')}}}",
            f".okd-off.okd-wire{{{_paint(stroke='line')}}}",
            f".okd-off.okd-head{{{_paint(fill='line')}}}",
            f".okd text.okd-off{{{_paint(fill='wire')}}}",
            f".okd-plate{{{_paint(fill='bg')}}}",
            f".okd-rail{{{_paint(fill='faint')}}}",
            *_states(),
            ".okd-node .okd-back{stroke-dasharray:none;stroke-opacity:.55}",
            f".okd-idle .okd-name,.okd-skipped .okd-name,.okd-cancelled .okd-name{{{_paint(fill='soft')}}}",
        ]
    )


STYLE = style_sheet()
# Apart, so that a picture without such arrows has the bytes that it has always had.
CONTEXT_STYLE = "\n".join(
    [
        f".okd-context.okd-wire{{stroke-dasharray:7 3 1.5 3;{_paint(stroke='run')}}}",
        f".okd-context.okd-head{{{_paint(fill='run')}}}",
    ]
)
