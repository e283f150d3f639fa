"""The style sheet of the status page, and the policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib

STYLE = """
:root{color-scheme:light dark;--bg:#f5f6f8;--card:#fff;--text:#16191d;--muted:#5c6570;
--line:#e2e5ea;--bar:#4c7fd0;--track:#e6e9ee;--code:#f0f2f5;--good:#14804a;--warn:#a86200;
--bad:#c3272b;--none:#69727d;--link:#1d5fc4}
@media (prefers-color-scheme:dark){:root{--bg:#0f1216;--card:#171b21;--text:#e4e8ed;
--muted:#97a1ad;--line:#282e37;--bar:#5b8fe0;--track:#262c35;--code:#10141a;--good:#3fc380;
--warn:#eaa53a;--bad:#ff6b66;--none:#8a94a0;--link:#82b1ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--text);font:15px/1.5 system-ui,-apple-system,
"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif;font-variant-numeric:tabular-nums;
overflow-wrap:anywhere}
main,.top,footer{max-width:1080px;margin:0 auto;padding:0 16px}
a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}
h1,h2,h3,p,ul,dl,dd{margin:0;padding:0}ul{list-style:none}
h1{font-size:20px;line-height:1.3}
h2{font-size:13px;font-weight:600;letter-spacing:.04em;text-transform:uppercase;
color:var(--muted);margin:0 0 12px}
h3{font-size:16px;line-height:1.4}
small,.muted{color:var(--muted);font-size:13px}
.top{display:flex;flex-wrap:wrap;gap:4px 16px;align-items:baseline;padding-top:20px;
padding-bottom:12px}
.top .when{margin-left:auto}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:20px;
margin:0 0 16px}
.note{border-left:4px solid var(--warn);padding:12px 16px}
.note.bad{border-left-color:var(--bad)}
.hero{display:flex;gap:24px;align-items:center}
.hero svg{flex:none;width:132px;height:132px}
.hero .verdict{font-size:20px;line-height:1.4;margin:6px 0 8px}
.ring{fill:none;stroke:var(--track);stroke-width:10}
.arc{fill:none;stroke:currentColor;stroke-width:10;stroke-linecap:round}
.score{font-size:34px;font-weight:650;fill:var(--text)}.of{font-size:12px;fill:var(--muted)}
.healthy,.ok{color:var(--good)}.degraded,.warning,.partial,.timeout{color:var(--warn)}
.critical,.error{color:var(--bad)}.unknown,.info,.unavailable{color:var(--none)}
.tag{display:inline-block;border:1px solid currentColor;border-radius:999px;padding:0 10px;
font-size:12px;font-weight:600;line-height:20px;white-space:nowrap}
article.finding{border-left:4px solid var(--none);color:var(--text);padding-left:16px;
margin-top:20px}
article.finding:first-of-type{margin-top:0}
article.critical{border-color:var(--bad)}article.warning{border-color:var(--warn)}
.finding p{margin-top:4px}
.pairs{margin-top:10px}.pairs td{padding:3px 12px 3px 0;border:0}
.pairs td:first-child{width:54%}.pairs td:nth-child(2){width:16%;white-space:nowrap}
.wide{overflow-x:auto;-webkit-overflow-scrolling:touch;overflow-wrap:normal}
table{border-collapse:collapse;width:100%;font-size:14px}
th{font-size:12px;font-weight:600;color:var(--muted);text-align:left;padding:0 12px 6px 0}
td{padding:6px 12px 6px 0;border-top:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right}
tr.device td{border-top:0;padding-top:0;color:var(--muted);font-size:13px}
tr.device td:first-child{padding-left:16px}
.bar{width:96px;height:8px;vertical-align:baseline;margin-right:8px;border-radius:4px}
.bar .t{fill:var(--track)}.bar .f{fill:var(--bar)}.bar .p{fill:var(--text);opacity:.55}
.spark{width:84px;height:18px;vertical-align:middle;margin-left:8px}
.spark polyline{fill:none;stroke:var(--bar);stroke-width:1.5}
.nb{white-space:nowrap}small{overflow-wrap:anywhere}pre+.muted,dl+.muted{margin-top:10px}
.cost .f{fill:var(--bad)}
code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;
font-size:13px}
pre{background:var(--code);border-radius:6px;padding:8px 12px;margin:6px 0 0;overflow-x:auto;
white-space:pre}
.advice{margin-top:20px}.advice:first-of-type{margin-top:0}
dl{display:grid;grid-template-columns:auto 1fr;gap:4px 12px;margin-top:8px}
dt{color:var(--muted)}
.wide+.muted{margin-top:10px}ul+.wide{margin-top:12px}
.chips{display:flex;flex-wrap:wrap;gap:6px 14px;font-size:13px}
footer{padding-top:4px;padding-bottom:32px;font-size:14px}
footer ul{display:flex;flex-wrap:wrap;gap:6px 18px}
@media (max-width:640px){.hero{align-items:flex-start;gap:16px}.hero svg{width:92px;height:92px}
.hero .verdict{font-size:17px}.card{padding:16px}.top .when{margin-left:0}.spark{display:none}
.bar{width:56px}.cost{display:none}
.use td:nth-child(3){min-width:150px}.pairs td:first-child{width:auto}}
"""
_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
# No script, no frame, nothing from elsewhere; the one style sheet is named by its hash.
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
