import { MalformedBytes } from "./bytes.ts";
import { ERROR_CLASSES, Form, isRecord, MARK, NodeKind } from "./value-forms.ts";

/** The way back from the forms of `value-forms.ts`. */

/** What a form stands for. Throws `MalformedBytes`. */
export function fromForm(content: unknown): unknown {
  if (!Array.isArray(content)) throw new MalformedBytes("a form without content");
  const [kind, ...parts] = content as [unknown, ...unknown[]];
  switch (kind) {
    case Form.minusZero:
      return -0;
    case Form.arrayBuffer:
      return bufferOf(parts[0]);
    case Form.dataView:
      return new DataView(bufferOf(parts[0]));
    case Form.error:
      return fillError(makeError(parts), parts);
    case Form.sparseArray:
      return fillSparse([], parts);
    case Form.reference:
      return new Reference(parts[0] as number);
    case Form.graph:
      return linkGraph(parts[0], parts[1]);
    case Form.mark:
      return MARK + String(parts[0]);
    case Form.names:
      return Object.fromEntries(parts.flatMap((name, i) => (i % 2 === 0 ? [[name as string, parts[i + 1]]] : [])));
    default:
      throw new MalformedBytes(`a form of unknown kind ${String(kind)}`);
  }
}

/** Stands for a shared node until the table is complete. */
class Reference {
  readonly place: number;

  constructor(place: number) {
    this.place = place;
  }
}

function bufferOf(bytes: unknown): ArrayBuffer {
  if (!(bytes instanceof Uint8Array)) throw new MalformedBytes("a buffer without bytes");
  return bytes.slice().buffer as ArrayBuffer;
}

function fillSparse(array: unknown[], parts: readonly unknown[]): unknown[] {
  array.length = parts[0] as number;
  for (let i = 1; i + 1 < parts.length; i += 2) array[parts[i] as number] = parts[i + 1];
  return array;
}

function makeError(parts: readonly unknown[]): Error {
  const Class = ERROR_CLASSES[parts[0] as number];
  if (Class === undefined) throw new MalformedBytes("an Error of unknown class");
  return Class === AggregateError ? new AggregateError([]) : new (Class as ErrorConstructor)();
}

function fillError(error: Error, [, name, message, stack, errors, ...cause]: readonly unknown[]): Error {
  const define = (property: string, value: unknown): unknown =>
    Object.defineProperty(error, property, { value, writable: true, configurable: true, enumerable: false });
  if (name !== null) define("name", name);
  if (message !== null) define("message", message);
  if (stack === null) delete error.stack;
  else define("stack", stack);
  if (errors !== null) define("errors", errors);
  if (cause.length > 0) define("cause", cause[0]);
  return error;
}

/** Makes all shared nodes, then fills them, so that a node can lie within itself. */
function linkGraph(root: unknown, table: unknown): unknown {
  if (!Array.isArray(table)) throw new MalformedBytes("a graph without a table");
  const descriptions = table as [number, ...unknown[]][];
  const nodes = descriptions.map(makeNode);
  const link = (value: unknown): unknown => {
    if (typeof value !== "object" || value === null) return value;
    if (value instanceof Reference) {
      if (!(value.place in nodes)) throw new MalformedBytes("a reference to a missing node");
      return nodes[value.place];
    }
    if (Array.isArray(value)) {
      for (const place of Object.keys(value)) value[Number(place)] = link(value[Number(place)]);
    } else if (value instanceof Map) {
      const entries = [...value];
      value.clear();
      for (const [key, item] of entries) value.set(link(key), link(item));
    } else if (value instanceof Set) {
      const items = [...value];
      value.clear();
      for (const item of items) value.add(link(item));
    } else if (value instanceof Error) {
      if (value instanceof AggregateError) value.errors = link(value.errors) as unknown[];
      if (Object.hasOwn(value, "cause")) value.cause = link(value.cause);
    } else if (isRecord(value)) {
      for (const key of Object.keys(value)) value[key] = link(value[key]);
    }
    return value;
  };
  descriptions.forEach((description, place) => fillNode(nodes[place], description, link));
  return link(root);
}

function makeNode([kind, ...parts]: readonly [number, ...unknown[]]): unknown {
  if (kind === NodeKind.object) return {};
  if (kind === NodeKind.array) return [];
  if (kind === NodeKind.map) return new Map();
  if (kind === NodeKind.set) return new Set();
  if (kind === NodeKind.error) return makeError(parts);
  if (kind === NodeKind.other) return parts[0];
  throw new MalformedBytes("a node of unknown kind");
}

function fillNode(
  node: unknown,
  [, ...parts]: readonly [number, ...unknown[]],
  link: (value: unknown) => unknown,
): void {
  if (node instanceof Map) {
    for (let i = 0; i + 1 < parts.length; i += 2) node.set(link(parts[i]), link(parts[i + 1]));
  } else if (node instanceof Set) {
    for (const part of parts) node.add(link(part));
  } else if (Array.isArray(node)) {
    const items = link(parts[0]) as unknown[];
    node.length = items.length;
    for (const place of Object.keys(items)) node[Number(place)] = items[Number(place)];
  } else if (node instanceof Error) {
    fillError(
      node,
      parts.map((part) => link(part)),
    );
  } else if (typeof node === "object" && node !== null && isRecord(node)) {
    for (let i = 0; i + 1 < parts.length; i += 2) node[parts[i] as string] = link(parts[i + 1]);
  }
}
