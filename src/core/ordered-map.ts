/**
 * An ordered map over encoded keys: a B-tree whose nodes are copied on write, so that it can be frozen or forked in O(1).
 *
 * Every node remembers the owner that made it. Freezing gives the tree a new owner; from then on a node of an older owner is copied
 * before it is changed, and whoever holds the old root sees it unchanged for as long as it likes. Nodes that a removal leaves
 * small are not merged, only empty ones go: the tree never gets deeper by it, and keys that come and go in order leave nothing.
 */

const NODE_MAX = 64;

interface Owner {
  readonly brand: "owner";
}

const newOwner = (): Owner => ({ brand: "owner" });

interface Leaf<V> {
  owner: Owner;
  readonly leaf: true;
  keys: string[];
  values: V[];
}

interface Branch<V> {
  owner: Owner;
  readonly leaf: false;
  /** `keys[i]` is a lower bound of everything in `children[i]`; `keys[0]` is never compared. */
  keys: string[];
  children: Node<V>[];
}

type Node<V> = Leaf<V> | Branch<V>;

/** What can be read of an ordered map, frozen or live. */
export interface OrderedView<V> {
  readonly size: number;
  get(key: string): V | undefined;
  /** A cursor that stands before the first key. A live map must not change while the cursor is in use. */
  cursor(): Cursor<V>;
}

/** The mutable map. One writer; see `freeze` and `fork` for readers that outlive a change. */
export class OrderedMap<V> implements OrderedView<V> {
  #root: Node<V>;
  #owner: Owner = newOwner();
  #size = 0;

  constructor(from?: { readonly root: Node<V>; readonly size: number }) {
    this.#root = from?.root ?? { owner: this.#owner, leaf: true, keys: [], values: [] };
    this.#size = from?.size ?? 0;
  }

  get size(): number {
    return this.#size;
  }

