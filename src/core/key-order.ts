/**
 * Encoded keys in order, each with a number: a B-tree whose leaves are linked. It is changed in place and knows nothing of versions; who
 * reads an old version skips what is not part of it. A cursor notices that the tree was changed and finds its place again by its key.
 *
 * Nodes that a removal leaves small are not merged, only empty ones go: the tree never gets deeper by it, and keys that come and go in
 * order leave nothing.
 */

const NODE_MAX = 64;

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

  /** Grows with every change. */
  get changes(): number {
    return this.#changes;
  }

  /** Adds a key that is not there. */
  add(key: string, id: number): void {
    this.#changes++;
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

  /** Removes a key that is there. */
  remove(key: string): void {
    this.#changes++;
    this.#remove(this.#root, key);
    let top = this.#root;
    while (!top.leaf && top.children.length === 1) top = top.children[0];
    if (!top.leaf && top.children.length === 0) top = this.#last = emptyLeaf();
    this.#root = top;
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

  #remove(node: Node, key: string): void {
    if (node.leaf) {
      const at = lowerBound(node.keys, key);
      node.keys.splice(at, 1);
      node.ids.splice(at, 1);
      if (node.keys.length === 0) this.#unlink(node);
      return;
    }
    const at = childIndex(node.keys, key);
    const child = node.children[at];
    this.#remove(child, key);
    if (child.keys.length > 0) return;
    node.keys.splice(at, 1);
    node.children.splice(at, 1);
  }

  /** Takes an empty leaf out of the chain. The only leaf stays. */
  #unlink({ next, previous }: Leaf): void {
    if (previous !== undefined) previous.next = next;
    if (next !== undefined) next.previous = previous;
    else if (previous !== undefined) this.#last = previous;
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
