/** The REST API as a well-behaved client uses it: with an API key, idempotency keys, and patience with what may be tried again. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Answer, Json } from './stack';

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 1_000;

export interface AgentClientOptions {
  readonly api: string;
  readonly key: string;
  /** How long one request may take with all its repetitions. */
  readonly deadlineMs: number;
}

export class AgentClient {
  readonly #options: AgentClientOptions;
  /** Requests that were sent again. */
  repeated = 0;
  /** The longest that a request took with its repetitions. */
  slowestMs = 0;

  constructor(options: AgentClientOptions) {
    this.#options = options;
  }

  /** Sends until there is an answer other than 503. Throws when there is none in time. */
  async request<T = Json>(method: string, path: string, body?: unknown): Promise<Answer<T>> {
    const { deadlineMs } = this.#options;
    const began = performance.now();
    const key = randomUUID();
    let last: unknown;
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
      const left = deadlineMs - (performance.now() - began);
      if (left <= 0)
        throw new Error(`${method} ${path} has no answer within ${deadlineMs} ms`, { cause: last });
      try {
        const answer = await this.#send<T>(method, path, body, key, left);
        if (answer.status !== 503) {
          this.slowestMs = Math.max(this.slowestMs, performance.now() - began);
          return answer;
        }
        last = new Error(JSON.stringify(answer.body));
      } catch (error) {
        last = error;
      }
      this.repeated += 1;
      await sleep(pause);
    }
  }

  /** A request that must succeed. */
  async ask<T = Json>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await this.request<T>(method, path, body);
    if (answer.status >= 300)
      throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  async #send<T>(
    method: string,
    path: string,
    body: unknown,
    idempotencyKey: string,
    timeoutMs: number,
  ): Promise<Answer<T>> {
    const { api, key } = this.#options;
    const response = await fetch(api + path, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(method === 'POST' ? { 'idempotency-key': idempotencyKey } : {}),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(Math.ceil(timeoutMs)),
    });
    const text = await response.text();
    return { status: response.status, body: (text === '' ? undefined : JSON.parse(text)) as T };
  }
}
