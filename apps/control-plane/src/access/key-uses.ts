/** When and from where API keys were last used: gathered in memory, written in one statement now and then. */
import { type Db, recordKeyUse } from '@coppice/catalog';
import { BackgroundLoop, type Clock, type Log, part, type Part } from '@coppice/service-kit';

const WRITE_EVERY_MS = 10_000;
/** Keys remembered between writes; uses of more are told by their next one. */
const MAX_KEYS = 10_000;

export class KeyUses {
  readonly #db: Db;
  readonly #clock: Clock;
  readonly #loop: BackgroundLoop;
  #uses = new Map<number, { readonly at: Date; readonly from: string }>();

  constructor(db: Db, clock: Clock, log: Log) {
    this.#db = db;
    this.#clock = clock;
    this.#loop = new BackgroundLoop({
      name: 'write-key-uses',
      everyMs: WRITE_EVERY_MS,
      log,
      run: () => this.write(),
    });
  }

  note(keyId: number, from: string): void {
    if (this.#uses.size < MAX_KEYS || this.#uses.has(keyId))
      this.#uses.set(keyId, { at: new Date(this.#clock.now()), from });
  }

  /** Writes what was gathered; what cannot be written now is written with the next. */
  async write(): Promise<void> {
    const uses = this.#uses;
    if (uses.size === 0) return;
    this.#uses = new Map();
    try {
      await recordKeyUse(
        this.#db,
        [...uses].map(([keyId, use]) => ({ keyId, ...use })),
      );
    } catch (error) {
      for (const [keyId, use] of uses) if (!this.#uses.has(keyId)) this.#uses.set(keyId, use);
      throw error;
    }
  }

  asPart(): Part {
    return part(
      'key-uses',
      () => this.#loop.start(),
      async () => {
        await this.#loop.stop();
        await this.write();
      },
    );
  }
}
