"""How a page looks: light or dark as its reader has it, on a phone, on a screen and on paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #1b1e24; --faint: #565c68; --card: #f5f6f8; --line: #d5d9e0; --link: #0a58a3;
  --warning: #fff2cc; --warning-line: #b8860b;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #14161a; --ink: #e8e9ec; --faint: #a7acb7; --card: #1d2026; --line: #3a3f4a; --link: #8cc0f5;
    --warning: #38300f; --warning-line: #d9a520;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 1.25rem 1rem 4rem; max-width: 74rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
  overflow-wrap: anywhere;
}
h1 { font-size: clamp(1.5rem, 1.1rem + 2vw, 2.1rem); line-height: 1.2; margin: 0 0 1rem; }
h2 {
  font-size: 1.3rem; line-height: 1.25; margin: 3rem 0 .75rem; padding-top: .75rem;
  border-top: 1px solid var(--line);
}
h3 { font-size: 1.05rem; margin: 1.75rem 0 .5rem; }
p, ul { max-width: 46rem; margin: .6rem 0; }
ul { padding-left: 1.25rem; }
li { margin: .25rem 0; }
a { color: var(--link); }
code { font: .88em ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
.note { color: var(--faint); font-size: .9rem; }
.warning {
  background: var(--warning); border-left: .3rem solid var(--warning-line); padding: .6rem .9rem;
  max-width: 46rem;
}
nav { background: var(--card); border-radius: .5rem; padding: .75rem 1rem; margin: 1.5rem 0; }
nav ol { margin: 0; padding-left: 1.5rem; columns: 15rem; }
nav li { padding: .2rem 0; margin: 0; break-inside: avoid; }
.scroll {
  overflow-x: auto; margin: .8rem 0; max-width: 100%; border: 1px solid var(--line); border-radius: .5rem;
}
.scroll:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption {
  text-align: left; padding: .55rem .75rem; font-weight: 600; position: sticky; left: 0;
  max-width: calc(100vw - 2.5rem);
}
th, td {
  overflow-wrap: normal; padding: .4rem .6rem; text-align: right; white-space: nowrap;
  border-top: 1px solid var(--line);
}
thead th { vertical-align: bottom; font-weight: 600; background: var(--card); }
th:first-child { text-align: left; }
thead th:first-child { position: sticky; left: 0; z-index: 1; }
tbody th {
  font-weight: 400; position: sticky; left: 0; background: var(--paper); white-space: normal;
  min-width: 7.5rem;
}
.prose td, .prose th { text-align: left; vertical-align: top; }
.prose td { white-space: normal; min-width: 5.5rem; }
.prose td:last-child { min-width: 12rem; }
.paper { color: var(--faint); }
.gallery {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); gap: 1rem;
  align-items: start; margin: .8rem 0;
}
figure { margin: 0; padding: .5rem; background: var(--card); border-radius: .5rem; break-inside: avoid; }
figure svg { display: block; width: 100%; max-width: 30rem; height: auto; margin: 0 auto; }
figure svg * { stroke-linejoin: round; stroke-linecap: butt; }
figure svg text { fill: currentColor; }
details { margin: .8rem 0; }
summary { cursor: pointer; padding: .35rem 0; color: var(--link); }
@media print {
  body { max-width: none; padding: 0; font-size: 9.5pt; }
  nav { display: none; }
  h2, h3, caption { break-after: avoid; }
  .scroll { overflow: visible; border: 0; }
  th, td { padding: .2rem .4rem; white-space: normal; }
  tr { break-inside: avoid; }
  caption, thead th:first-child, tbody th { position: static; }
  details::details-content { content-visibility: visible; }
  .gallery { grid-template-columns: repeat(3, 1fr); }
}
"""
