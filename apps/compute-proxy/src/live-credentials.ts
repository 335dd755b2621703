/**
 * Which sessions hang on which credential, so that they end with it: a credential that is revoked or expired, or whose branch is
 * deleted, ends its sessions within seconds. The control-plane is asked about all of them at once; while it does not answer
 * sessions go on until the expiry that was known at their login.
 */
import { BackgroundLoop, type Clock, Counter, type Log, part, type Part } from '@coppice/service-kit';

const ended = new Counter({
  name: 'coppice_proxy_ended_sessions_total',
  help: 'Sessions that were ended because their credential was over.',
});

const ASK_EVERY_MS = 1_000;
/** As many as one request may name. */
const BATCH = 10_000;

export interface SessionOf {
  readonly credentialId: string;
  /** Unix milliseconds; 0: never. */
  readonly expiresUnixMs: number;
  /** Ends the session; called at most once. */
  readonly end: () => void;
}

interface Entry {
  expiresUnixMs: number;
  readonly sessions: Set<SessionOf>;
}

export interface LiveCredentialsOptions {
  /** Which of these are over. */
  readonly findEnded: (ids: readonly string[], signal: AbortSignal) => Promise<readonly string[]>;
  readonly clock: Clock;
  readonly log: Log;
}

export class LiveCredentials {
  readonly #o: LiveCredentialsOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #loop: BackgroundLoop;

  constructor(options: LiveCredentialsOptions) {
    this.#o = options;
    this.#loop = new BackgroundLoop({
      name: 'end-sessions-of-ended-credentials',
      everyMs: ASK_EVERY_MS,
      log: options.log,
      run: (signal) => this.check(signal),
    });
  }

  /** Watches over a session until the answer is called. */
  add(session: SessionOf): () => void {
    const entry = this.#entries.get(session.credentialId) ?? { expiresUnixMs: 0, sessions: new Set() };
    // A login after a renewal knows the later expiry.
    entry.expiresUnixMs = Math.max(entry.expiresUnixMs, session.expiresUnixMs);
    entry.sessions.add(session);
    this.#entries.set(session.credentialId, entry);
    return () => {
      entry.sessions.delete(session);
      if (entry.sessions.size === 0 && this.#entries.get(session.credentialId) === entry)
        this.#entries.delete(session.credentialId);
    };
  }

  /** One round. When the control-plane does not answer, what is known to be expired ends all the same. */
  async check(signal: AbortSignal): Promise<void> {
    const ids = [...this.#entries.keys()];
    for (let from = 0; from < ids.length; from += BATCH) {
      const batch = ids.slice(from, from + BATCH);
      try {
        for (const id of await this.#o.findEnded(batch, signal)) this.#end(id);
      } catch (error) {
        const now = this.#o.clock.now();
        // Those that were not asked about yet are not asked about in this round.
        for (const id of ids.slice(from)) {
          const expires = this.#entries.get(id)?.expiresUnixMs ?? 0;
          if (expires !== 0 && expires <= now) this.#end(id);
        }
        throw error;
      }
    }
  }

  #end(id: string): void {
    const entry = this.#entries.get(id);
    if (!entry) return;
    this.#entries.delete(id);
    ended.inc(entry.sessions.size);
    this.#o.log.info(
      { credentialId: id, sessions: entry.sessions.size },
      'credential is over, its sessions end',
    );
    for (const session of entry.sessions) session.end();
  }

  asPart(): Part {
    return part(
      'live credentials',
      () => this.#loop.start(),
      () => this.#loop.stop(),
    );
  }
}
