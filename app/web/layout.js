/**
 * Where the nodes of the neighbourhood stand: the query in the middle, pictures on a ring around it with alike ones
 * side by side, tags outside beside the pictures that carry them. Always the same for the same graph, so a node that
 * stays after a small change hardly moves.
 */

const GAP = 14;
const EDGE = 4;
const STEPS = 240;
/** Into how many straight pieces an ellipse is cut to measure along it. */
const ARC = 360;
/** How strongly a node is drawn back to its place on the ring while others push it. */
const HOME = 0.03;
/** How far it gives way, by kind; the query does not. */
const YIELDS = { query: 0, image: 0.35, tag: 1 };

/**
 * `nodes`: [{key, kind: "query" | "image" | "tag", width, height}], the strongest first in each kind;
 * `links`: [{from, to, weight}] by key. Returns a Map of key → {x, y}, the middles, inside `width` × `height`.
 */
export function layOut(nodes, links, width, height) {
  const near = neighbours(links);
  const images = ring(nodes.filter(({ kind }) => kind === "image"), near);
  const tags = nodes.filter(({ kind }) => kind === "tag");
  const widest = Math.max(...nodes.map((node) => node.width));
  const tallest = Math.max(...nodes.map((node) => node.height));
  const across = (width - widest) / 2;
  const down = (height - tallest) / 2;
  const angles = new Map();
  evenly(images.length, across, down).forEach((angle, at) => angles.set(images[at].key, angle));
  tags.forEach(({ key }, at) => angles.set(key, meanAngle(key, near, angles) ?? (at / tags.length) * 2 * Math.PI));

  const reach = { query: 0, image: images.length && tags.length ? 0.6 : 0.8, tag: 0.96 };
  const placed = nodes.map((node) => {
    const angle = angles.get(node.key) ?? 0;
    const home = {
      x: width / 2 + reach[node.kind] * Math.cos(angle) * across,
      y: height / 2 + reach[node.kind] * Math.sin(angle) * down,
    };
    return { ...node, home, ...home };
  });
  for (let step = 0; step < STEPS; step += 1) settle(placed, width, height);
  return new Map(placed.map(({ key, x, y }) => [key, { x, y }]));
}

function neighbours(links) {
  const near = new Map();
  const join = (from, to, weight) => {
    if (!near.has(from)) near.set(from, new Map());
    near.get(from).set(to, weight);
  };
  for (const { from, to, weight } of links) {
    join(from, to, weight);
    join(to, from, weight);
  }
  return near;
}

/** Angles of `count` points at equal distances along an ellipse, from its top: at equal angles they crowd at its ends. */
function evenly(count, across, down) {
  const walked = [0];
  for (let step = 1; step <= ARC; step += 1) {
    const [from, to] = [step - 1, step].map((at) => (at / ARC) * 2 * Math.PI);
    walked.push(walked[step - 1] + Math.hypot(across * (Math.sin(to) - Math.sin(from)), down * (Math.cos(to) - Math.cos(from))));
  }
  return Array.from({ length: count }, (_, at) => {
    const step = walked.findIndex((length) => length >= (at / count) * walked[ARC]);
    return (step / ARC) * 2 * Math.PI - Math.PI / 2;
  });
}

/** The pictures in an order in which each stands beside what it shares most with. */
function ring(images, near) {
  const left = [...images];
  const order = left.splice(0, 1);
  while (left.length) {
    const last = near.get(order.at(-1).key) ?? new Map();
    const shared = (key) => {
      const its = near.get(key) ?? new Map();
      return [...last.keys()].filter((other) => its.has(other)).length + 2 * (last.get(key) ?? 0);
    };
    const best = left.reduce((chosen, node) => (shared(node.key) > shared(chosen.key) ? node : chosen));
    order.push(...left.splice(left.indexOf(best), 1));
  }
  return order;
}

/** The direction of the pictures that a tag is on; undefined where none of them carries it or they cancel out. */
function meanAngle(key, near, angles) {
  let x = 0;
  let y = 0;
  for (const other of (near.get(key) ?? new Map()).keys()) {
    const angle = angles.get(other);
    if (angle === undefined) continue;
    x += Math.cos(angle);
    y += Math.sin(angle);
  }
  return Math.hypot(x, y) < 0.05 ? undefined : Math.atan2(y, x);
}

/** One step: boxes that overlap push each other apart along the shorter way, and everything is drawn home a little. */
function settle(nodes, width, height) {
  for (let i = 0; i < nodes.length; i += 1) {
    for (let j = i + 1; j < nodes.length; j += 1) push(nodes[i], nodes[j]);
  }
  for (const node of nodes) {
    if (node.kind === "query") continue;
    node.x += (node.home.x - node.x) * HOME;
    node.y += (node.home.y - node.y) * HOME;
    node.x = inside(node.x, node.width / 2 + EDGE, width);
    node.y = inside(node.y, node.height / 2 + EDGE, height);
  }
}

function push(a, b) {
  const overX = (a.width + b.width) / 2 + GAP - Math.abs(a.x - b.x);
  const overY = (a.height + b.height) / 2 + GAP - Math.abs(a.y - b.y);
  if (overX <= 0 || overY <= 0) return;
  const axis = overX < overY ? "x" : "y";
  const away = (a[axis] < b[axis] ? -1 : 1) * Math.min(overX, overY);
  const total = YIELDS[a.kind] + YIELDS[b.kind];
  a[axis] += (away * YIELDS[a.kind]) / total;
  b[axis] -= (away * YIELDS[b.kind]) / total;
}

const inside = (value, margin, size) => Math.min(size - margin, Math.max(margin, value));