  get(key: string): V | undefined {
    return find(this.#root, key);
  }

  cursor(): Cursor<V> {
    return new Cursor(this.#root);
  }

  /** The present contents, for ever. O(1). */
  freeze(): FrozenMap<V> {
    this.#owner = newOwner();
    return new FrozenMap(this.#root, this.#size);
  }

  /** Sets `key` and returns what it held before. */
  set(key: string, value: V): V | undefined {
    const root = this.#own(this.#root);
    this.#root = root;
    const before = this.#size;
    const previous = this.#insert(root, key, value);
    if (this.#size !== before && root.keys.length > NODE_MAX) {
      const right = this.#split(root, key);
      this.#root = { owner: this.#owner, leaf: false, keys: ["", right.keys[0]], children: [root, right] };
    }
    return previous;
  }

  /** Removes `key` and returns what it held. */
  delete(key: string): V | undefined {
    if (find(this.#root, key) === undefined) return undefined;
    const root = this.#own(this.#root);
    this.#root = root;
    const previous = this.#remove(root, key);
    let top: Node<V> = root;
    while (!top.leaf && top.children.length === 1) top = top.children[0];
    if (!top.leaf && top.children.length === 0) top = { owner: this.#owner, leaf: true, keys: [], values: [] };
    this.#root = top;
    return previous;
  }

  #own(node: Node<V>): Node<V> {
    if (node.owner === this.#owner) return node;
    return node.leaf
      ? { owner: this.#owner, leaf: true, keys: node.keys.slice(), values: node.values.slice() }
      : { owner: this.#owner, leaf: false, keys: node.keys.slice(), children: node.children.slice() };
  }

  #insert(node: Node<V>, key: string, value: V): V | undefined {
    if (node.leaf) {
      const at = lowerBound(node.keys, key);
      if (at < node.keys.length && node.keys[at] === key) {
        const previous = node.values[at];
        node.values[at] = value;
        return previous;
      }
      if (at === node.keys.length) {
        node.keys.push(key);
        node.values.push(value);
      } else {
        node.keys.splice(at, 0, key);
        node.values.splice(at, 0, value);
      }
      this.#size++;
      return undefined;
    }
    const at = childIndex(node.keys, key);
    const child = this.#own(node.children[at]);
    node.children[at] = child;
    const previous = this.#insert(child, key, value);
    if (child.keys.length > NODE_MAX) {
      const right = this.#split(child, key);
      node.keys.splice(at + 1, 0, right.keys[0]);
      node.children.splice(at + 1, 0, right);
    }
    return previous;
  }

  /** Moves the upper part of an owned, overfull node into a new one. Keys that come in order leave full nodes behind. */
  #split(node: Node<V>, inserted: string): Node<V> {
    const last = node.keys.length - 1;
    const ascending = node.leaf ? node.keys[last] === inserted : node.keys[last] <= inserted;
    const at = ascending ? last : node.keys.length >>> 1;
    return node.leaf
      ? { owner: this.#owner, leaf: true, keys: node.keys.splice(at), values: node.values.splice(at) }
      : { owner: this.#owner, leaf: false, keys: node.keys.splice(at), children: node.children.splice(at) };
  }

  #remove(node: Node<V>, key: string): V | undefined {
    if (node.leaf) {
      const at = lowerBound(node.keys, key);
      const previous = node.values[at];
      node.keys.splice(at, 1);
      node.values.splice(at, 1);
      this.#size--;
      return previous;
    }
    const at = childIndex(node.keys, key);
    const child = this.#own(node.children[at]);
    node.children[at] = child;
    const previous = this.#remove(child, key);
    if (child.keys.length === 0) {
      node.keys.splice(at, 1);
      node.children.splice(at, 1);
    }
    return previous;
  }
}

/** One state of an `OrderedMap`, unchangeable. */
export class FrozenMap<V> implements OrderedView<V> {
  readonly #root: Node<V>;
  readonly size: number;

  constructor(root: Node<V>, size: number) {
    this.#root = root;
    this.size = size;
  }

  get(key: string): V | undefined {
    return find(this.#root, key);
  }

  cursor(): Cursor<V> {
    return new Cursor(this.#root);
  }

  /** A mutable map that starts from here; this one stays as it is. O(1). */
  fork(): OrderedMap<V> {
    return new OrderedMap({ root: this.#root, size: this.size });
  }
}

/** Walks a map in either direction. `key` and `value` are meaningful after a call that returned true. */
export class Cursor<V> {
  readonly #path: { node: Branch<V>; at: number }[] = [];
  readonly #root: Node<V>;
  #leaf: Leaf<V> | undefined;
  #at = 0;
  key = "";

  constructor(root: Node<V>) {
    this.#root = root;
  }

  get value(): V {
    return (this.#leaf as Leaf<V>).values[this.#at];
  }

  /** Moves to the smallest key >= `key`. */
  seek(key: string): boolean {
    if (this.#withinLeaf(key)) {
      const leaf = this.#leaf as Leaf<V>;
      this.#at = lowerBound(leaf.keys, key);
      this.key = leaf.keys[this.#at];
      return true;
    }
    this.#descend(key);
    const leaf = this.#leaf as Leaf<V>;
    this.#at = lowerBound(leaf.keys, key);
    return this.#settleForward();
  }

  /** Moves to the largest key < `key`; to the last one of all when `key` is undefined. */
  seekBefore(key: string | undefined): boolean {
    if (key === undefined) {
      this.#descendLast();
      this.#at = (this.#leaf as Leaf<V>).keys.length - 1;
    } else {
      this.#descend(key);
      this.#at = lowerBound((this.#leaf as Leaf<V>).keys, key) - 1;
    }
    return this.#settleBackward();
  }

  next(): boolean {
    this.#at++;
    return this.#settleForward();
  }

  previous(): boolean {
    this.#at--;
    return this.#settleBackward();
  }

  #withinLeaf(key: string): boolean {
    const leaf = this.#leaf;
    if (leaf === undefined || leaf.keys.length === 0) return false;
    return key >= leaf.keys[0] && key <= leaf.keys[leaf.keys.length - 1];
  }

  #settleForward(): boolean {
    let leaf = this.#leaf;
    while (leaf !== undefined && this.#at >= leaf.keys.length) {
      leaf = this.#sibling(1);
      this.#at = 0;
    }
    if (leaf === undefined) return false;
    this.key = leaf.keys[this.#at];
    return true;
  }

  #settleBackward(): boolean {
    let leaf = this.#leaf;
    while (leaf !== undefined && this.#at < 0) {
      leaf = this.#sibling(-1);
      this.#at = leaf === undefined ? 0 : leaf.keys.length - 1;
    }
    if (leaf === undefined) return false;
    this.key = leaf.keys[this.#at];
    return true;
  }

  #descend(key: string): void {
    this.#path.length = 0;
    let node = this.#root;
    while (!node.leaf) {
      const at = childIndex(node.keys, key);
      this.#path.push({ node, at });
      node = node.children[at];
    }
    this.#leaf = node;
  }

  #descendLast(): void {
    this.#path.length = 0;
    this.#leaf = this.#edge(this.#root, -1);
  }

  /** The neighbouring leaf in the given direction, or undefined at the end. */
  #sibling(step: 1 | -1): Leaf<V> | undefined {
    for (;;) {
      const top = this.#path[this.#path.length - 1];
      if (top === undefined) break;
      const at = top.at + step;
      if (at >= 0 && at < top.node.children.length) {
        top.at = at;
        this.#leaf = this.#edge(top.node.children[at], step);
        return this.#leaf;
      }
      this.#path.pop();
    }
    this.#leaf = undefined;
    return undefined;
  }

  /** The first (step 1) or last (step -1) leaf below a node; remembers the way. */
  #edge(from: Node<V>, step: 1 | -1): Leaf<V> {
    let node = from;
    while (!node.leaf) {
      const at = step === 1 ? 0 : node.children.length - 1;
      this.#path.push({ node, at });
      node = node.children[at];
    }
    return node;
  }
}

function find<V>(root: Node<V>, key: string): V | undefined {
  let node = root;
  while (!node.leaf) node = node.children[childIndex(node.keys, key)];
  const at = lowerBound(node.keys, key);
  return at < node.keys.length && node.keys[at] === key ? node.values[at] : undefined;
}

/** Index of the first key >= `key`. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  // Keys often come in ascending order: look at the end first.
  if (high > 0 && keys[high - 1] < key) return high;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle] < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Index of the child that covers `key`: the last one whose lower bound is not above it. */
function childIndex(keys: readonly string[], key: string): number {
  let low = 1;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle] <= key) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
