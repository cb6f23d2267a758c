/**
 * Which labels an expression's series have, from the labels of the metrics in it.
 *
 * Besides names that do not exist this finds labels that an inner aggregation took away, and operands that never meet
 * because one side has a label more.
 */

import type { SyntaxNode } from "@lezer/common";
import { parser } from "@prometheus-io/lezer-promql";

/** Labels of one kind of series. */
export type Labels = ReadonlySet<string>;

/** What an expression gives; a scalar has no labels. */
export type Shape = Labels | "scalar";

/** Says which labels a metric has; nothing for an unknown one. */
export type Known = (metric: string) => Labels | undefined;

const SELECTORS = new Set([
  "VectorSelector",
  "MatrixSelector",
  "SubqueryExpr",
  "OffsetExpr",
  "StepInvariantExpr",
  "ParenExpr",
  "UnaryExpr",
]);
const EXPRESSIONS = new Set([
  ...SELECTORS,
  "AggregateExpr",
  "FunctionCall",
  "BinaryExpr",
  "NumberDurationLiteral",
  "StringLiteral",
]);
const SET_OPERATORS = new Set(["And", "Or", "Unless"]);
const COMPARISONS = new Set(["Eql", "Neq", "Gtr", "Lss", "Gte", "Lte"]);
/** Aggregations that hand over some series as they are. */
const CHOOSING = new Set(["Topk", "Bottomk", "LimitK", "LimitRatio"]);
const SCALARS = new Set(["Time", "Scalar", "Pi"]);

/** Grafana's own variables, replaced by something of their kind. */
export function filled(expression: string): string {
  return expression.replaceAll("$__rate_interval", "1m").replaceAll("$__interval", "5s").replaceAll("$__range", "15m");
}

const union = (one: Labels, other: Labels): Labels => new Set([...one, ...other]);
const same = (one: Labels, other: Labels): boolean =>
  one.size === other.size && [...one].every((label) => other.has(label));
const listed = (labels: Iterable<string>): string => `{${[...labels].sort().join(", ")}}`;

function children(node: SyntaxNode): SyntaxNode[] {
  const found: SyntaxNode[] = [];
  for (let child = node.firstChild; child; child = child.nextSibling) {
    found.push(child);
  }
  return found;
}

/** Walks one expression and notes what is wrong. */
class Reader {
  readonly problems: string[] = [];
  readonly metrics = new Set<string>();

  constructor(
    private readonly source: string,
    private readonly known: Known,
  ) {}

  private text(node: SyntaxNode): string {
    return this.source.slice(node.from, node.to);
  }

  private names(node: SyntaxNode | null): string[] {
    return node ? children(node).map((label) => this.text(label)) : [];
  }

  private operands(node: SyntaxNode): SyntaxNode[] {
    return children(node).filter((child) => EXPRESSIONS.has(child.name));
  }

  private demand(labels: Iterable<string>, among: Shape, where: SyntaxNode): void {
    for (const label of labels) {
      // A function that reads no label is given the empty name.
      if (among !== "scalar" && label !== "" && !among.has(label)) {
        this.problems.push(`label ${label} does not exist in ${this.text(where)}, which has ${listed(among)}`);
      }
    }
  }

  read(node: SyntaxNode): Shape {
    switch (node.name) {
      case "VectorSelector":
        return this.selector(node);
      case "AggregateExpr":
        return this.aggregation(node);
      case "FunctionCall":
        return this.call(node);
      case "BinaryExpr":
        return this.binary(node);
      case "NumberDurationLiteral":
      case "StringLiteral":
        return "scalar";
      default: {
        const inner = this.operands(node)[0];
        if (!inner) {
          this.problems.push(`cannot read ${this.text(node)}`);
          return "scalar";
        }
        return this.read(inner);
      }
    }
  }

  private selector(node: SyntaxNode): Shape {
    const identifier = node.getChild("Identifier");
    const metric = identifier ? this.text(identifier) : "";
    const labels = this.known(metric);
    if (!labels) {
      this.problems.push(`nobody pushes or records ${metric || this.text(node)}`);
      return "scalar";
    }
    this.metrics.add(metric);
    const matchers = node.getChild("LabelMatchers");
    const named = matchers ? children(matchers).flatMap((matcher) => matcher.getChild("LabelName") ?? []) : [];
    this.demand(
      named.map((label) => this.text(label)),
      labels,
      identifier ?? node,
    );
    return labels;
  }

