"""The report of a run: one HTML file that needs nothing else, on screen and on paper."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import Template
from typing import Any, final

from ._figures._numbers import grouped, r_squared, scientific

_QUANTITIES = ("values", "deltas", "gammas", "hessian")
_TITLES = {"values": "values", "deltas": "deltas", "gammas": "gammas", "hessian": "Hessian"}
_COLUMNS = {
    "oversized": ("Oversized", ""),
    "pruned": ("Pruned", ""),
    "finetuned_vanilla": ("Vanilla", "fine-tuned"),
    "finetuned_nn_data": ("NN data", "fine-tuned, Sobolev"),
    "finetuned_nn_curvature": ("NN curvature", "fine-tuned, 2nd order"),
    "finetuned_reference": ("Reference", "fine-tuned, Sobolev"),
}
_ROW_NAMES = {
    "oversized": "oversized",
    "pruned": "pruned",
    "finetuned_vanilla": "fine-tuned, vanilla",
    "finetuned_nn_data": "fine-tuned, Sobolev on NN data",
    "finetuned_nn_curvature": "fine-tuned, with curvature, on NN data",
    "finetuned_reference": "fine-tuned, Sobolev on the reference",
}


@final
@dataclass(frozen=True)
class ReportFigure:
    """A picture of the report.

    Attributes:
        name: its anchor, and the name of its files.
        title: above it.
        caption: below it.
        image: PNG or SVG.
    """

    name: str
    title: str
    caption: str
    image: bytes

    @property
    def source(self) -> str:
        """The image as a data address, so that no file need be at hand."""
        kind = "png" if self.image.startswith(b"\x89PNG") else "svg+xml"
        return f"data:image/{kind};base64,{base64.b64encode(self.image).decode('ascii')}"


def render_report(
    summary: Mapping[str, Any],
    figures: Sequence[ReportFigure],
    config_toml: str,
    environment: Mapping[str, str],
) -> str:
    """The whole report as one HTML page without scripts and without a single reference to the outside.

    Args:
        summary: of the run, as in `summary.json`.
        figures: in the order in which they are to be seen.
        config_toml: configuration of the run.
        environment: what it ran on: versions, platform, cores.
    """
    stages: Sequence[Mapping[str, Any]] = summary["stages"]
    published: Mapping[str, Mapping[str, float]] = summary["published"]
    oversized = [stage for stage in stages if stage["name"] == "oversized"]
    sizes: dict[tuple[int, ...], list[Mapping[str, Any]]] = {}
    for stage in stages:
        if stage["name"] != "oversized":
            sizes.setdefault(tuple(stage["network"]), []).append(stage)
    blocks = list(sizes.values()) or ([[]] if oversized else [])
    facts = {
        "seed": str(summary["seed"]),
        "seconds": _seconds(summary["seconds"]),
        **environment,
    }
    return _PAGE.substitute(
        style=STYLE,
        headline=_headline(stages, published),
        standing=_standing([*oversized, *(s for block in blocks for s in block)], published),
        facts=_e(f"seed {summary['seed']}  ·  {_seconds(summary['seconds'])}"),
        contents="".join(f'<li><a href="#figure-{_e(f.name)}">{_e(f.title)}</a></li>' for f in figures),
        published_tables="".join(_comparison([*oversized, *block], published) for block in blocks),
        law_tables="".join(_comparison([*oversized, *block], {}, block="training_law") for block in blocks),
        cube_errors=_errors(stages, None),
        law_errors=_errors(stages, "training_law"),
        stages=_stages(stages),
        figures="".join(_figure(figure) for figure in figures),
        config=_e(config_toml.strip()),
        environment="".join(f"<tr><th scope='row'>{_e(k)}</th><td>{_e(v)}</td></tr>" for k, v in facts.items()),
    )


def _e(text: object) -> str:
    return html.escape(str(text), quote=True)


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s"


def _network(widths: Iterable[int]) -> str:
    return "-".join(map(str, widths))


def _r2(value: float | int | None) -> str:
    # The space between groups must neither break the line nor be copied as one.
    digits = r_squared(value, separator="\n").split("\n")
    return digits[0] + "".join(f'<span class="g">{group}</span>' for group in digits[1:])


def _listing(parts: Sequence[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)


def _headline(stages: Sequence[Mapping[str, Any]], published: Mapping[str, Mapping[str, float]]) -> str:
    """The result in one sentence: the smallest network after its last fine-tuning, against what was published."""
    final = [stage for stage in stages if stage["name"] == "finetuned_reference"]
    if not final:
        return "No network was fine-tuned on the reference in this run."
    best = min(final, key=lambda stage: stage["parameters"])
    theirs = published.get("finetuned_reference", {})
    r2 = best["r2"]
    ours = _listing([f"{_r2(r2[q])} ({q})" for q in _QUANTITIES[:3]])
    sentence = (
        f"A network of <strong>{_e(grouped(best['parameters']))} parameters</strong> prices a call on a basket of "
        f"{best['network'][0]} assets with R² of {ours}"
    )
    if theirs:
        listed = _listing([_r2(theirs[q]) for q in _QUANTITIES[:3] if q in theirs])
        sentence += f"; published are {listed}"
    return sentence + "."


def _standing(stages: Sequence[Mapping[str, Any]], published: Mapping[str, Mapping[str, float]]) -> str:
    """How many cells of the published table are reached."""
    cells = [
        stage["r2"][quantity] >= theirs
        for stage in stages
        for quantity, theirs in published.get(stage["name"], {}).items()
    ]
    if not cells:
        return ""
    reached = sum(cells)
    missed = len(cells) - reached
    text = f"{reached} of {len(cells)} cells reach the published value"
    text += f"; {missed} {'does' if missed == 1 else 'do'} not." if missed else "."
    return f'<p class="standing {"some" if missed else "all"}">{text}</p>'


def _comparison(
    stages: Sequence[Mapping[str, Any]],
    published: Mapping[str, Mapping[str, float]],
    *,
    block: str | None = None,
) -> str:
    """R² of one pruned size, stage by stage, the published value under ours."""
    small = [stage for stage in stages if stage["name"] != "oversized"] or stages
    columns = [next((s for s in stages if s["name"] == name), None) for name in _COLUMNS]
    shown = [(name, stage) for name, stage in zip(_COLUMNS, columns, strict=True) if stage is not None]
    head = "".join(
        f'<th scope="col">{_e(_COLUMNS[name][0])}<small>'
        f"{_e(_COLUMNS[name][1] or grouped(stage['parameters']) + ' parameters')}</small></th>"
        for name, stage in shown
    )
    rows = []
    for quantity in _QUANTITIES:
        ours = "".join(_cell(stage, quantity, published.get(name, {}), block) for name, stage in shown)
        rows.append(f'<tr class="ours"><th scope="row">{_TITLES[quantity]}</th>{ours}</tr>')
        theirs = [published.get(name, {}).get(quantity) for name, _ in shown]
        if any(value is not None for value in theirs):
            cells = "".join(f"<td>{'' if value is None else _r2(value)}</td>" for value in theirs)
            rows.append(f'<tr class="theirs"><th scope="row">published</th>{cells}</tr>')
    title = (
        f"<strong>{_e(grouped(small[0]['parameters']))} parameters</strong> "
        f"<span>{_e(_network(small[0]['network']))}</span>"
    )
    return (
        f'<div class="scroll"><table class="comparison"><caption>{title}</caption>'
        f'<thead><tr><th scope="col">R²</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _cell(stage: Mapping[str, Any], quantity: str, published: Mapping[str, float], block: str | None) -> str:
    r2 = (stage if block is None else stage[block])["r2"].get(quantity)
    if r2 is None:
        return "<td>–</td>"
    theirs = published.get(quantity)
    mark, meaning = "", ""
    if theirs is not None:
        reached = r2 >= theirs
        mark = ' class="reached"' if reached else ' class="below"'
        meaning = (
            '<i title="reaches the published value">✓</i>' if reached else '<i title="below the published value">▽</i>'
        )
    return f"<td{mark}>{meaning}<b>{_r2(r2)}</b><small>1 − R² = {scientific(1 - r2)}</small></td>"


def _errors(stages: Sequence[Mapping[str, Any]], block: str | None) -> str:
    """RMSE and largest error of every quantity after every stage."""
    measures = {"rmse": "Root mean squared error", "max_error": "Largest error"}
    groups = "".join(f'<th scope="colgroup" colspan="4" class="first">{title}</th>' for title in measures.values())
    head = "".join(
        f'<th scope="col"{" class=first" if i == 0 else ""}>{_TITLES[quantity]}</th>'
        for _ in measures
        for i, quantity in enumerate(_QUANTITIES)
    )
    rows, network = [], None
    for stage in stages:
        if stage["network"] != network:
            network = stage["network"]
            rows.append(
                f'<tr class="group"><th colspan="9" scope="rowgroup">{_e(grouped(stage["parameters"]))} parameters '
                f"<span>{_e(_network(network))}</span></th></tr>"
            )
        source = stage if block is None else stage[block]
        cells = "".join(
            f"<td{' class=first' if i == 0 else ''}>{scientific(source[measure].get(quantity))}</td>"
            for measure in measures
            for i, quantity in enumerate(_QUANTITIES)
        )
        rows.append(f'<tr><th scope="row">{_e(_ROW_NAMES.get(stage["name"], stage["name"]))}</th>{cells}</tr>')
    return (
        f'<div class="scroll"><table class="errors"><thead><tr><td></td>{groups}</tr>'
        f'<tr><th scope="col">stage</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _stages(stages: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{_e(_ROW_NAMES.get(stage["name"], stage["name"]))}</th>'
        f'<td class="text">{_e(_network(stage["network"]))}</td><td>{_e(grouped(stage["parameters"]))}</td>'
        f"<td>{_worst_delta(stage)}</td>"
        f"<td>{_seconds(stage['seconds']) if stage.get('seconds') is not None else '–'}</td></tr>"
        for stage in stages
    )
    return (
        '<div class="scroll"><table class="stages"><thead><tr><th scope="col">stage</th>'
        '<th scope="col" class="text">network</th><th scope="col">parameters</th>'
        '<th scope="col">R² of the worst delta</th><th scope="col">time</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _worst_delta(stage: Mapping[str, Any]) -> str:
    """R² of the delta that is learned worst, since all together may hide it."""
    found = [r2 for r2 in stage.get("r2_of_each_delta", ()) if r2 is not None]
    return f"{min(found):.6f}" if found else "–"


def _figure(figure: ReportFigure) -> str:
    name = _e(figure.name)
    return (
        f'<figure id="figure-{name}"><h3>{_e(figure.title)}</h3><div class="card">'
        f'<img src="{figure.source}" alt="{_e(figure.title)}" loading="lazy"></div>'
        f"<figcaption>{_e(figure.caption)}</figcaption></figure>"
    )


STYLE = """
:root { color-scheme: light dark; --page: #fbfbfa; --ink: #1d2733; --muted: #5f6b7a; --faint: #98a3b0; --line: #e1e5ea;
  --rule: #1d2733; --accent: #0b66a8; --good: #0a7d5f; --poor: #b8450a; --panel: #f2f4f6; }
@media (prefers-color-scheme: dark) { :root { --page: #14181d; --ink: #e4e8ed; --muted: #9aa6b4; --faint: #6f7c8b;
  --line: #2a323b; --rule: #9aa6b4; --accent: #6fb7ea; --good: #4cc9a2; --poor: #f09a5f; --panel: #1c2229; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.6 ui-sans-serif, system-ui, -apple-system,
  "Segoe UI", "Helvetica Neue", Arial, "Liberation Sans", sans-serif; font-variant-numeric: tabular-nums; }
main, header, nav > ul, footer { max-width: 1040px; margin: 0 auto; padding: 0 28px; }
header { padding-top: 64px; }
.kicker { margin: 0 0 10px; color: var(--muted); font-size: 13.5px; letter-spacing: .02em; }
h1 { margin: 0 0 18px; font-size: 25px; line-height: 1.42; font-weight: 400; letter-spacing: -.005em; max-width: 33em;
  text-wrap: pretty; }
h1 strong { font-weight: 650; }
.standing { margin: 0 0 8px; font-weight: 600; font-size: 15px; }
.standing.all { color: var(--good); } .standing.some { color: var(--poor); }
nav { position: sticky; top: 0; z-index: 1; margin-top: 36px; background: var(--page);
  border-bottom: 1px solid var(--line); }
nav > ul { display: flex; gap: 24px; padding-top: 11px; padding-bottom: 11px; list-style: none; font-size: 14px;
  overflow-x: auto; white-space: nowrap; }
a { color: var(--accent); text-decoration: none; } a:hover { text-decoration: underline; }
section { padding-top: 56px; scroll-margin-top: 8px; }
h2 { margin: 0 0 8px; font-size: 21px; font-weight: 650; letter-spacing: -.01em; }
h3 { margin: 40px 0 6px; font-size: 16px; font-weight: 650; }
p, .prose li { max-width: 46em; text-wrap: pretty; } p { margin: 0 0 14px; }
.note { color: var(--muted); font-size: 14px; }
.scroll { overflow-x: auto; margin: 22px 0 34px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; line-height: 1.35; }
caption { text-align: left; padding: 0 0 10px; font-size: 15px; white-space: nowrap; }
caption span, .group span { color: var(--muted); font-weight: 400; margin-left: .6em; font-size: 13.5px; }
th { font-weight: 500; text-align: left; white-space: nowrap; } td { white-space: nowrap; text-align: right; }
th small, td small { display: block; color: var(--muted); font-size: 11.5px; font-weight: 400; }
thead th { text-align: right; vertical-align: bottom; padding: 0 0 8px 18px; border-bottom: 1.5px solid var(--rule);
  font-weight: 600; }
thead th:first-child { text-align: left; padding-left: 0; }
tbody th { padding: 5px 12px 5px 0; font-weight: 500; } tbody td { padding: 5px 0 5px 18px; }
.comparison { table-layout: fixed; min-width: 900px; } .comparison th:first-child { width: 7.5em; }
.g { margin-left: .17em; }
.comparison .ours th, .comparison .ours td { padding-top: 12px; padding-bottom: 3px; border-top: 1px solid var(--line);
  vertical-align: top; }
.comparison tbody tr:first-child th, .comparison tbody tr:first-child td { border-top: 0; }
.comparison .ours b { font-weight: 600; font-size: 15px; }
.comparison .theirs th, .comparison .theirs td { padding-top: 0; padding-bottom: 11px; color: var(--faint);
  font-weight: 400; }
.comparison i { font-style: normal; font-size: 12px; margin-right: .45em; }
.reached i { color: var(--good); } .below i, .below b { color: var(--poor); }
.key { margin-top: -16px; } .key .reached { color: var(--good); } .key .below { color: var(--poor); }
.errors { font-size: 13.5px; } .errors tbody th { font-weight: 400; }
.errors thead tr:first-child th { border-bottom: 1px solid var(--line); padding-bottom: 4px; text-align: center; }
.errors thead tr:first-child th, .errors .first { padding-left: 30px; }
.errors thead tr:nth-child(2) th { padding-top: 6px; font-weight: 500; color: var(--muted); }
.errors .group th { padding-top: 16px; font-weight: 600; border-bottom: 1px solid var(--line); }
.errors tbody td, .stages tbody td, .stages tbody th { border-bottom: 1px solid var(--line); }
.errors tbody tr:not(.group) th { border-bottom: 1px solid var(--line); }
.stages { max-width: 720px; } .stages .text { text-align: left; }
.stages th { font-weight: 400; } .stages thead th { font-weight: 600; }
.contents { columns: 2; column-gap: 40px; padding: 0; margin: 14px 0 0; list-style: none; font-size: 14px; }
.contents li { padding: 3px 0; break-inside: avoid; }
figure { margin: 48px 0 0; scroll-margin-top: 56px; } figure h3 { margin: 0 0 12px; }
.card { background: #fff; border: 1px solid var(--line); border-radius: 6px; padding: 14px; overflow-x: auto; }
.card img { display: block; width: 100%; max-width: 960px; height: auto; margin: 0 auto; }
figcaption { margin-top: 10px; color: var(--muted); font-size: 14px; max-width: 52em; text-wrap: pretty; }
pre { background: var(--panel); border-radius: 6px; padding: 18px 20px; overflow-x: auto; font: 13px/1.55 ui-monospace,
  "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.environment { max-width: 720px; } .environment th { color: var(--muted); font-weight: 400; width: 12em; }
.environment td { text-align: left; padding-left: 0; white-space: normal; }
.environment th, .environment td { border-bottom: 1px solid var(--line); }
footer { padding-top: 64px; padding-bottom: 64px; color: var(--muted); font-size: 13.5px; }
@media (max-width: 720px) { main, header, nav > ul, footer { padding-left: 18px; padding-right: 18px; }
  header { padding-top: 36px; } h1 { font-size: 20px; } .contents { columns: 1; } .card { padding: 8px; }
  .card img { min-width: 620px; } .comparison tbody th, .errors tbody th { position: sticky; left: 0;
  background: var(--page); } }
@media print { :root { --page: #fff; --ink: #000; --muted: #444; --faint: #666; --line: #ccc; --rule: #000;
  --accent: #000; --good: #063; --poor: #930; --panel: #f5f5f5; } nav, .contents { display: none; }
  body { font-size: 10.5pt; } main, header, footer { max-width: none; padding-left: 0; padding-right: 0; }
  header { padding-top: 0; } section { padding-top: 24pt; } .card { border: 0; padding: 0; }
  figure, tr { break-inside: avoid; } h2, h3, caption { break-after: avoid; }
  .scroll { overflow: visible; break-inside: avoid; }
  table { font-size: 9pt; } .errors { font-size: 7.5pt; } .errors thead th, .errors tbody td { padding-left: 8pt; }
  pre { white-space: pre-wrap; } }
"""

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sobolev pruning of a basket option</title>
<style>$style</style>
</head>
<body>
<header>
<p class="kicker">Sobolev pruning  ·  a small surrogate that is right in its derivatives  ·  $facts</p>
<h1>$headline</h1>
$standing
</header>
<nav aria-label="Sections"><ul>
<li><a href="#results">Results</a></li><li><a href="#errors">Errors</a></li><li><a href="#figures">Figures</a></li>
<li><a href="#method">What was measured</a></li><li><a href="#configuration">Configuration</a></li>
<li><a href="#environment">Environment</a></li>
</ul></nav>
<main>
<section id="results">
<h2>The published table, beside ours</h2>
<p>Coefficients of determination on the published evaluation set: independent spots, uniform over a cube around today's.
Ours stand above, the published ones in grey beneath.</p>
$published_tables
<p class="note key"><span class="reached">✓</span> at least the published value  
<span class="below">▽</span> below it. Nothing was published for vanilla fine-tuning, for curvature and for the whole
Hessian.</p>
<p>Do derivatives help? <em>Vanilla</em> and <em>Reference</em> learn from the same payoffs, without and with their
deltas; <em>NN data</em> and <em>NN curvature</em> from the same points of the oversized network, the latter with its
second derivatives along one random direction as well. All start from the pruned network and take the same number of
steps.</p>
</section>
<section id="errors">
<h2>R² over the law of the training spots</h2>
<p>The same surrogates over the model's own correlated law of the spots, wings included. Nothing was published on
it.</p>
$law_tables
<h2>How far off, on average and at worst</h2>
<p>R² forgives rare mistakes; the largest error does not. Values are in units of today's spot, deltas per unit of spot,
gammas and entries of the Hessian per squared unit of spot.</p>
<h3>On the published evaluation set</h3>
$cube_errors
<h3>Over the law of the training spots</h3>
$law_errors
</section>
<section id="figures">
<h2>Figures</h2>
<ol class="contents">$contents</ol>
$figures
</section>
<section id="method">
<h2>What was measured, and how</h2>
<div class="prose">
<p><strong>Truth.</strong> A call on a basket in Bachelier's model has a closed form for its price, deltas and Hessian.
All errors are against it; the networks never saw it: they learned from payoffs of simulated paths, or from another
network.</p>
<p><strong>Values, deltas, gammas, Hessian.</strong> Deltas are all first derivatives, one for each asset. The gamma is
the sum of the Hessian's entries, as in the published table: since the weights sum to one, it is the basket's gamma. A
network can be right in that sum and wrong in its terms, so the error of all entries stands beside it as “Hessian”.</p>
<p><strong>R² and errors.</strong> R² is one minus the sum of the squared errors over that of the squared deviations of
the truth from its mean, over all samples and all components. The largest error is the largest absolute one among them.
The network's derivatives are its exact derivatives, by automatic differentiation.</p>
<p><strong>Published numbers.</strong> N. Kichler, S. Afghan, U. Naumann, <cite>Towards Sobolev Pruning</cite>,
PASC ’24, doi 10.1145/3659914.3659915. The model's weights, correlations and volatilities are random; ours are drawn by
the published rule, but are not the same draw. The same published numbers stand beside each of our pruned sizes.</p>
</div>
<h3>Stages</h3>
$stages
</section>
<section id="configuration">
<h2>Configuration</h2>
<p class="note">Run with this file, the study makes the same numbers again on the same machine.</p>
<pre><code>$config</code></pre>
</section>
<section id="environment">
<h2>Environment</h2>
<div class="scroll"><table class="environment"><tbody>$environment</tbody></table></div>
</section>
</main>
<footer>This page holds all it shows: it loads nothing and runs nothing. Every number is in
<code>summary.json</code>, every figure in <code>figures/</code> as PNG and PDF.</footer>
</body>
</html>
""")
