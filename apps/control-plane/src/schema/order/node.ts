import type { SchemaObject } from '../model';

/** An object while its place is sought. The flags are what breaking a circle of needs did to it. */
export interface Node {
  readonly object: SchemaObject;
  /** Where it would stand if nothing needed anything. */
  place: number;
  readonly needs: Set<Node>;
  /** Written by its own statement, not within its table's, view's or domain's. */
  separate: boolean;
  /** A view that is first written with the types of its columns only. */
  dummy: boolean;
  /** A materialized view or function that is written after the tables are complete. */
  postponed: boolean;
  /** A shell type that a function asked for. */
  shown: boolean;
}