  private aggregation(node: SyntaxNode): Shape {
    const body = node.getChild("FunctionCallBody");
    const inner = body ? this.operands(body).at(-1) : undefined;
    if (!inner) {
      this.problems.push(`cannot read ${this.text(node)}`);
      return "scalar";
    }
    const from = this.read(inner);
    const modifier = node.getChild("AggregateModifier");
    const group = this.names(modifier?.getChild("GroupingLabels") ?? null);
    this.demand(group, from, inner);
    const operator = node.getChild("AggregateOp")?.firstChild?.name ?? "";
    if (CHOOSING.has(operator) || from === "scalar") {
      return from;
    }
    return modifier?.getChild("Without")
      ? new Set([...from].filter((label) => !group.includes(label)))
      : new Set(group);
  }

  private call(node: SyntaxNode): Shape {
    const name = node.getChild("FunctionIdentifier")?.firstChild?.name ?? "";
    const body = node.getChild("FunctionCallBody");
    const passed = body ? this.operands(body) : [];
    const shapes = passed.map((one) => this.read(one));
    const vector = shapes.find((shape) => shape !== "scalar");
    if (SCALARS.has(name)) {
      return "scalar";
    }
    if (name === "Vector" || name === "Absent" || name === "AbsentOverTime" || !vector) {
      return new Set();
    }
    const words = passed.filter((one) => one.name === "StringLiteral").map((one) => this.text(one).slice(1, -1));
    switch (name) {
      case "LabelReplace":
        this.demand(words.slice(2, 3), vector, node);
        return union(vector, new Set(words.slice(0, 1)));
      case "LabelJoin":
        this.demand(words.slice(2), vector, node);
        return union(vector, new Set(words.slice(0, 1)));
      case "HistogramQuantile":
        this.demand(["le"], vector, node);
        return new Set([...vector].filter((label) => label !== "le"));
      default:
        return vector;
    }
  }

  private binary(node: SyntaxNode): Shape {
    const [leftNode, rightNode] = this.operands(node);
    if (!leftNode || !rightNode) {
      this.problems.push(`cannot read ${this.text(node)}`);
      return "scalar";
    }
    const left = this.read(leftNode);
    const right = this.read(rightNode);
    if (left === "scalar" || right === "scalar") {
      return left === "scalar" ? right : left;
    }
    const operator = children(node).find((child) => child.from >= leftNode.to)?.name ?? "";
    const matching = node.getChild("MatchingModifierClause");
    const [key, brought] = matching?.getChildren("GroupingLabels") ?? [];
    const on = this.names(key ?? null);
    this.demand(on, left, leftNode);
    this.demand(on, right, rightNode);
    if (operator === "Or") {
      return union(left, right);
    }
    const alone = !matching && !(left.size === 0 && right.size === 0);
    if (alone && !same(left, right)) {
      this.problems.push(`both sides of ${this.text(node)} never meet: ${listed(left)} and ${listed(right)}`);
    }
    if (SET_OPERATORS.has(operator)) {
      return left;
    }
    if (matching?.getChild("GroupLeft") || matching?.getChild("GroupRight")) {
      const [many, one, place] = matching.getChild("GroupLeft") ? [left, right, rightNode] : [right, left, leftNode];
      const more = this.names(brought ?? null);
      this.demand(more, one, place);
      return union(many, new Set(more));
    }
    if (matching?.getChild("On") && !COMPARISONS.has(operator)) {
      return new Set(on);
    }
    return left;
  }
}

/** What is known of an expression. */
export interface Reading {
  shape: Shape;
  metrics: ReadonlySet<string>;
  problems: string[];
}

/** Reads an expression of PromQL. */
export function read(expression: string, known: Known): Reading {
  const source = filled(expression);
  const tree = parser.parse(source);
  const reader = new Reader(source, known);
  let broken = false;
  tree.iterate({
    enter: (node) => {
      broken ||= node.type.isError;
    },
  });
  const top = tree.topNode.firstChild;
  if (broken || !top) {
    return { shape: "scalar", metrics: reader.metrics, problems: [`not PromQL: ${expression}`] };
  }
  return { shape: reader.read(top), metrics: reader.metrics, problems: reader.problems };
}
