/**
 * Starts servers through a small process of its own (launcher/launcher.c, which draws the protocol): a fork of the agent
 * would cost it, and whoever waits for it, a page fault for each page that it writes to afterwards.
 *
 * The launcher ends with the agent, and every server with the launcher. When it dies alone its servers are gone, too; the
 * next start makes a new one.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { CoppiceError, Gauge, type Log } from '@coppice/service-kit';
import type { Launch, LaunchedServer, LaunchRequest } from './launch';

const Request = { start: 1, signal: 2, spares: 3 } as const;
const Report = { started: 1, output: 2, ended: 3, spares: 4 } as const;
const AS_WE_ARE = 0xffffffff;
/** What a server writes before somebody listens: its first words. */
const MAX_EARLY_BYTES = 64 * 1024;

const SIGNAL_NAMES = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]));

const spareBytes = new Gauge({
  name: 'coppice_spare_memory_bytes',
  help: 'Shared memory that is kept for servers to start with.',
});

const MEBIBYTE = 1024 * 1024;

/** Shared memory that is kept for servers. */
export interface SpareMemory {
  readonly pieces: number;
  readonly bytes: number;
}
const NO_SPARES: SpareMemory = { pieces: 0, bytes: 0 };

interface Server {
  readonly started: (pid: number) => void;
  readonly ended: (how: string) => void;
  readonly output: (chunk: Buffer) => void;
}

export class Launcher {
  readonly #executable: string;
  readonly #log: Log;
  readonly #servers = new Map<number, Server>();
  #process: ChildProcessByStdio<Writable, Readable, null> | undefined;
  #rest: Buffer = Buffer.alloc(0);
  #lastId = 0;
  #spares: SpareMemory = NO_SPARES;

  constructor(executable: string, log: Log) {
    this.#executable = executable;
    this.#log = log;
  }

  /** Starts it ahead of the first server. Returns its process id, which servers have as their parent. */
  start(): number {
    const { pid } = this.#running();
    if (pid === undefined)
      throw new CoppiceError('Internal', 'no-launcher', `${this.#executable} cannot be run`, {
        remedy: 'Build the compute agent: npx nx build compute-agent.',
      });
    return pid;
  }

  readonly launch: Launch = async (request) => {
    const parent = this.start();
    const id = ++this.#lastId;
    let listener: ((chunk: Buffer) => void) | undefined;
    let early = Buffer.alloc(0);
    let ended!: (how: string) => void;
    const exited = new Promise<string>((resolve) => (ended = resolve));
    const pid = await new Promise<number | undefined>((resolve) => {
      this.#servers.set(id, {
        started: resolve,
        ended: (how) => {
          resolve(undefined);
          ended(how);
        },
        output: (chunk) => {
          if (listener) listener(chunk);
          else early = Buffer.concat([early, chunk]).subarray(-MAX_EARLY_BYTES);
        },
      });
      this.#send(Request.start, id, encodeStart(request, parent));
    });
    const server: LaunchedServer = {
      pid,
      exited,
      onOutput: (take) => {
        listener = take;
        if (early.length > 0) take(early);
      },
      kill: (signal) => this.#send(Request.signal, id, words(constants.signals[signal])),
    };
    return server;
  };

  /**
   * How much shared memory it keeps at most for servers that say they can use it, by a variable `COPPICE_SHARED_MEMORY`: pieces, and
   * MiB of them together. To be said again after a while: it gives up when it has no memory for them.
   */
  keepSpares(pieces: number, mebibytes: number): void {
    if (this.#process) this.#send(Request.spares, 0, words(pieces, mebibytes));
  }

  /** What it keeps. */
  get spares(): SpareMemory {
    return this.#spares;
  }

  /** Ends it, and with it what it still runs. */
  async stop(): Promise<void> {
    const child = this.#process;
    if (!child) return;
    const gone = new Promise((resolve) => child.once('close', resolve));
    child.stdin.end();
    await gone;
  }

  #running(): ChildProcessByStdio<Writable, Readable, null> {
    if (this.#process) return this.#process;
    const child = spawn(this.#executable, [], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#process = child;
    this.#rest = Buffer.alloc(0);
    child.stdin.on('error', () => undefined);
    child.stdout.on('data', (chunk: Buffer) => this.#take(chunk));
    child.once('error', (error) => this.#log.error({ err: error }, 'the launcher cannot be run'));
    child.once('close', () => {
      if (this.#process === child) {
        this.#process = undefined;
        this.#have(NO_SPARES);
      }
      if (this.#servers.size > 0)
        this.#log.error({ servers: this.#servers.size }, 'the launcher ended, and with it all servers');
      for (const server of this.#servers.values()) server.ended('the launcher ended');
      this.#servers.clear();
    });
    return child;
  }

  #have(spares: SpareMemory): void {
    this.#spares = spares;
    spareBytes.set(spares.bytes);
  }

  #send(kind: number, id: number, body: Buffer): void {
    const head = Buffer.alloc(9);
    head.writeUInt32LE(5 + body.length, 0);
    head.writeUInt8(kind, 4);
    head.writeUInt32LE(id, 5);
    this.#process?.stdin.write(Buffer.concat([head, body]));
  }

  #take(chunk: Buffer): void {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (bytes.length >= 4) {
      const end = 4 + bytes.readUInt32LE(0);
      if (bytes.length < end) break;
      this.#report(bytes.readUInt8(4), bytes.readUInt32LE(5), bytes.subarray(9, end));
      bytes = bytes.subarray(end);
    }
    this.#rest = bytes;
  }

  #report(kind: number, id: number, body: Buffer): void {
    if (kind === Report.spares) this.#have({ pieces: body.readUInt32LE(0), bytes: body.readUInt32LE(4) * MEBIBYTE });
    const server = this.#servers.get(id);
    if (!server) return;
    if (kind === Report.started) server.started(body.readUInt32LE(0));
    else if (kind === Report.output) server.output(Buffer.from(body));
    else if (kind === Report.ended) {
      this.#servers.delete(id);
      const [code, signal] = [body.readUInt32LE(0), body.readUInt32LE(4)];
      server.ended(signal > 0 ? `signal ${SIGNAL_NAMES.get(signal) ?? signal}` : `exit ${code}`);
    }
  }
}

/** The interposer ends a server whose parent is not the one it was started by. */
function encodeStart({ command, env, user }: LaunchRequest, parent: number): Buffer {
  const variables = Object.entries({
    ...env,
    ...(env['COPPICE_AGENT_PID'] && { COPPICE_AGENT_PID: String(parent) }),
  }).map(([name, value]) => `${name}=${value}`);
  const strings = [...command, ...variables];
  if (strings.some((text) => text.includes('\0')))
    throw new CoppiceError('Invalid', 'zero-in-command', 'a command or its environment has a zero byte');
  return Buffer.concat([
    words(user?.uid ?? AS_WE_ARE, user?.gid ?? AS_WE_ARE, command.length, variables.length),
    Buffer.from(strings.map((text) => `${text}\0`).join('')),
  ]);
}

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => bytes.writeUInt32LE(value, 4 * i));
  return bytes;
}
