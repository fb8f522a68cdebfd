"""The best overlay that somebody who knows everything can find: whole links within the degree limit, and the exact best flow on them.

    python planner.py FILE [--seconds S] [--seed N] [--links OUT]

Prints what it does, and as the last line one JSON object: name, planner_tasks_per_s, optimum_tasks_per_s (of the file), ratio (the one over the other),
whole_bound_tasks_per_s (no whole links reach more), links, rounds, wall_s. `cargo xtask plan-overlay` runs it with the packages that it needs.

The method is a local search over whole links around an exact solver (HiGHS).

1. The relaxation: a linear program over flows in which every candidate has a share between 0 and 1. It is the one whose value is in the file, made tighter by
   what is true of whole links, so that its value is a bound for every plan:
   - a link carries no more than either end can send or receive;
   - inputs on a link go to what its far end computes and sends on, which for whole links has two limits: what the end can compute and, over so many other links
     as it may hold, send on at most; and, with the link's share, compute * share + the inputs that it does send on;
   - a source needs no inputs from others, since it has its own.
   Links are priced in only when the others' prices say that they could pay, so that the program stays small; at the end no link is left out that could.
2. The start: links whose share is nearly whole are kept, and among the others that the relaxation uses the solver chooses whole ones.
3. Rounds: some links are free to be chosen anew, all others stay as they are, and the solver looks for the best whole choice, no worse than what is there.
   Free are, in turn, the priced-in links around a few nodes that are close to each other, all candidates around fewer nodes, and the links that the
   relaxation and the plan disagree about.
"""

import argparse
import json
import sys
import time
import typing

import highspy
import numpy as np
import scipy.sparse as sparse

# Shares this close to 0 or 1 count as such.
TINY = 1e-6
# A link whose share in the relaxation is this large is kept in the start.
NEARLY_WHOLE = 0.99
# The best links of each node that the relaxation begins with, as a multiple of the degree limit.
FIRST_LINKS = 1
# Links that one round of pricing adds at most, as a multiple of the nodes.
PRICED_LINKS = 4
# Pricing ends when all other links together could add no more than this share.
PRICING_GAP = 1e-5
# Links that are free in a round: at first, at least and at most.
FREE_FIRST, FREE_LEAST, FREE_MOST = 800, 100, 20_000
# How long the solver may take for one round, in seconds.
ROUND_SECONDS = 60.0
# A round that gains less than this share is over.
ROUND_GAP = 2e-5
# After so many rounds without gain the search ends.
PATIENCE = 12
# How often the limits for inputs are made tighter by each other.
PASSES = 10


class Network:
    """A network in units of inputs a second, with both directions of its candidates."""

    def __init__(self, instance):
        size = instance["task"]["input_bytes"]
        self.name = instance["name"]
        self.optimum = instance["optimum_tasks_per_s"]
        self.degree = instance["max_degree"]
        # How much of an input an output is.
        self.output = instance["task"]["output_bytes"] / size
        nodes = instance["nodes"]
        self.nodes = len(nodes)
        self.source = np.array([node.get("source", False) for node in nodes])
        self.compute = np.array([float(node["compute"]) for node in nodes])
        self.up = np.array([node["up"] for node in nodes]) / size
        self.down = np.array([node["down"] for node in nodes]) / size
        links = np.array(instance["links"], float)
        self.links = len(links)
        self.ends = links[:, :2].astype(int)
        first, second = self.ends.T
        # No whole link carries more than its ends send and receive.
        self.rates = np.stack(
            [
                np.minimum(links[:, 2] / size, np.minimum(self.up[first], self.down[second])),
                np.minimum(links[:, 3] / size, np.minimum(self.up[second], self.down[first])),
            ],
            axis=1,
        )
        self.inputs = self.rates_of_inputs()

    def rates_of_inputs(self):
        """The most inputs on each direction of each whole link: what its far end can compute and send on over its other links.

        A source needs no inputs from others. Each pass may only lower what another pass reckons with, so any number of them gives a valid limit."""
        rates = self.rates.copy()
        first, second = self.ends.T
        starts, ends = np.concatenate([first, second]), np.concatenate([second, first])
        for _ in range(PASSES):
            ways = rates.T.ravel()
            order = np.lexsort((-ways, starts))
            begin = np.searchsorted(starts[order], np.arange(self.nodes))
            rank = np.empty(len(ways), int)
            rank[order] = np.arange(len(ways)) - begin[starts[order]]
            others = rank < self.degree - 1
            sent = np.bincount(starts[others], weights=ways[others], minlength=self.nodes)
            room = self.compute + np.minimum(self.up, sent)
            room[self.source] = 0.0
            rates = np.minimum(ways, room[ends]).reshape(2, -1).T
        return rates


