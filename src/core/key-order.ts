import { sortedPlaces } from "./sort-keys.ts";

/**
 * Encoded keys in order, each with a number: a B-tree whose leaves are linked. It is changed in place and knows nothing of versions; who
 * reads an old version skips what is not part of it. Keys are added and never removed. A cursor notices that the tree was changed and finds
 * its place again by its key.
 */

const NODE_MAX = 64;
/** What is built anew has room for more. */
const NODE_FILLED = 48;
/** Keys are merged with all others at once if they are no less than a part of them, one in so many. */
const MERGE_FRACTION = 16;

interface Leaf {
  readonly leaf: true;
  keys: string[];
  ids: number[];
  next: Leaf | undefined;
  previous: Leaf | undefined;
}

interface Branch {
  readonly leaf: false;
  /** `keys[i]` is a lower bound of everything in `children[i]`; `keys[0]` is never compared. */
  keys: string[];
  children: Node[];
}

type Node = Leaf | Branch;

export class KeyOrder {
  #root: Node = emptyLeaf();
  /** The leaf with the highest keys: keys often come in order. */
  #last = this.#root as Leaf;
  #changes = 0;
  #count = 0;

  /** Grows with every change. */
  get changes(): number {
    return this.#changes;
  }

  /** Adds a key that is not there. */
  add(key: string, id: number): void {
    this.#changes++;
    this.#count++;
    const last = this.#last;
    const count = last.keys.length;
    if (count > 0 && count < NODE_MAX && key > last.keys[count - 1]) {
      last.keys.push(key);
      last.ids.push(id);
      return;
    }
    const root = this.#root;
    this.#insert(root, key, id);
    if (root.keys.length <= NODE_MAX) return;
    const right = this.#split(root, key);
    this.#root = { leaf: false, keys: ["", right.keys[0]], children: [root, right] };
  }

  /** Adds keys that are not there, in any order, and their numbers. */
  addAll(keys: readonly string[], ids: readonly number[]): void {
    if (keys.every((key, i) => i === 0 || keys[i - 1] < key)) return this.#addAscending(keys, ids);
    const places = Array.from(sortedPlaces(keys));
    this.#addAscending(
      places.map((place) => keys[place]),
      places.map((place) => ids[place]),
    );
  }

  #addAscending(keys: readonly string[], ids: readonly number[]): void {
    if (keys.length * MERGE_FRACTION < this.#count || keys.length < NODE_MAX) {
      for (let i = 0; i < keys.length; i++) this.add(keys[i], ids[i]);
      return;
    }
    this.#changes++;
    this.#count += keys.length;
    const leaves = this.#merged(keys, ids);
    this.#last = leaves[leaves.length - 1];
    let nodes: Node[] = leaves;
    while (nodes.length > 1) {
      const branches: Branch[] = [];
      for (let from = 0; from < nodes.length; from += NODE_FILLED) {
        const children = nodes.slice(from, from + NODE_FILLED);
        branches.push({ leaf: false, keys: children.map((child) => child.keys[0]), children });
      }
      nodes = branches;
    }
    this.#root = nodes[0];
  }

  /** New leaves with all keys. */
  #merged(keys: readonly string[], ids: readonly number[]): Leaf[] {
    const leaves: Leaf[] = [];
    let leaf = emptyLeaf();
    const push = (key: string, id: number): void => {
      if (leaf.keys.length === NODE_FILLED) {
        leaves.push(leaf);
        const next = emptyLeaf();
        next.previous = leaf;
        leaf.next = next;
        leaf = next;
      }
      leaf.keys.push(key);
      leaf.ids.push(id);
    };
    let at = 0;
    for (let old: Leaf | undefined = this.leafOf(""); old !== undefined; old = old.next) {
      for (let i = 0; i < old.keys.length; i++) {
        for (; at < keys.length && keys[at] < old.keys[i]; at++) push(keys[at], ids[at]);
        push(old.keys[i], old.ids[i]);
      }
    }
    for (; at < keys.length; at++) push(keys[at], ids[at]);
    leaves.push(leaf);
    return leaves;
  }

  /** The leaf that covers `key`. */
  leafOf(key: string): Leaf {
    let node = this.#root;
    while (!node.leaf) node = node.children[childIndex(node.keys, key)];
    return node;
  }

  get lastLeaf(): Leaf {
    return this.#last;
  }

  #insert(node: Node, key: string, id: number): void {
    if (node.leaf) {
      const at = lowerBound(node.keys, key);
      if (at === node.keys.length) {
        node.keys.push(key);
        node.ids.push(id);
      } else {
        node.keys.splice(at, 0, key);
        node.ids.splice(at, 0, id);
      }
      return;
    }
    const at = childIndex(node.keys, key);
    const child = node.children[at];
    this.#insert(child, key, id);
    if (child.keys.length <= NODE_MAX) return;
    const right = this.#split(child, key);
    node.keys.splice(at + 1, 0, right.keys[0]);
    node.children.splice(at + 1, 0, right);
  }

  /** Moves the upper part of an overfull node into a new one. Keys that come in order leave full nodes behind. */
  #split(node: Node, inserted: string): Node {
    const last = node.keys.length - 1;
    const ascending = node.leaf ? node.keys[last] === inserted : node.keys[last] <= inserted;
    const at = ascending ? last : node.keys.length >>> 1;
    if (!node.leaf) return { leaf: false, keys: node.keys.splice(at), children: node.children.splice(at) };
    const right: Leaf = {
      leaf: true,
      keys: node.keys.splice(at),
      ids: node.ids.splice(at),
      next: node.next,
      previous: node,
    };
    if (node.next === undefined) this.#last = right;
    else node.next.previous = right;
    node.next = right;
    return right;
  }
}

