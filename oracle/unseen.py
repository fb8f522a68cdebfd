#!/usr/bin/env python3
"""Makes the networks `unseen-*` and `heavy-*`, on which no constant of any rule was tried, each with its exact bound.

    python3 -m venv env && env/bin/pip install scipy
    env/bin/python oracle/unseen.py FOLDER

Needs scipy for the linear program. The same seeds give the same networks.
"""

import json
import math
import pathlib
import random
import sys

from scipy.optimize import linprog
from scipy.sparse import coo_matrix

INPUT_BYTES = 65536
SEED = 7000


def pairs(kind, nodes, rng):
    """The links of a graph, as pairs, and how many nodes it has after all."""
    links = set()

    def link(a, b):
        if a != b:
            links.add((min(a, b), max(a, b)))

    if kind == "ba":
        ends = [0, 1, 1, 2, 0, 2]
        for pair in ((0, 1), (1, 2), (0, 2)):
            link(*pair)
        for node in range(3, nodes):
            chosen = set()
            while len(chosen) < 3:
                chosen.add(rng.choice(ends))
            for other in sorted(chosen):
                link(node, other)
                ends += [node, other]
    elif kind == "smallworld":
        for node in range(nodes):
            for step in (1, 2, 3):
                far = rng.random() < 0.1
                link(node, rng.randrange(nodes) if far else (node + step) % nodes)
    elif kind == "tree":
        for node in range(1, nodes):
            link(node, rng.randrange(node))
    elif kind in ("grid", "torus"):
        side = math.isqrt(nodes)
        nodes = side * side
        for node in range(nodes):
            x, y = node % side, node // side
            if kind == "torus" or x + 1 < side:
                link(node, (x + 1) % side + y * side)
            if kind == "torus" or y + 1 < side:
                link(node, x + (y + 1) % side * side)
    elif kind == "regular":
        for _ in range(3):
            ring = list(range(nodes))
            rng.shuffle(ring)
            for place in range(nodes):
                link(ring[place], ring[(place + 1) % nodes])
    elif kind == "chain":
        for node in range(1, nodes):
            link(node - 1, node)
    elif kind in ("clusters", "caves"):
        size = 12 if kind == "clusters" else 8
        for node in range(nodes):
            for other in range(node):
                if node // size == other // size:
                    link(node, other)
        count = nodes // size
        for cluster in range(count):
            link(cluster * size, (cluster + 1) % count * size + 1)
    elif kind == "geometric":
        places = [(rng.random(), rng.random()) for _ in range(nodes)]
        reach = math.sqrt(6 / (math.pi * nodes))
        for node in range(nodes):
            for other in range(node):
                if math.dist(places[node], places[other]) < reach:
                    link(node, other)
    elif kind == "random":
        for node in range(nodes):
            for other in range(node):
                if rng.random() < 4 / nodes:
                    link(node, other)
    elif kind == "cube":
        bits = nodes.bit_length() - 1
        nodes = 1 << bits
        for node in range(nodes):
            for bit in range(bits):
                link(node, node ^ (1 << bit))
    else:
        raise SystemExit(f"there is no kind of network `{kind}`")
    return nodes, connected(nodes, links, rng)


def connected(nodes, links, rng):
    """The links, and as many more as the network needs to be one piece."""
    above = list(range(nodes))

    def root(node):
        while above[node] != node:
            above[node] = above[above[node]]
            node = above[node]
        return node

    for a, b in sorted(links):
        above[root(a)] = root(b)
    for node in range(1, nodes):
        if root(node) != root(0):
            links.add((rng.randrange(node), node))
            above[root(node)] = root(0)
    return sorted(links)


