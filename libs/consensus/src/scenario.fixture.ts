/**
 * A cluster in memory that is driven by lines of text and answers with lines of text: the language of testdata/*.txt.
 *
 *   safekeepers a b c          make them (once)
 *   propose P a b c            make proposer P and connect it; everything is delivered until nothing is left to say
 *   connect P a                make a stream anew
 *   hold P a / release P a     keep messages from P to a back, in order / deliver them
 *   step P a                   deliver the first of them only
 *   limit 60                   appends carry at most 60 bytes
 *   lose P a                   forget what is held back; the stream breaks
 *   write P 40                 P's log grows by a record of 40 bytes
 *   half P 40 10               P's log grows by the first 10 bytes of a record of 40
 *   members P g1 a b c / d     the membership P starts from is generation 1, {a b c}, changing to {d} (before propose)
 *   crash a / restart a        a forgets everything but its disk
 *   stop P                     P is gone
 *   status                     everybody's state
 *
 * Everything written is flushed at the end of each batch, so a crash loses no bytes here: the simulation does that.
 */
import { lsn, parseLsn, type Lsn, type NodeId, type TimelineId } from '@coppice/vocabulary';
import { newAcceptor, type AcceptorState, type LogEnd } from './acceptor';
import { AcceptorHost, type AcceptorStorage } from './acceptor-host';
import { describeAcceptor, describeMessage, describeProposer } from './describe';
import type { Membership } from './membership';
import type { ProposerMessage } from './messages';
import { Proposer, type ProposerOutput } from './proposer';

const START = parseLsn('0/1000')!;
const IDENTITY = { timeline: 'ab'.repeat(16) as TimelineId, startLsn: START, systemId: 1n, pgVersion: 17 };

class MemoryStorage implements AcceptorStorage {
  bytes = new Uint8Array(0);
  stored: AcceptorState | undefined;
  end(): LogEnd {
    let at = 0;
    while (at < this.bytes.length && at + this.bytes[at]! <= this.bytes.length) at += this.bytes[at]!;
    return { recordEnd: position(at), written: position(this.bytes.length) };
  }
  write(at: Lsn, bytes: Uint8Array): void {
    this.bytes = Uint8Array.from([...this.bytes.subarray(0, Number(at - START)), ...bytes]);
  }
  flush(): void {}
  truncate(to: Lsn): void {
    this.bytes = this.bytes.slice(0, Number(to - START));
  }
  save(state: AcceptorState): void {
    this.stored = state;
  }
}

interface Driven {
  readonly name: string;
  readonly proposer: Proposer;
  own: number[];
  /** Messages kept back, by safekeeper. */
  readonly held: Map<string, ProposerMessage[]>;
}

export class ScenarioCluster {
  readonly #disks = new Map<string, MemoryStorage>();
  readonly #hosts = new Map<string, AcceptorHost>();
  readonly #proposers = new Map<string, Driven>();
  readonly #memberships = new Map<string, Membership>();
  #maxBytes = 1000;
  #output: string[] = [];

