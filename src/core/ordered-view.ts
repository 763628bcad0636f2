/** What can be read of keys in order with something under each. */
export interface OrderedView<V> {
  get(key: string): V | undefined;
  /** A cursor that stands before the first key. */
  cursor(): OrderedCursor<V>;
}

/** Walks a view in either direction. `key` and `value` are meaningful after a call that returned true. */
export interface OrderedCursor<V> {
  readonly key: string;
  readonly value: V;
  /** Moves to the smallest key >= `key`. */
  seek(key: string): boolean;
  /** Moves to the largest key < `key`; to the last one of all when `key` is undefined. */
  seekBefore(key: string | undefined): boolean;
  next(): boolean;
  previous(): boolean;
}
