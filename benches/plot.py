#!/usr/bin/env python3
"""Draws the plots of docs/performance.md from benches/results: SVG with logarithmic axes, and no packages."""

import csv
import math
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
COLOURS = {
    "memory": "#2a7a3b",
    "directory": "#b8570b",
    "redis": "#b3202c",
    "memcached": "#2858a8",
    "sqlite": "#7a3fa0",
    "postgres": "#1d8a99",
    "mariadb": "#c29a00",
    "bare route": "#777777",
}
WIDTH, HEIGHT = 330, 230  # of one panel, without its margins
LEFT, TOP, RIGHT, BOTTOM = 70, 62, 20, 52


def rows(name):
    with open(ROOT / "benches/results" / f"{name}.tsv") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def lines(table, where, x, y, label=lambda row: row["store"], scale=1):
    """The points of each line: those rows in which every column of `where` has its value."""
    found = {}
    for row in table:
        # A cell is empty if it was not measured.
        if all(row[column] == value for column, value in where.items()) and row[y]:
            found.setdefault(label(row), []).append((float(row[x]), scale * float(row[y])))
    return found


def ticks(low, high):
    """The decades, and 2 and 5 between them where they are few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < 300 else (1,)
    return [step * 10.0**decade for decade in decades for step in steps]


def range_of(values):
    """The ticks around `values`, from the last one below to the first one above."""
    low, high = min(values), max(values)
    all_ticks = ticks(low, high)
    first = max(tick for tick in all_ticks if tick <= low * 1.0001)
    last = min([tick for tick in all_ticks if tick >= high * 0.9999] or [high * 1.2])
    return [tick for tick in all_ticks if first <= tick <= last], first, max(last, first * 10)


def short(value):
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g}"


def text(x, y, content, anchor="middle", size=12, colour="#222222", turn=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}"{turn}>'
            f"{content}</text>")


def panel(left, title, x_name, y_name, data, bar=None):
    xs = sorted({x for points in data.values() for x, _ in points})
    x_low, x_high = xs[0], xs[-1]
    y_ticks, y_low, y_high = range_of([y for points in data.values() for _, y in points] + ([bar] if bar else []))

    def place(x, y):
        return (left + WIDTH * math.log(x / x_low) / math.log(x_high / x_low),
                TOP + HEIGHT * (1 - math.log(y / y_low) / math.log(y_high / y_low)))

    bottom, out = TOP + HEIGHT, []
    out.append(text(left + WIDTH / 2, TOP - 12, title, size=14))
    for tick in y_ticks:
        y = place(x_low, tick)[1]
        out.append(f'<path d="M{left} {y:.1f}h{WIDTH}" stroke="#dddddd"/>')
        out.append(text(left - 6, y + 4, short(tick), "end"))
    for x in xs:
        at = place(x, y_low)[0]
        out.append(f'<path d="M{at:.1f} {TOP}V{bottom}" stroke="#dddddd"/>')
        out.append(text(at, bottom + 17, short(x)))
    out.append(text(left + WIDTH / 2, bottom + 38, x_name))
    middle = TOP + HEIGHT / 2
    out.append(text(left - 50, middle, y_name, turn=f' transform="rotate(-90 {left - 50} {middle})"'))
    if bar:
        y = place(x_low, bar)[1]
        out.append(f'<path d="M{left} {y:.1f}h{WIDTH}" stroke="#222222" stroke-dasharray="6 4"/>')
    for name, points in data.items():
        places = [place(x, y) for x, y in sorted(points)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        out.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{COLOURS[name]}"/>' for x, y in places]
    return out


def figure(name, panels, bar=None):
    step = LEFT + WIDTH + RIGHT
    width, height = step * len(panels), TOP + HEIGHT + BOTTOM
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
           'font-family="sans-serif">', f'<rect width="{width}" height="{height}" rx="6" fill="#ffffff"/>']
    names = list(dict.fromkeys(name for *_, data in panels for name in data))
    for place, label in enumerate(names):
        x = LEFT + 110 * place
        out.append(f'<path d="M{x} 18h22" stroke="{COLOURS[label]}" stroke-width="4"/>')
        out.append(text(x + 28, 22, label, "start", colour=COLOURS[label]))
    for place, (title, x_name, y_name, data) in enumerate(panels):
        out += panel(step * place + LEFT, title, x_name, y_name, data, bar)
    out.append("</svg>\n")
    (ROOT / "docs/img" / f"{name}.svg").write_text("\n".join(out))


def main():
    (ROOT / "docs/img").mkdir(exist_ok=True)
    acts = {"read": "read a value", "change": "change a value", "sweep": "sweep", "list": "list all sessions"}
    table = rows("size")
    for of, name, x_name in (("values", "values", "values in the session"), ("kB", "bytes", "kB in the session")):
        bare = lines(table, {"store": "memory", "of": of, "request": "bare"}, "size", "median_us", lambda _: "bare route")
        figure(name, [(acts[act], x_name, "µs a request (median)",
                       lines(table, {"of": of, "request": act}, "size", "median_us") | bare) for act in ("read", "change")])
    table = rows("sessions")
    figure("sessions", [(acts[act], "sessions in the store", "seconds",
                         lines(table, {"act": act}, "sessions", "seconds")) for act in ("sweep", "list")])
    figure("calls", [(act, "sessions in the store", "µs (median)",
                      lines(table, {"act": act}, "sessions", "seconds", scale=1e6)) for act in ("load", "save")])
    figure("meanwhile", [("requests during a " + ("sweep" if act == "sweep" else "listing"), "sessions in the store",
                          "p99 relative to quiet", lines(table, {"act": act}, "sessions", "ratio"))
                         for act in ("sweep", "list")], bar=2)
    table = rows("connections")
    for column, name, y_name in (("per_second", "connections", "requests a second"), ("p99_us", "latency", "p99 in µs")):
        bare = lines(table, {"store": "memory", "request": "bare"}, "connections", column, lambda _: "bare route")
        figure(name, [(acts[act], "connections", y_name, lines(table, {"request": act}, "connections", column) | bare)
                      for act in ("read", "change")])


if __name__ == "__main__":
    main()