def bound(nodes, links, output_bytes):
    """The most tasks a second: the linear program of README.md."""
    edges = [edge for a, b, there, back, _ in links for edge in ((a, b, there), (b, a, back))]
    count, many = len(nodes), len(edges)
    ratio = output_bytes / INPUT_BYTES
    # Inputs and outputs on each edge; then for each node what it computes, what it hands out and what comes home to it.
    work, out, home = 2 * many, 2 * many + count, 2 * many + 2 * count
    limits = [None] * (2 * many)
    limits += [node["compute"] for node in nodes]
    limits += [None if node["source"] else 0 for node in nodes] * 2
    leaving, coming = [[] for _ in nodes], [[] for _ in nodes]
    for edge, (a, b, _) in enumerate(edges):
        leaving[a].append(edge)
        coming[b].append(edge)

    kept = []
    for node in range(count):
        for shift, gains, costs in ((0, out + node, work + node), (many, work + node, home + node)):
            row = [(edge + shift, 1) for edge in coming[node]] + [(edge + shift, -1) for edge in leaving[node]]
            kept.append(row + [(gains, 1), (costs, -1)])
    carried, most = [], []
    for edge, (_, _, rate) in enumerate(edges):
        carried.append([(edge, 1), (edge + many, ratio)])
        most.append(rate / INPUT_BYTES)
    for node in range(count):
        for ends, what in ((leaving, "up"), (coming, "down")):
            carried.append([cell for edge in ends[node] for cell in ((edge, 1), (edge + many, ratio))])
            most.append(nodes[node][what] / INPUT_BYTES)

    def matrix(rows):
        cells = [(row, column, value) for row, line in enumerate(rows) for column, value in line]
        rows_, columns, values = zip(*cells)
        return coo_matrix((values, (rows_, columns)), shape=(len(rows), len(limits))).tocsr()

    cost = [0.0] * len(limits)
    cost[work : work + count] = [-1.0] * count
    found = linprog(
        cost,
        A_ub=matrix(carried),
        b_ub=most,
        A_eq=matrix(kept),
        b_eq=[0.0] * (2 * count),
        bounds=[(0, limit) for limit in limits],
        method="highs",
    )
    if found.status != 0:
        raise SystemExit(found.message)
    return -found.fun


def network(name, kind, nodes, sources, ratio, shape, seed):
    """One instance. `shape`: the medians of what nodes compute and links carry and of latencies, and how far rates spread."""
    rng = random.Random(seed)
    compute, rate, latency, spread = shape

    def drawn(median, spread):
        return rng.lognormvariate(math.log(median), spread)

    nodes, ends = pairs(kind, nodes, rng)
    specs = []
    for _ in range(nodes):
        up = drawn(640_000, spread)
        down = up * 4.48 ** rng.random()
        specs.append({"compute": round(drawn(compute, spread), 4), "up": round(up), "down": round(down), "source": False})
    for node in rng.sample(range(nodes), sources):
        specs[node]["source"] = True
        specs[node]["up"] *= 20
        specs[node]["down"] *= 20
    links = [[a, b, round(drawn(rate, spread)), round(drawn(rate, spread)), round(drawn(latency, 0.8), 1)] for a, b in ends]
    output_bytes = int(INPUT_BYTES * ratio)
    return {
        "name": name,
        "mode": "fixed",
        "task": {"input_bytes": INPUT_BYTES, "output_bytes": output_bytes},
        "nodes": specs,
        "links": links,
        "optimum_tasks_per_s": round(bound(specs, links, output_bytes), 6),
    }


def instances():
    """Unseen: capacities as in `fixed`. Heavy: fewer spread rates, more of them, larger results."""
    kinds = ["ba", "smallworld", "tree", "grid", "regular", "chain", "clusters", "geometric", "random", "torus", "caves", "cube"]
    seed = SEED
    for kind in kinds:
        for nodes, sources, ratio in ((144, 4, 0.25), (100, 2, 0.02)):
            seed += 1
            yield network(f"unseen-{kind}-{nodes}-{seed}", kind, nodes, sources, ratio, (1.0, 3 * INPUT_BYTES, 12.0, 1.0), seed)
    for kind in ("ba", "regular", "geometric", "random", "torus", "caves", "cube"):
        for nodes in (48, 128):
            seed += 1
            rng = random.Random(seed)
            shape = (rng.choice([1.0, 2.0]), rng.choice([400_000, 800_000]), rng.choice([5.0, 15.0, 30.0]), rng.choice([0.5, 0.8]))
            yield network(f"heavy-{kind}-{nodes}-{seed}", kind, nodes, 4, rng.choice([0.1, 0.5, 1.0]), shape, seed)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: unseen.py FOLDER")
    folder = pathlib.Path(sys.argv[1])
    for instance in instances():
        path = folder / f"{instance['name']}.json"
        path.write_text(json.dumps(instance, separators=(",", ":")) + "\n")
        print(path.name, instance["optimum_tasks_per_s"])
