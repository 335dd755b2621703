/** Branches of one parent that are asked for at the same time are inserted by one statement; see libs/catalog/src/new-branch.ts. */
import {
  type Db,
  insertBranch,
  type InsertedBranch,
  insertSiblings,
  type NewBranch,
  siblingKey,
  violatedIndex,
} from '@coppice/catalog';
import { Batches } from '@coppice/service-kit';

/** Beyond that a branch more costs what it costs alone, while all wait for it. */
const MAX_TOGETHER = 32;

export class InsertTogether {
  readonly #db: Db;
  readonly #statements: Batches<NewBranch, InsertedBranch | undefined>;

  constructor(db: Db) {
    this.#db = db;
    this.#statements = new Batches({
      keyOf: siblingKey,
      maxBatch: MAX_TOGETHER,
      run: (branches) => {
        const all = insertSiblings(db, branches);
        return branches.map((branch, i) =>
          all.then(
            (made) => made[i],
            (error: unknown) => this.#alone(branch, branches, error),
          ),
        );
      },
    });
  }

  /** `insertBranch`, with its answers and errors. */
  insert(branch: NewBranch): Promise<InsertedBranch | undefined> {
    return this.#statements.add(branch);
  }

  /** A name or key that is taken is the fault of one: nothing was made, each is tried by itself. */
  #alone(
    branch: NewBranch,
    branches: readonly NewBranch[],
    error: unknown,
  ): Promise<InsertedBranch | undefined> {
    if (branches.length === 1 || violatedIndex(error) === undefined) throw error;
    return insertBranch(this.#db, branch);
  }
}