/** A place in a `KeyOrder`, in either direction. `key` and `id` are meaningful after a call that returned true. */
export class OrderCursor {
  readonly #order: KeyOrder;
  #leaf: Leaf | undefined;
  #at = 0;
  #changes = -1;
  key = "";
  id = -1;

  constructor(order: KeyOrder) {
    this.#order = order;
  }

  /** Moves to the smallest key >= `key`. */
  seek(key: string): boolean {
    if (!this.#covers(key)) this.#leaf = this.#order.leafOf(key);
    this.#changes = this.#order.changes;
    this.#at = lowerBound((this.#leaf as Leaf).keys, key);
    return this.#settleForward();
  }

  /** Moves to the largest key < `key`; to the last one of all when `key` is undefined. */
  seekBefore(key: string | undefined): boolean {
    this.#changes = this.#order.changes;
    if (key === undefined) {
      this.#leaf = this.#order.lastLeaf;
      this.#at = this.#leaf.keys.length - 1;
    } else {
      this.#leaf = this.#order.leafOf(key);
      this.#at = lowerBound(this.#leaf.keys, key) - 1;
    }
    return this.#settleBackward();
  }

  /** Moves to the next key. */
  next(): boolean {
    if (this.#changes !== this.#order.changes) return this.seek(`${this.key}\0`);
    this.#at++;
    return this.#settleForward();
  }

  /** Moves to the key before. */
  previous(): boolean {
    if (this.#changes !== this.#order.changes) return this.seekBefore(this.key);
    this.#at--;
    return this.#settleBackward();
  }

  #covers(key: string): boolean {
    const leaf = this.#leaf;
    if (leaf === undefined || this.#changes !== this.#order.changes || leaf.keys.length === 0) return false;
    return key >= leaf.keys[0] && key <= leaf.keys[leaf.keys.length - 1];
  }

  #settleForward(): boolean {
    let leaf = this.#leaf;
    while (leaf !== undefined && this.#at >= leaf.keys.length) {
      leaf = leaf.next;
      this.#at = 0;
    }
    return this.#settle(leaf);
  }

  #settleBackward(): boolean {
    let leaf = this.#leaf;
    while (leaf !== undefined && this.#at < 0) {
      leaf = leaf.previous;
      this.#at = leaf === undefined ? 0 : leaf.keys.length - 1;
    }
    return this.#settle(leaf);
  }

  #settle(leaf: Leaf | undefined): boolean {
    this.#leaf = leaf;
    if (leaf === undefined) return false;
    this.key = leaf.keys[this.#at];
    this.id = leaf.ids[this.#at];
    return true;
  }
}

function emptyLeaf(): Leaf {
  return { leaf: true, keys: [], ids: [], next: undefined, previous: undefined };
}

/** Index of the first key >= `key`. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
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
