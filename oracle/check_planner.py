"""Checks the planner on small random networks against an exact integer program that has none of its short cuts.

    python check_planner.py [--networks N] [--seed N]

For each network the planner's plan is no better than the best whole links, its bound is not below them and not above the value with shares of links. Prints how
often the plan was the best; fails at the first network where any of that is wrong. `cargo xtask plan-overlay --check` runs it.
"""

import argparse
import sys

import highspy
import numpy as np

import planner

SECONDS = 20.0
SLACK = 1e-5


def instance(random):
    """A network of a few nodes with candidates between most of them."""
    nodes = int(random.integers(4, 14))
    rate = lambda scale, spread: 65536 * float(scale * random.lognormal(0, spread))
    return {
        "name": "random",
        "mode": "overlay",
        "task": {"input_bytes": 65536, "output_bytes": int(random.choice([1310, 30000, 65536]))},
        "nodes": [
            {"compute": float(random.lognormal(0, 1)), "up": rate(4, 1.2), "down": rate(5, 1.2), "source": node < 1 + (nodes > 8)} for node in range(nodes)
        ],
        "links": [[a, b, rate(1, 1.2), rate(1, 1.2), 10.0] for a in range(nodes) for b in range(a) if random.random() < 0.7] or [[1, 0, 65536, 65536, 10.0]],
        "max_degree": int(random.integers(1, 5)),
        "optimum_tasks_per_s": 1.0,
    }


def best(instance, whole):
    """The most tasks a second, straight from the model: with whole links, or with shares of them."""
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("mip_rel_gap", 1e-7)
    size, infinity = instance["task"]["input_bytes"], highspy.kHighsInf
    output = instance["task"]["output_bytes"] / size
    column = lambda upper: highs.addVariable(lb=0, ub=upper)
    computed = [column(node["compute"]) for node in instance["nodes"]]
    # What goes in and out of each node: pairs of inputs and outputs.
    sent, received, degrees = ([[] for _ in computed] for _ in range(3))
    for first, second, forth, back, _ in instance["links"]:
        share = column(1)
        if whole:
            highs.setInteger(share)
        for start, end, rate in (first, second, forth), (second, first, back):
            inputs, outputs = column(infinity), column(infinity)
            highs.addConstr(inputs + output * outputs - rate / size * share <= 0)
            sent[start].append((inputs, outputs))
            received[end].append((inputs, outputs))
        degrees[first].append(share)
        degrees[second].append(share)
    total = lambda terms: sum(terms, start=0 * computed[0])
    for node, spec in enumerate(instance["nodes"]):
        for ways, capacity in (sent, spec["up"]), (received, spec["down"]):
            highs.addConstr(total(inputs + output * outputs for inputs, outputs in ways[node]) <= capacity / size)
        highs.addConstr(total(degrees[node]) <= instance["max_degree"])
        if not spec["source"]:
            kept = lambda item: total(way[item] for way in received[node]) - total(way[item] for way in sent[node])
            highs.addConstr(kept(0) - computed[node] == 0)
            highs.addConstr(kept(1) + computed[node] == 0)
    highs.maximize(total(computed))
    return highs.getInfo().objective_function_value


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    planner.say = lambda text: None
    random = np.random.default_rng(arguments.seed)
    reached = 0
    for number in range(arguments.networks):
        drawn = instance(random)
        network = planner.Network(drawn)
        relaxed = planner.relaxation(network)
        held, _ = planner.search(network, relaxed, SECONDS, arguments.seed)
        plan, links, shares = planner.flow(network, held), best(drawn, whole=True), best(drawn, whole=False)
        what = f"seed {arguments.seed}, network {number}: plan {plan}, whole links {links}, bound {relaxed.bound}, shares {shares}"
        slack = SLACK * max(1.0, shares)
        if not plan <= links + slack or not links <= relaxed.bound + slack or not relaxed.bound <= shares + slack:
            sys.exit(f"wrong: {what}")
        reached += plan >= links - slack
    print(f"{arguments.networks} networks: the bound held on all, and the plan was the best on {reached}")


if __name__ == "__main__":
    main()