  /** Runs one line; returns what happened. */
  run(line: string): string[] {
    this.#output = [];
    const [command = '', ...words] = line.split(/\s+/);
    const [who = '', ...rest] = words;
    switch (command) {
      case 'safekeepers':
        for (const name of words) this.#disks.set(name, new MemoryStorage());
        break;
      case 'members':
        this.#memberships.set(who, membership(rest));
        break;
      case 'propose':
        this.#propose(who, rest);
        break;
      case 'connect':
        this.#perform(this.#driven(who), this.#driven(who).proposer.connected(rest[0] as NodeId));
        break;
      case 'hold':
        for (const node of rest) this.#driven(who).held.set(node, []);
        break;
      case 'release':
        for (const node of rest) this.#release(this.#driven(who), node);
        break;
      case 'step': {
        const first = this.#driven(who).held.get(rest[0]!)!.shift();
        if (first) this.#deliver(this.#driven(who), rest[0]!, first);
        break;
      }
      case 'limit':
        this.#maxBytes = Number(who);
        break;
      case 'lose':
        for (const node of rest) {
          this.#driven(who).held.delete(node);
          this.#driven(who).proposer.disconnected(node as NodeId);
        }
        break;
      case 'write':
        this.#write(this.#driven(who), Number(rest[0]), Number(rest[0]));
        break;
      case 'half':
        this.#write(this.#driven(who), Number(rest[0]), Number(rest[1]));
        break;
      case 'crash':
        this.#hosts.delete(who);
        for (const { proposer } of this.#proposers.values()) proposer.disconnected(who as NodeId);
        break;
      case 'restart': {
        const disk = this.#disks.get(who)!;
        disk.truncate(disk.end().recordEnd);
        if (disk.stored) this.#hosts.set(who, new AcceptorHost(disk.stored, disk));
        break;
      }
      case 'stop':
        this.#proposers.delete(who);
        break;
      case 'status':
        for (const [name, { proposer }] of this.#proposers)
          this.#output.push(`${name}: ${describeProposer(proposer)}`);
        for (const [name, host] of this.#hosts)
          this.#output.push(describeAcceptor(host.state, this.#disks.get(name)!.end()));
        break;
      default:
        throw new Error(`no such command: ${line}`);
    }
    return this.#output;
  }

  #driven(name: string): Driven {
    const driven = this.#proposers.get(name);
    if (!driven) throw new Error(`no proposer ${name}`);
    return driven;
  }

  #propose(name: string, nodes: readonly string[]): void {
    const members = this.#memberships.get(name) ?? {
      generation: 1,
      members: [...this.#disks.keys()] as NodeId[],
    };
    const proposer = new Proposer({ id: name, identity: IDENTITY, membership: members });
    const driven: Driven = { name, proposer, own: [], held: new Map() };
    this.#proposers.set(name, driven);
    for (const node of nodes) this.#perform(driven, proposer.connected(node as NodeId));
  }

  #write(driven: Driven, length: number, first: number): void {
    const salt = driven.own.length + driven.name.charCodeAt(0);
    const record = Array.from({ length }, (_, i) => (i === 0 ? length : (salt + i) & 255));
    driven.own.push(...record.slice(0, first));
    const from = driven.proposer.startLsn!;
    driven.proposer.ownLog({ from, to: lsn(from + BigInt(driven.own.length)) });
    this.#pump(driven);
  }

  #perform(driven: Driven, outputs: readonly ProposerOutput[]): void {
    for (const output of outputs) {
      if (output.kind === 'send') this.#send(driven, output.to, output.message);
      else {
        this.#output.push(`${driven.name} breaks with ${output.to}: ${output.because}`);
        driven.proposer.disconnected(output.to);
      }
    }
  }

  #send(driven: Driven, node: string, message: ProposerMessage): void {
    const held = driven.held.get(node);
    if (held) held.push(message);
    else this.#deliver(driven, node, message);
  }

  #release(driven: Driven, node: string): void {
    const held = driven.held.get(node) ?? [];
    driven.held.delete(node);
    for (const message of held) this.#deliver(driven, node, message);
  }

  #deliver(driven: Driven, node: string, message: ProposerMessage): void {
    if (message.kind === 'greeting' && !this.#hosts.has(node)) {
      const disk = this.#disks.get(node)!;
      this.#hosts.set(
        node,
        new AcceptorHost(disk.stored ?? newAcceptor(node as NodeId, message, message.membership), disk),
      );
    }
    const host = this.#hosts.get(node);
    if (!host) return;
    this.#output.push(`${driven.name} → ${node}  ${describeMessage(message)}`);
    host.receive([
      {
        message,
        answer: (reply) => {
          this.#output.push(`${node} → ${driven.name}  ${describeMessage(reply)}`);
          const { phase, commitLsn } = driven.proposer;
          const outputs = driven.proposer.received(node as NodeId, reply);
          if (driven.proposer.phase !== phase || driven.proposer.commitLsn !== commitLsn)
            this.#output.push(`${driven.name}: ${describeProposer(driven.proposer)}`);
          this.#perform(driven, outputs);
        },
      },
    ]);
    this.#pump(driven);
  }

  #pump(driven: Driven): void {
    for (const node of driven.proposer.streaming()) {
      const plan = driven.proposer.nextAppend(node, { maxBytes: this.#maxBytes, maxInFlight: 1000 });
      if (!plan) continue;
      const source =
        plan.from.kind === 'own'
          ? Uint8Array.from(driven.own)
          : this.#disks.get(plan.from.holders[0]!)!.bytes;
      const base = plan.from.kind === 'own' ? driven.proposer.startLsn! : START;
      const message = driven.proposer.append(
        node,
        plan.begin,
        source.slice(Number(plan.begin - base), Number(plan.end - base)),
      );
      if (message) this.#send(driven, node, message);
    }
  }
}

function position(offset: number): Lsn {
  return (START + BigInt(offset)) as Lsn;
}

/** `g2 a b c / d e`. */
function membership([generation = '', ...names]: readonly string[]): Membership {
  const split = names.indexOf('/');
  const members = (split < 0 ? names : names.slice(0, split)) as NodeId[];
  const newMembers = split < 0 ? {} : { newMembers: names.slice(split + 1) as NodeId[] };
  return { generation: Number(generation.slice(1)), members, ...newMembers };
}