class Program:
    """The linear program over the candidates in `pool`, with whole links or shares of links.

    Columns: inputs and outputs on each direction, what each node computes, each link's share, and the inputs that each node sends."""

    def __init__(self, network, pool):
        self.network, self.pool = network, pool
        links, nodes = len(pool), network.nodes
        ways = 2 * links
        start = np.concatenate([network.ends[pool, 0], network.ends[pool, 1]])
        end = np.concatenate([network.ends[pool, 1], network.ends[pool, 0]])
        rate = np.concatenate([network.rates[pool, 0], network.rates[pool, 1]])
        inputs = np.concatenate([network.inputs[pool, 0], network.inputs[pool, 1]])
        one, way = np.ones(ways), np.arange(ways)
        sent = sparse.csr_matrix((one, (start, way)), shape=(nodes, ways))
        received = sparse.csr_matrix((one, (end, way)), shape=(nodes, ways))
        each = sparse.identity(nodes, format="csr")
        both = np.concatenate([np.arange(links), np.arange(links)])
        share_of_way = sparse.csr_matrix((one, (way, both)), shape=(ways, links))
        plain = np.flatnonzero(~network.source)
        # Directions that end at a node which is no source: what comes is computed there or sent on.
        ending = np.flatnonzero(~network.source[end])
        of_end = sparse.csr_matrix((np.ones(len(ending)), (np.arange(len(ending)), end[ending])), shape=(len(ending), nodes))
        output = network.output
        blocks = [
            # inputs, outputs, computed, shares, inputs sent on
            [(received - sent)[plain], None, -each[plain], None, None],
            [None, (received - sent)[plain], each[plain], None, None],
            [sent, None, None, None, -each],
            [sent, output * sent, None, None, None],
            [received, output * received, None, None, None],
            [sparse.identity(ways), output * sparse.identity(ways), None, -sparse.diags(rate) @ share_of_way, None],
            [sparse.identity(ways), None, None, -sparse.diags(inputs) @ share_of_way, None],
            [None, None, None, sparse.csr_matrix((one, (np.concatenate([start[:links], end[:links]]), both)), shape=(nodes, links)), None],
            [
                sparse.identity(ways, format="csr")[ending],
                None,
                None,
                -sparse.diags(network.compute[end[ending]]) @ share_of_way[ending],
                -of_end,
            ],
        ]
        matrix = sparse.bmat(blocks, format="csc")
        infinity = highspy.kHighsInf
        equal, limits = 2 * len(plain) + nodes, [network.up, network.down, np.zeros(2 * ways), np.full(nodes, float(network.degree)), np.zeros(len(ending))]
        limits = np.concatenate(limits)
        program = highspy.HighsLp()
        program.num_row_, program.num_col_ = matrix.shape
        program.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        program.a_matrix_.start_, program.a_matrix_.index_, program.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
        program.row_lower_ = np.concatenate([np.zeros(equal), np.full(len(limits), -infinity)])
        program.row_upper_ = np.concatenate([np.zeros(equal), limits])
        program.col_cost_ = np.concatenate([np.zeros(2 * ways), -np.ones(nodes), np.zeros(links + nodes)])
        self.lower = np.zeros(program.num_col_)
        self.upper = np.concatenate([np.full(2 * ways, infinity), network.compute, np.ones(links), np.full(nodes, infinity)])
        self.program = program
        self.shares = slice(2 * ways + nodes, 2 * ways + nodes + links)
        # Rows by what they are about: inputs and outputs at nodes, inputs sent, up, down, links, degrees.
        self.plain = plain
        self.rows = np.cumsum([0, len(plain), len(plain), nodes, nodes, nodes, 2 * ways, nodes])

    def solver(self, **options):
        highs = highspy.Highs()
        for option, value in {"output_flag": False, "threads": 1, **options}.items():
            highs.setOptionValue(option, value)
        return highs

    def relax(self, crossover):
        """The value with shares of links, the shares, and the rows' prices; with `crossover` at a corner, where most shares are whole."""
        program = self.program
        program.col_lower_, program.col_upper_ = self.lower, self.upper
        # The first is much faster on large programs, and sometimes does not arrive.
        for solver in "ipm", "simplex":
            highs = self.solver(solver=solver, run_crossover="on" if crossover else "off")
            highs.passModel(program)
            highs.run()
            status = highs.getModelStatus()
            if status == highspy.HighsModelStatus.kOptimal:
                break
        else:
            sys.exit(f"{self.network.name}: the relaxation has no solution: {highs.modelStatusToString(status)}")
        solution = highs.getSolution()
        shares = np.array(solution.col_value)[self.shares]
        return -highs.getInfo().objective_function_value, shares, -np.array(solution.row_dual)

    def degree_prices(self, prices):
        """What one more link would be worth to each node."""
        return prices[self.rows[6] : self.rows[7]]

    def gains(self, prices):
        """What each candidate of the network could gain at most with these prices: what its capacity is worth, less the price of its ends' degrees.

        Links of the pool gain nothing."""
        network = self.network
        inputs, outputs = np.zeros(network.nodes), np.zeros(network.nodes)
        part = lambda index: prices[self.rows[index] : self.rows[index + 1]]
        inputs[self.plain], outputs[self.plain] = part(0), part(1)
        sent, up, down, degree = part(2), part(3), part(4), self.degree_prices(prices)
        first, second = network.ends.T
        gains = -degree[first] - degree[second]
        ways = (first, second, network.rates[:, 0], network.inputs[:, 0]), (second, first, network.rates[:, 1], network.inputs[:, 1])
        for start, end, rate, most_inputs in ways:
            of_input = inputs[start] - inputs[end] - sent[start] - up[start] - down[end]
            of_output = (outputs[start] - outputs[end]) / network.output - up[start] - down[end]
            # Outputs take the whole rate, inputs up to their own limit, at the price that both are worth.
            worth = np.maximum(of_output, 0.0)
            gains += rate * worth + most_inputs * np.maximum(of_input - worth, 0.0)
        return gains

    def choose(self, keep, held, seconds):
        """The value of the best whole links of the pool with those in `keep`, as far as the time allows, and which they are; no worse than `held`."""
        program = self.program
        lower = self.lower.copy()
        lower[self.shares][keep] = 1.0
        program.col_lower_, program.col_upper_ = lower, self.upper
        kinds = [highspy.HighsVarType.kContinuous] * program.num_col_
        kinds[self.shares] = [highspy.HighsVarType.kInteger] * len(self.pool)
        program.integrality_ = kinds
        highs = self.solver(time_limit=max(1.0, seconds), mip_rel_gap=ROUND_GAP)
        highs.passModel(program)
        columns = np.arange(self.shares.start, self.shares.stop, dtype=np.int32)
        highs.setSolution(len(columns), columns, held.astype(float))
        highs.run()
        info = highs.getInfo()
        if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
            # Not even what is held was taken up in the time.
            return -np.inf, held
        shares = np.array(highs.getSolution().col_value)[self.shares]
        return -info.objective_function_value, shares > 0.5


