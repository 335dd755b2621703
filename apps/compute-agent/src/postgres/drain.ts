/**
 * Ends the sessions of a server that takes no new ones, each between two commands: what its client sent meanwhile is left unread,
 * so that a pool can give it to another server and nobody's command is cut in the middle.
 *
 * A backend waits for a command in epoll_wait, until its socket can be read (secure_read, src/backend/libpq/be-secure.c). SIGTERM
 * ends it there, and also when the command has come but was not read (ProcessClientReadInterrupt, src/backend/tcop/postgres.c).
 * Between the look at a backend and the signal it could begin a command: it is stopped for that moment.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '@coppice/service-kit';
import { childrenOf, readProc, titleOf } from './server-processes';

/** The first pauses between looks; they double up to the last. */
const [FIRST_PAUSE_MS, LAST_PAUSE_MS] = [5, 20];
/** epoll_wait of x86_64, epoll_pwait of x86_64 and of arm64. */
const EPOLL_CALLS: ReadonlySet<string> = new Set(['232', '281', '22']);
const EPOLLOUT = 0x4;
/** One that was just told to stop is said to be running until it has. */
const LOOKS_AT_STOPPED = 5;
/** Stopped at once; between two such lots the agent does other things. */
const LOT = 32;

/** What /proc tells of a backend. */
export interface BackendLook {
  readonly title: string;
  /** /proc/<pid>/syscall: number and arguments of the call that it is in, or `running`; `undefined` where that is kept from us. */
  readonly syscall: string | undefined;
  /** /proc/<pid>/fdinfo of the descriptor that the call waits on. */
  readonly waitsOn: string | undefined;
}

/**
 * It has answered everything up to the last ReadyForQuery and has not read its next command whole: a part of it may be read, or a
 * Describe or Close that came ahead of it. By its title alone on a node that does not let the agent see more: then a command may be
 * cut that comes in the same moment, and the end of an answer that its client is slow to take.
 */
export function isBetweenCommands({ title, syscall, waitsOn }: BackendLook): boolean {
  if (!saysIdle(title)) return false;
  if (syscall === undefined) return true;
  if (waitedOn(syscall) === undefined || waitsOn === undefined) return false;
  const events = [...waitsOn.matchAll(/^tfd: .*?\bevents:\s*([0-9a-f]+)/gm)].map((m) => parseInt(m[1]!, 16));
  // One that waits to write still has a part of its last answer.
  return events.length > 0 && events.every((mask) => (mask & EPOLLOUT) === 0);
}

/** A session between transactions; in one it says `idle in transaction`. Processes of the server itself have other titles. */
function saysIdle(title: string): boolean {
  return title.endsWith(' idle');
}

/** The descriptor that a call waits on: the first argument of an epoll call, `undefined` of any other. */
export function waitedOn(syscall: string): number | undefined {
  const [call, first] = syscall.split(' ');
  return EPOLL_CALLS.has(call!) && first !== undefined ? Number(first) : undefined;
}

/** Until the server is gone or `signal` is aborted. */
export async function drainSessions(postmaster: number, clock: Clock, signal: AbortSignal): Promise<void> {
  for (let pauseMs = FIRST_PAUSE_MS; !signal.aborted; pauseMs = Math.min(2 * pauseMs, LAST_PAUSE_MS)) {
    const idle = childrenOf(postmaster)?.filter((pid) => saysIdle(titleOf(pid)));
    if (!idle) return;
    for (let at = 0; at < idle.length && !signal.aborted; at += LOT) {
      endBetweenCommands(idle.slice(at, at + LOT));
      await nextTurn();
    }
    await clock.sleep(pauseMs, signal).catch(() => undefined);
  }
}

/** All are told to stop before the first is looked at, so that they have. None stays stopped, whatever fails. */
function endBetweenCommands(pids: readonly number[]): void {
  try {
    for (const pid of pids) send(pid, 'SIGSTOP');
    for (const pid of pids) if (isBetweenCommands(lookAt(pid))) send(pid, 'SIGTERM');
  } finally {
    for (const pid of pids) send(pid, 'SIGCONT');
  }
}

function lookAt(pid: number): BackendLook {
  let syscall: string | undefined = 'running';
  for (let n = 0; n < LOOKS_AT_STOPPED && syscall === 'running'; n += 1) syscall = readProc(`/proc/${pid}/syscall`)?.trim();
  const descriptor = syscall === undefined ? undefined : waitedOn(syscall);
  return { title: titleOf(pid), syscall, waitsOn: descriptor === undefined ? undefined : readProc(`/proc/${pid}/fdinfo/${descriptor}`) };
}

/** To a process that may have ended meanwhile. One that may not be sent anything is left to the fast shutdown. */
function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ESRCH' && code !== 'EPERM') throw error;
  }
}