class Relaxed(typing.NamedTuple):
    """What the relaxation says."""

    # Candidates that may pay, and the share of each candidate.
    pool: np.ndarray
    shares: np.ndarray
    # What one more link would be worth to each node.
    degree_prices: np.ndarray
    # No plan with whole links reaches more.
    bound: float


def relaxation(network):
    """Solves the relaxation over all candidates."""
    pool = np.zeros(network.links, bool)
    for node in range(network.nodes):
        mine = np.flatnonzero((network.ends == node).any(axis=1))
        best = np.argsort(-network.rates[mine].max(axis=1), kind="stable")
        pool[mine[best[: FIRST_LINKS * network.degree]]] = True
    while True:
        begun = time.monotonic()
        program = Program(network, np.flatnonzero(pool))
        value, _, prices = program.relax(crossover=False)
        gains = program.gains(prices)
        paying = np.flatnonzero(~pool & (gains > TINY))
        # Each of these could add its gain and no more.
        bound = value + gains[paying].sum()
        say(f"relaxation over {pool.sum()} links: {value:.3f}; {len(paying)} more could pay, {bound:.3f} at most; {time.monotonic() - begun:.1f} s")
        if bound <= value * (1 + PRICING_GAP):
            break
        chosen = paying[np.argsort(-gains[paying], kind="stable")]
        pool[chosen[: PRICED_LINKS * network.nodes]] = True
    begun = time.monotonic()
    _, shares, prices = program.relax(crossover=True)
    all_shares = np.zeros(network.links)
    all_shares[program.pool] = shares
    whole = (shares > 1 - TINY).sum()
    part = ((shares > TINY) & (shares <= 1 - TINY)).sum()
    say(f"its corner has {whole} whole links and {part} parts; {time.monotonic() - begun:.1f} s")
    return Relaxed(pool, all_shares, program.degree_prices(prices), bound)


def start(network, relaxed, seconds):
    """The first plan: what the relaxation holds nearly whole, and the best of what it holds in part."""
    pool = np.flatnonzero(relaxed.shares > TINY)
    # No node has more of these than it may hold: their shares would add up to more.
    keep = relaxed.shares[pool] >= NEARLY_WHOLE
    value, chosen = Program(network, pool).choose(keep, keep, seconds)
    held = np.zeros(network.links, bool)
    held[pool[chosen]] = True
    return value, held


def region(network, random, relaxed, candidates, held, size):
    """Links around nodes that are close to each other in the plan, at least `size` if there are so many, from a node on for which the choice of links matters."""
    inside = np.zeros(network.nodes, bool)
    free = np.zeros(network.links, bool)
    matters = np.flatnonzero(relaxed.degree_prices > TINY)
    rim = [random.choice(matters)] if len(matters) > 0 else []
    while free.sum() < size and not inside.all():
        if not rim:
            rim = [random.choice(np.flatnonzero(~inside))]
        node = rim.pop(random.integers(len(rim)))
        if inside[node]:
            continue
        inside[node] = True
        mine = (network.ends == node).any(axis=1)
        free |= mine & candidates
        around = network.ends[mine & held].ravel()
        rim.extend(around[~inside[around]])
    return free


def disagreement(network, random, relaxed, held, size):
    """Links that the relaxation and the plan disagree about, or `size` of them around some nodes."""
    differ = np.abs(relaxed.shares - held) > 0.1
    free = np.zeros(network.links, bool)
    for node in random.permutation(network.nodes):
        free |= differ & (network.ends == node).any(axis=1)
        if free.sum() >= size:
            break
    return free


def search(network, relaxed, seconds, seed):
    """The best plan found, and how many rounds that took."""
    random = np.random.default_rng(seed)
    begun = time.monotonic()
    left = lambda: seconds - (time.monotonic() - begun)
    value, held = start(network, relaxed, min(seconds, 3 * ROUND_SECONDS))
    say(f"start: {value:.3f}, {value / network.optimum:.4f}; {held.sum()} links; {seconds - left():.0f} s")
    size, rounds, idle = float(FREE_FIRST), 0, 0
    while left() > 0 and idle < PATIENCE and value < relaxed.bound * (1 - ROUND_GAP):
        rounds += 1
        kind = rounds % 3
        if kind == 0:
            free = disagreement(network, random, relaxed, held, size)
        else:
            # Whole links may need candidates that parts of links do not.
            candidates = relaxed.pool | held if kind == 1 else np.ones(network.links, bool)
            free = region(network, random, relaxed, candidates, held, size)
        pool = np.flatnonzero(free | held)
        keep = held[pool] & ~free[pool]
        since = time.monotonic()
        limit = min(ROUND_SECONDS, left())
        found = Program(network, pool).choose(keep, held[pool], limit)
        took = time.monotonic() - since
        size *= 0.8 if took >= limit else 1.25 if took < ROUND_SECONDS / 4 else 1.0
        size = min(max(size, FREE_LEAST), FREE_MOST)
        better = found[0] > value * (1 + TINY)
        idle = 0 if better else idle + 1
        if better:
            value = found[0]
            held[:] = False
            held[pool[found[1]]] = True
        mark = "+" if better else " "
        say(f"{mark} round {rounds}: {free.sum()} links free, {value:.3f}, {value / network.optimum:.4f}; {took:.1f} s")
    return held, rounds


def flow(network, held):
    """The most tasks a second over these links, whole, and a check that nobody holds too many."""
    degrees = np.bincount(network.ends[held].ravel(), minlength=network.nodes)
    assert degrees.max() <= network.degree, "a node holds too many links"
    program = Program(network, np.flatnonzero(held))
    program.lower[program.shares] = 1.0
    return program.relax(crossover=True)[0]


def say(text):
    print(text, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long to search, without the relaxation before it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--links", help="a file for the links that are held, as JSON: pairs of nodes")
    arguments = parser.parse_args()
    with open(arguments.file, encoding="utf-8") as file:
        instance = json.load(file)
    if instance.get("mode") != "overlay":
        sys.exit(f"{arguments.file}: mode is {instance.get('mode')!r}, and only an overlay has links to choose")
    begun = time.monotonic()
    network = Network(instance)
    relaxed = relaxation(network)
    held, rounds = search(network, relaxed, arguments.seconds, arguments.seed)
    value = flow(network, held)
    if arguments.links:
        with open(arguments.links, "w", encoding="utf-8") as file:
            json.dump(network.ends[held].tolist(), file)
    say(
        json.dumps(
            {
                "name": network.name,
                "planner_tasks_per_s": round(value, 6),
                "optimum_tasks_per_s": network.optimum,
                "ratio": round(value / network.optimum, 6),
                "whole_bound_tasks_per_s": round(min(relaxed.bound, network.optimum), 6),
                "links": int(held.sum()),
                "rounds": rounds,
                "wall_s": round(time.monotonic() - begun, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
